// IQ4_NL: 32 values, w = d * kIq4Values[q]. Bytes: f16 d, then 16 bytes of nibbles: byte j holds value j (low) and
// j + 16. codes() gives the table index. Source: ggml-common.h block_iq4_nl, kvalues_iq4nl. Thread: any.
#pragma once

#include "tensor/float16.h"
#include "tensor/formats/rounding.h"

namespace millrace::tensor {

inline constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// Index of the table value nearest to x; the lower one on a tie.
inline uint8_t nearest_iq4(float x) {
  auto distance = [x](uint8_t i) { return std::fabs(x - static_cast<float>(kIq4Values[i])); };
  uint8_t best = 0;
  for (uint8_t i = 1; i < 16; ++i) {
    if (distance(i) < distance(best)) best = i;
  }
  return best;
}

struct IQ4_NL {
  static constexpr uint32_t kGroupValues = 32, kGroupBytes = 18;
  static constexpr uint32_t kD = 0, kQs = 2;  // byte offsets

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
    for (uint32_t j = 0; j < 32; ++j) out[j] = d * static_cast<float>(kIq4Values[q[j]]);
  }
  static void encode(uint8_t* group, const float* x) {
    float d = signed_peak(x, 32) / -127.0f;
    float inverse = inverse_or_zero(d);
    store_f16(group + kD, d);
    for (uint32_t j = 0; j < 16; ++j) {
      group[kQs + j] = static_cast<uint8_t>(nearest_iq4(x[j] * inverse) | nearest_iq4(x[j + 16] * inverse) << 4);
    }
  }
};

}  // namespace millrace::tensor
