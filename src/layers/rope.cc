// Frequencies of the rotary embedding and their scalings.
#include "layers/rope.h"

#include <cmath>
#include <numbers>

#include "base/macros.h"

namespace millrace::layers {
namespace {

// Llama 3.1: low frequencies are divided by `factor`, high ones stay, those between are blended.
double scale_llama3(double inv_freq, const weights::RopeScaling& scaling) {
  double wavelength = 2.0 * std::numbers::pi / inv_freq;
  if (wavelength < scaling.original_len / scaling.high_freq_factor) return inv_freq;
  if (wavelength > scaling.original_len / scaling.low_freq_factor) return inv_freq / scaling.factor;
  double smooth = (scaling.original_len / wavelength - scaling.low_freq_factor) /
                  (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1.0 - smooth) * inv_freq / scaling.factor + smooth * inv_freq;
}

}  // namespace

Rope::Rope(weights::RopeStyle style, uint32_t rope_dims, double base, const weights::RopeScaling& scaling,
           const std::vector<float>& factors)
    : style_(style) {
  inv_freq_.reserve(rope_dims / 2);
  for (uint32_t i = 0; i < rope_dims / 2; ++i) {
    double inv_freq = std::pow(base, -2.0 * i / rope_dims);
    switch (scaling.kind) {
      case weights::RopeScalingKind::kNone:
        break;
      case weights::RopeScalingKind::kLinear:
        inv_freq /= scaling.factor;
        break;
      case weights::RopeScalingKind::kLlama3:
        inv_freq = scale_llama3(inv_freq, scaling);
        break;
      case weights::RopeScalingKind::kFactors:
        CHECK(factors.size() == rope_dims / 2, "{} rope factors for {} dims", factors.size(), rope_dims);
        inv_freq /= static_cast<double>(factors[i]);
        break;
    }
    inv_freq_.push_back(static_cast<float>(inv_freq));
  }
}

void Rope::fill(float* row, int64_t position) const {
  float* sines = row + half_floats();
  for (size_t i = 0; i < inv_freq_.size(); ++i) {
    float angle = static_cast<float>(position) * inv_freq_[i];
    row[i] = static_cast<float>(std::cos(static_cast<double>(angle)));
    sines[i] = static_cast<float>(std::sin(static_cast<double>(angle)));
  }
}

}  // namespace millrace::layers
