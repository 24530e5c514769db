// Q4_0: 32 values, w = d * (q - 8). Bytes: f16 d, then 16 bytes of nibbles: byte j holds value j (low) and j + 16.
// Source: ggml-common.h block_q4_0. Thread: any.
#pragma once

#include "tensor/float16.h"
#include "tensor/formats/rounding.h"

namespace millrace::tensor {

struct Q4_0 {
  static constexpr uint32_t kGroupValues = 32, kGroupBytes = 18;
  static constexpr uint32_t kD = 0, kQs = 2;  // byte offsets
  static constexpr int kZero = 8;

  static void codes(uint8_t* q, const uint8_t* group) {
    for (uint32_t j = 0; j < 16; ++j) {
      q[j] = group[kQs + j] & 15u;
      q[j + 16] = group[kQs + j] >> 4;
    }
  }
  static void decode(float* out, const uint8_t* group) {
    uint8_t q[32];
    codes(q, group);
    float d = load_f16(group + kD);
    for (uint32_t j = 0; j < 32; ++j) out[j] = d * static_cast<float>(q[j] - kZero);
  }
  static void encode(uint8_t* group, const float* x) {
    float d = signed_peak(x, 32) / -8.0f;
    float inverse = inverse_or_zero(d);
    store_f16(group + kD, d);
    for (uint32_t j = 0; j < 16; ++j) {
      int lo = round_to(x[j] * inverse, -8, 7) + kZero;
      int hi = round_to(x[j + 16] * inverse, -8, 7) + kZero;
      group[kQs + j] = static_cast<uint8_t>(lo | hi << 4);
    }
  }
};

}  // namespace millrace::tensor
