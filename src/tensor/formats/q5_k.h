// Q5_K: 256 values in 8 sub-groups of 32, w = d * sc * q - dmin * mn, q in 0..31, sc and mn in 0..63 (scale_min.h).
// Bytes: f16 d, f16 dmin, 12 of scales, 32 of fifth bits (bit s of byte l: value s*32 + l), 128 of nibbles as in Q4_K.
// Source: ggml-common.h block_q5_K. Thread: any.
#pragma once

#include "tensor/formats/scale_min.h"

namespace millrace::tensor {

struct Q5_K {
  static constexpr uint32_t kGroupValues = 256, kGroupBytes = 176;
  static constexpr uint32_t kD = 0, kDmin = 2, kScales = 4, kQh = 16, kQs = 48;  // byte offsets

  static void codes(uint8_t* q, const uint8_t* group) {
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t nibble = (uint32_t{group[kQs + i / 64 * 32 + i % 32]} >> (i % 64 / 32 * 4)) & 15u;
      uint32_t high = (uint32_t{group[kQh + i % 32]} >> (i / 32)) & 1u;
      q[i] = static_cast<uint8_t>(nibble | high << 4);
    }
  }
  static void decode(float* out, const uint8_t* group) {
    uint8_t q[256];
    codes(q, group);
    decode_scale_mins(out, q, group);
  }
  static void encode(uint8_t* group, const float* x) {
    std::fill(group, group + kGroupBytes, uint8_t{0});
    encode_scale_mins(group, x, 31);
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t code = scale_min_code(group, i, x[i], 31);
      uint8_t& nibbles = group[kQs + i / 64 * 32 + i % 32];
      nibbles = static_cast<uint8_t>(nibbles | (code & 15u) << (i % 64 / 32 * 4));
      uint8_t& high = group[kQh + i % 32];
      high = static_cast<uint8_t>(high | (code >> 4) << (i / 32));
    }
  }
};

}  // namespace millrace::tensor
