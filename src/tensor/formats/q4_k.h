// Q4_K: 256 values in 8 sub-groups of 32, w = d * sc * q - dmin * mn, q in 0..15, sc and mn in 0..63 (scale_min.h).
// Bytes: f16 d, f16 dmin, 12 of scales, 128 of nibbles: value c*64 + l (l 0..31) is the low nibble of byte c*32 + l,
// value c*64 + 32 + l its high nibble. Source: ggml-common.h block_q4_K. Thread: any.
#pragma once

#include "tensor/formats/scale_min.h"

namespace millrace::tensor {

struct Q4_K {
  static constexpr uint32_t kGroupValues = 256, kGroupBytes = 144;
  static constexpr uint32_t kD = 0, kDmin = 2, kScales = 4, kQs = 16;  // byte offsets

  static void codes(uint8_t* q, const uint8_t* group) {
    for (uint32_t i = 0; i < 256; ++i) q[i] = (group[kQs + i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4)) & 15u;
  }
  static void decode(float* out, const uint8_t* group) {
    uint8_t q[256];
    codes(q, group);
    decode_scale_mins(out, q, group);
  }
  static void encode(uint8_t* group, const float* x) {
    std::fill(group, group + kGroupBytes, uint8_t{0});
    encode_scale_mins(group, x, 15);
    for (uint32_t i = 0; i < 256; ++i) {
      uint8_t& byte = group[kQs + i / 64 * 32 + i % 32];
      byte = static_cast<uint8_t>(byte | scale_min_code(group, i, x[i], 15) << (i % 64 / 32 * 4));
    }
  }
};

}  // namespace millrace::tensor
