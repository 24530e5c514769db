// IQ4_XS: 256 values in 8 sub-groups of 32, w = d * (ls - 32) * kIq4Values[q], ls in 0..63.
// Bytes: f16 d, u16 of top bit pairs of ls (pair s), 4 bytes of low nibbles of ls (nibble s), 128 bytes of nibbles:
// sub-group s owns bytes s*16 .. s*16+15, byte j holds value j (low) and j + 16. codes() gives the table index.
// Source: ggml-common.h block_iq4_xs. Thread: any.
#pragma once

#include "tensor/formats/iq4_nl.h"

namespace millrace::tensor {

struct IQ4_XS {
  static constexpr uint32_t kGroupValues = 256, kGroupBytes = 136;
  static constexpr uint32_t kD = 0, kScalesHigh = 2, kScalesLow = 4, kQs = 8;  // byte offsets

  static void codes(uint8_t* q, const uint8_t* group) {
    for (uint32_t i = 0; i < 256; ++i) q[i] = (group[kQs + i / 32 * 16 + i % 16] >> (i % 32 / 16 * 4)) & 15u;
  }
  // ls of sub-group s, 0..63
  static int scale_code(const uint8_t* group, uint32_t s) {
    uint32_t low = (uint32_t{group[kScalesLow + s / 2]} >> (s % 2 * 4)) & 15u;
    uint32_t high = (uint32_t{group[kScalesHigh + s / 4]} >> (s % 4 * 2)) & 3u;
    return static_cast<int>(low | high << 4);
  }
  static void decode(float* out, const uint8_t* group) {
    uint8_t q[256];
    codes(q, group);
    float d = load_f16(group + kD);
    for (uint32_t i = 0; i < 256; ++i) {
      float dl = d * static_cast<float>(scale_code(group, i / 32) - 32);
      out[i] = dl * static_cast<float>(kIq4Values[q[i]]);
    }
  }
  static void encode(uint8_t* group, const float* x) {
    float scales[8];
    for (uint32_t s = 0; s < 8; ++s) scales[s] = std::fabs(signed_peak(x + s * 32, 32)) / 113.0f;
    std::fill(group, group + kGroupBytes, uint8_t{0});
    store_f16(group + kD, *std::max_element(scales, scales + 8) / 31.0f);
    float d = load_f16(group + kD);
    for (uint32_t s = 0; s < 8; ++s) {
      auto code = static_cast<uint32_t>(round_to(scales[s] * inverse_or_zero(d), 0, 31) + 32);
      uint8_t& low = group[kScalesLow + s / 2];
      low = static_cast<uint8_t>(low | (code & 15u) << (s % 2 * 4));
      uint8_t& high = group[kScalesHigh + s / 4];
      high = static_cast<uint8_t>(high | (code >> 4) << (s % 4 * 2));
    }
    for (uint32_t i = 0; i < 256; ++i) {
      float dl = d * static_cast<float>(scale_code(group, i / 32) - 32);
      uint8_t code = nearest_iq4(x[i] * inverse_or_zero(dl));
      uint8_t& byte = group[kQs + i / 32 * 16 + i % 16];
      byte = static_cast<uint8_t>(byte | code << (i % 32 / 16 * 4));
    }
  }
};

}  // namespace millrace::tensor
