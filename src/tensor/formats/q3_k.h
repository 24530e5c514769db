// Q3_K: 256 values in 16 sub-groups of 16, w = d * (sc - 32) * (q - 4), q in 0..7, sc in 0..63.
// Bytes: 32 of third bits, 64 of low bit pairs, 12 of scales, f16 d. Value h*128 + j*32 + l (j 0..3, l 0..31) has its
// low bits in bit pair j of byte h*32 + l and its third bit in bit h*4 + j of high byte l. Scale s has its low nibble
// in nibble s / 8 of scale byte s % 8 and its high bits in bit pair s / 4 of scale byte 8 + s % 4.
// Source: ggml-common.h block_q3_K. Thread: any.
#pragma once

#include "tensor/float16.h"
#include "tensor/formats/rounding.h"

namespace millrace::tensor {

struct Q3_K {
  static constexpr uint32_t kGroupValues = 256, kGroupBytes = 110;
  static constexpr uint32_t kHmask = 0, kQs = 32, kScales = 96, kD = 108;  // byte offsets
  static constexpr int kZero = 4;

  static void codes(uint8_t* q, const uint8_t* group) {
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t low = (uint32_t{group[kQs + i / 128 * 32 + i % 32]} >> (i % 128 / 32 * 2)) & 3u;
      uint32_t high = (uint32_t{group[kHmask + i % 32]} >> (i / 32)) & 1u;
      q[i] = static_cast<uint8_t>(low | high << 2);
    }
  }
  // sc of sub-group s, 0..63
  static int scale_code(const uint8_t* group, uint32_t s) {
    uint32_t low = (uint32_t{group[kScales + s % 8]} >> (s / 8 * 4)) & 15u;
    uint32_t high = (uint32_t{group[kScales + 8 + s % 4]} >> (s / 4 * 2)) & 3u;
    return static_cast<int>(low | high << 4);
  }
  static void decode(float* out, const uint8_t* group) {
    uint8_t q[256];
    codes(q, group);
    float d = load_f16(group + kD);
    for (uint32_t i = 0; i < 256; ++i) {
      float dl = d * static_cast<float>(scale_code(group, i / 16) - 32);
      out[i] = dl * static_cast<float>(q[i] - kZero);
    }
  }
  static void encode(uint8_t* group, const float* x) {
    float scales[16];
    for (uint32_t s = 0; s < 16; ++s) scales[s] = std::fabs(signed_peak(x + s * 16, 16)) / 3.5f;
    std::fill(group, group + kGroupBytes, uint8_t{0});
    store_f16(group + kD, *std::max_element(scales, scales + 16) / 31.0f);
    float d = load_f16(group + kD);
    for (uint32_t s = 0; s < 16; ++s) {
      auto code = static_cast<uint32_t>(round_to(scales[s] * inverse_or_zero(d), 0, 31) + 32);
      uint8_t& low = group[kScales + s % 8];
      low = static_cast<uint8_t>(low | (code & 15u) << (s / 8 * 4));
      uint8_t& high = group[kScales + 8 + s % 4];
      high = static_cast<uint8_t>(high | (code >> 4) << (s / 4 * 2));
    }
    for (uint32_t i = 0; i < 256; ++i) {
      float dl = d * static_cast<float>(scale_code(group, i / 16) - 32);
      auto code = static_cast<uint32_t>(round_to(x[i] * inverse_or_zero(dl), -4, 3) + kZero);
      uint8_t& low = group[kQs + i / 128 * 32 + i % 32];
      low = static_cast<uint8_t>(low | (code & 3u) << (i % 128 / 32 * 2));
      uint8_t& high = group[kHmask + i % 32];
      high = static_cast<uint8_t>(high | (code >> 2) << (i / 32));
    }
  }
};

}  // namespace millrace::tensor
