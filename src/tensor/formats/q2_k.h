// Q2_K: 256 values in 16 sub-groups of 16, w = d * sc * q - dmin * mn, q in 0..3, sc and mn in 0..15.
// Bytes: 16 x (sc low nibble, mn high nibble), 64 bytes of codes, f16 d, f16 dmin. Value h*128 + j*32 + l (j 0..3,
// l 0..31) is bit pair j of code byte h*32 + l; its sub-group is the value index / 16.
// Source: ggml-common.h block_q2_K. Thread: any.
#pragma once

#include "tensor/float16.h"
#include "tensor/formats/rounding.h"

namespace millrace::tensor {

struct Q2_K {
  static constexpr uint32_t kGroupValues = 256, kGroupBytes = 84;
  static constexpr uint32_t kScales = 0, kQs = 16, kD = 80, kDmin = 82;  // byte offsets

  static void codes(uint8_t* q, const uint8_t* group) {
    for (uint32_t i = 0; i < 256; ++i) {
      q[i] = (group[kQs + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3u;
    }
  }
  static void decode(float* out, const uint8_t* group) {
    uint8_t q[256];
    codes(q, group);
    float d = load_f16(group + kD);
    float dmin = load_f16(group + kDmin);
    for (uint32_t i = 0; i < 256; ++i) {
      uint8_t scale = group[kScales + i / 16];
      float dl = d * static_cast<float>(scale & 15u);
      float ml = dmin * static_cast<float>(scale >> 4);
      out[i] = dl * static_cast<float>(q[i]) - ml;
    }
  }
  static void encode(uint8_t* group, const float* x) {
    AffineFit fits[16];
    float max_scale = 0.0f;
    float max_min = 0.0f;
    for (uint32_t s = 0; s < 16; ++s) {
      fits[s] = fit_affine(x + s * 16, 16, 3);
      max_scale = std::max(max_scale, fits[s].scale);
      max_min = std::max(max_min, fits[s].min);
    }
    std::fill(group, group + kGroupBytes, uint8_t{0});
    store_f16(group + kD, max_scale / 15.0f);
    store_f16(group + kDmin, max_min / 15.0f);
    float d = load_f16(group + kD);
    float dmin = load_f16(group + kDmin);
    for (uint32_t s = 0; s < 16; ++s) {
      int sc = round_to(fits[s].scale * inverse_or_zero(d), 0, 15);
      int mn = round_to(fits[s].min * inverse_or_zero(dmin), 0, 15);
      group[kScales + s] = static_cast<uint8_t>(sc | mn << 4);
    }
    for (uint32_t i = 0; i < 256; ++i) {
      uint8_t scale = group[kScales + i / 16];
      float dl = d * static_cast<float>(scale & 15u);
      float ml = dmin * static_cast<float>(scale >> 4);
      int code = round_to((x[i] + ml) * inverse_or_zero(dl), 0, 3);
      uint8_t& byte = group[kQs + i / 128 * 32 + i % 32];
      byte = static_cast<uint8_t>(byte | code << (i % 128 / 32 * 2));
    }
  }
};

}  // namespace millrace::tensor
