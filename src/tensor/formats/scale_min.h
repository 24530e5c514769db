// The 12 packed bytes of Q4_K and Q5_K: 8 scales and 8 mins of 6 bits. For s < 4: sc = low 6 bits of byte s, mn = low
// 6 bits of byte s + 4; for s >= 4 the low nibbles of sc and mn share byte s + 4 and their top bit pairs sit in the
// top of bytes s - 4 and s. Source: ggml-quants.c get_scale_min_k4. Thread: any.
#pragma once

#include "tensor/float16.h"
#include "tensor/formats/rounding.h"

namespace millrace::tensor {

struct ScaleMin {
  uint8_t sc = 0;  // 0..63
  uint8_t mn = 0;  // 0..63
};

// packed: 12 bytes; s: sub-group 0..7
inline ScaleMin scale_min(const uint8_t* packed, uint32_t s) {
  if (s < 4) return {static_cast<uint8_t>(packed[s] & 63u), static_cast<uint8_t>(packed[s + 4] & 63u)};
  uint32_t sc = (packed[s + 4] & 15u) | (uint32_t{packed[s - 4]} >> 6) << 4;
  uint32_t mn = (uint32_t{packed[s + 4]} >> 4) | (uint32_t{packed[s]} >> 6) << 4;
  return {static_cast<uint8_t>(sc), static_cast<uint8_t>(mn)};
}

// packed must be zero before the first call.
inline void store_scale_min(uint8_t* packed, uint32_t s, ScaleMin value) {
  auto put = [packed](uint32_t at, uint32_t bits) { packed[at] = static_cast<uint8_t>(packed[at] | bits); };
  if (s < 4) {
    put(s, value.sc);
    put(s + 4, value.mn);
    return;
  }
  put(s + 4, (value.sc & 15u) | (value.mn & 15u) << 4);
  put(s - 4, (uint32_t{value.sc} >> 4) << 6);
  put(s, (uint32_t{value.mn} >> 4) << 6);
}

// Fits 8 sub-groups of 32 to codes 0..max_code and writes f16 d, f16 dmin and the 12 bytes.
inline void encode_scale_mins(uint8_t* d_dmin_packed, const float* x, int max_code) {
  AffineFit fits[8];
  float max_scale = 0.0f;
  float max_min = 0.0f;
  for (uint32_t s = 0; s < 8; ++s) {
    fits[s] = fit_affine(x + s * 32, 32, max_code);
    max_scale = std::max(max_scale, fits[s].scale);
    max_min = std::max(max_min, fits[s].min);
  }
  store_f16(d_dmin_packed, max_scale / 63.0f);
  store_f16(d_dmin_packed + 2, max_min / 63.0f);
  float d = load_f16(d_dmin_packed);
  float dmin = load_f16(d_dmin_packed + 2);
  for (uint32_t s = 0; s < 8; ++s) {
    int sc = round_to(fits[s].scale * inverse_or_zero(d), 0, 63);
    int mn = round_to(fits[s].min * inverse_or_zero(dmin), 0, 63);
    store_scale_min(d_dmin_packed + 4, s, {static_cast<uint8_t>(sc), static_cast<uint8_t>(mn)});
  }
}

// Code 0..max_code of value i under the scales written above.
inline uint32_t scale_min_code(const uint8_t* d_dmin_packed, uint32_t i, float x, int max_code) {
  ScaleMin sub = scale_min(d_dmin_packed + 4, i / 32);
  float dl = load_f16(d_dmin_packed) * static_cast<float>(sub.sc);
  float ml = load_f16(d_dmin_packed + 2) * static_cast<float>(sub.mn);
  return static_cast<uint32_t>(round_to((x + ml) * inverse_or_zero(dl), 0, max_code));
}

// out [256] = d * sc * q - dmin * mn
inline void decode_scale_mins(float* out, const uint8_t* q, const uint8_t* d_dmin_packed) {
  float d = load_f16(d_dmin_packed);
  float dmin = load_f16(d_dmin_packed + 2);
  for (uint32_t s = 0; s < 8; ++s) {
    ScaleMin sub = scale_min(d_dmin_packed + 4, s);
    float dl = d * static_cast<float>(sub.sc);
    float ml = dmin * static_cast<float>(sub.mn);
    for (uint32_t i = s * 32; i < s * 32 + 32; ++i) out[i] = dl * static_cast<float>(q[i]) - ml;
  }
}

}  // namespace millrace::tensor
