// Q5_0: 32 values, w = d * (q - 16). Bytes: f16 d, u32 of fifth bits (bit j of value j), then 16 bytes of nibbles:
// byte j holds value j (low) and j + 16. Source: ggml-common.h block_q5_0. Thread: any.
#pragma once

#include "tensor/float16.h"
#include "tensor/formats/rounding.h"

namespace millrace::tensor {

struct Q5_0 {
  static constexpr uint32_t kGroupValues = 32, kGroupBytes = 22;
  static constexpr uint32_t kD = 0, kQh = 2, kQs = 6;  // byte offsets
  static constexpr int kZero = 16;

  static void codes(uint8_t* q, const uint8_t* group) {
    for (uint32_t j = 0; j < 32; ++j) {
      uint32_t nibble = j < 16 ? group[kQs + j] & 15u : uint32_t{group[kQs + j - 16]} >> 4;
      uint32_t high = (uint32_t{group[kQh + j / 8]} >> (j % 8)) & 1u;
      q[j] = static_cast<uint8_t>(nibble | high << 4);
    }
  }
  static void decode(float* out, const uint8_t* group) {
    uint8_t q[32];
    codes(q, group);
    float d = load_f16(group + kD);
    for (uint32_t j = 0; j < 32; ++j) out[j] = d * static_cast<float>(q[j] - kZero);
  }
  static void encode(uint8_t* group, const float* x) {
    float d = signed_peak(x, 32) / -16.0f;
    float inverse = inverse_or_zero(d);
    std::fill(group, group + kGroupBytes, uint8_t{0});
    store_f16(group + kD, d);
    for (uint32_t j = 0; j < 32; ++j) {
      auto code = static_cast<uint32_t>(round_to(x[j] * inverse, -16, 15) + kZero);
      uint8_t& nibbles = group[kQs + j % 16];
      nibbles = static_cast<uint8_t>(nibbles | (code & 15u) << (j < 16 ? 0 : 4));
      uint8_t& high = group[kQh + j / 8];
      high = static_cast<uint8_t>(high | (code >> 4) << (j % 8));
    }
  }
};

}  // namespace millrace::tensor
