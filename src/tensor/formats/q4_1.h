// Q4_1: 32 values, w = d * q + m. Bytes: f16 d, f16 m, then 16 bytes of nibbles: byte j holds value j (low) and j + 16.
// Source: ggml-common.h block_q4_1. Thread: any.
#pragma once

#include "tensor/float16.h"
#include "tensor/formats/rounding.h"

namespace millrace::tensor {

struct Q4_1 {
  static constexpr uint32_t kGroupValues = 32, kGroupBytes = 20;
  static constexpr uint32_t kD = 0, kM = 2, kQs = 4;  // byte offsets

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
    float m = load_f16(group + kM);
    for (uint32_t j = 0; j < 32; ++j) out[j] = d * static_cast<float>(q[j]) + m;
  }
  static void encode(uint8_t* group, const float* x) {
    float lo = *std::min_element(x, x + 32);
    float hi = *std::max_element(x, x + 32);
    float d = (hi - lo) / 15.0f;
    float inverse = inverse_or_zero(d);
    store_f16(group + kD, d);
    store_f16(group + kM, lo);
    for (uint32_t j = 0; j < 16; ++j) {
      int low = round_to((x[j] - lo) * inverse, 0, 15);
      int high = round_to((x[j + 16] - lo) * inverse, 0, 15);
      group[kQs + j] = static_cast<uint8_t>(low | high << 4);
    }
  }
};

}  // namespace millrace::tensor
