// Small exact helpers that the reference encoders share. Results do not depend on the rounding mode of the machine
// beyond IEEE f32 arithmetic. Thread: any (pure functions).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace millrace::tensor {

// The largest |x|, with its sign.
inline float signed_peak(const float* x, uint32_t n) {
  float peak = 0.0f;
  for (uint32_t i = 0; i < n; ++i) {
    if (std::fabs(x[i]) > std::fabs(peak)) peak = x[i];
  }
  return peak;
}

inline float inverse_or_zero(float value) { return value != 0.0f ? 1.0f / value : 0.0f; }

// value rounded half away from zero and clamped to lo..hi.
inline int round_to(float value, int lo, int hi) {
  float clamped = std::clamp(value, static_cast<float>(lo), static_cast<float>(hi));
  return static_cast<int>(std::lround(clamped));
}

// Scale and offset of one sub-group in x = scale * q - min, q in 0..max_code, min >= 0.
struct AffineFit {
  float scale = 0.0f;
  float min = 0.0f;
};
inline AffineFit fit_affine(const float* x, uint32_t n, int max_code) {
  float lo = 0.0f;
  float hi = 0.0f;
  for (uint32_t i = 0; i < n; ++i) {
    lo = std::min(lo, x[i]);
    hi = std::max(hi, x[i]);
  }
  return {(hi - lo) / static_cast<float>(max_code), -lo};
}

}  // namespace millrace::tensor
