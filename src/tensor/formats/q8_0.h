// Q8_0: 32 values, w = d * q, q signed 8 bit. Bytes: f16 d, then 32 x i8. codes() gives q + 128.
// Source: ggml-common.h block_q8_0. Thread: any.
#pragma once

#include "tensor/float16.h"
#include "tensor/formats/rounding.h"

namespace millrace::tensor {

struct Q8_0 {
  static constexpr uint32_t kGroupValues = 32, kGroupBytes = 34;
  static constexpr uint32_t kD = 0, kQs = 2;  // byte offsets
  static constexpr int kZero = 128;           // of codes()

  static void codes(uint8_t* q, const uint8_t* group) {
    for (uint32_t j = 0; j < 32; ++j) q[j] = group[kQs + j] ^ 0x80u;
  }
  static void decode(float* out, const uint8_t* group) {
    float d = load_f16(group + kD);
    for (uint32_t j = 0; j < 32; ++j) out[j] = d * static_cast<float>(static_cast<int8_t>(group[kQs + j]));
  }
  static void encode(uint8_t* group, const float* x) {
    float d = std::fabs(signed_peak(x, 32)) / 127.0f;
    float inverse = inverse_or_zero(d);
    store_f16(group + kD, d);
    for (uint32_t j = 0; j < 32; ++j) group[kQs + j] = static_cast<uint8_t>(round_to(x[j] * inverse, -127, 127));
  }
};

}  // namespace millrace::tensor
