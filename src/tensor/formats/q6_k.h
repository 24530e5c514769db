// Q6_K: 256 values in 16 sub-groups of 16, w = d * sc * (q - 32), q in 0..63, sc signed 8 bit.
// Bytes: 128 of low nibbles, 64 of top bit pairs, 16 x i8 sc, f16 d. Value h*128 + j*32 + l (j 0..3, l 0..31) has its
// nibble in nibble j / 2 of byte h*64 + j % 2 * 32 + l and its top bits in bit pair j of high byte h*32 + l.
// Source: ggml-common.h block_q6_K. Thread: any.
#pragma once

#include "tensor/float16.h"
#include "tensor/formats/rounding.h"

namespace millrace::tensor {

struct Q6_K {
  static constexpr uint32_t kGroupValues = 256, kGroupBytes = 210;
  static constexpr uint32_t kQl = 0, kQh = 128, kScales = 192, kD = 208;  // byte offsets
  static constexpr int kZero = 32;

  static void codes(uint8_t* q, const uint8_t* group) {
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t j = i % 128 / 32;
      uint32_t low = (uint32_t{group[kQl + i / 128 * 64 + j % 2 * 32 + i % 32]} >> (j / 2 * 4)) & 15u;
      uint32_t high = (uint32_t{group[kQh + i / 128 * 32 + i % 32]} >> (j * 2)) & 3u;
      q[i] = static_cast<uint8_t>(low | high << 4);
    }
  }
  static void decode(float* out, const uint8_t* group) {
    uint8_t q[256];
    codes(q, group);
    float d = load_f16(group + kD);
    for (uint32_t i = 0; i < 256; ++i) {
      float dl = d * static_cast<float>(static_cast<int8_t>(group[kScales + i / 16]));
      out[i] = dl * static_cast<float>(q[i] - kZero);
    }
  }
  static void encode(uint8_t* group, const float* x) {
    float scales[16];
    for (uint32_t s = 0; s < 16; ++s) scales[s] = std::fabs(signed_peak(x + s * 16, 16)) / 31.0f;
    std::fill(group, group + kGroupBytes, uint8_t{0});
    store_f16(group + kD, *std::max_element(scales, scales + 16) / 127.0f);
    float d = load_f16(group + kD);
    for (uint32_t s = 0; s < 16; ++s) {
      group[kScales + s] = static_cast<uint8_t>(round_to(scales[s] * inverse_or_zero(d), 0, 127));
    }
    for (uint32_t i = 0; i < 256; ++i) {
      float dl = d * static_cast<float>(group[kScales + i / 16]);
      auto code = static_cast<uint32_t>(round_to(x[i] * inverse_or_zero(dl), -32, 31) + kZero);
      uint32_t j = i % 128 / 32;
      uint8_t& low = group[kQl + i / 128 * 64 + j % 2 * 32 + i % 32];
      low = static_cast<uint8_t>(low | (code & 15u) << (j / 2 * 4));
      uint8_t& high = group[kQh + i / 128 * 32 + i % 32];
      high = static_cast<uint8_t>(high | (code >> 4) << (j * 2));
    }
  }
};

}  // namespace millrace::tensor
