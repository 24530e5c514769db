// Rope: rotary position embedding. Frequencies are fixed at load, angles of the rows of a step are computed once per
// step into scratch, heads are rotated in place.
//   inv_freq[i] = base^(-2i / rope_dims), scaled by kind;  angle = pos * inv_freq[i] in f32, as in transformers.
// Source of the scalings: transformers modeling_rope_utils.py (linear, llama3); GGUF rope_freqs for explicit divisors.
// Thread: construction by the loader; fill() and rotate() on any thread for its own rows.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/ops.h"
#include "weights/model_desc.h"

namespace millrace::layers {

class Rope {
 public:
  Rope() = default;
  // factors: [rope_dims / 2] divisors of the frequencies (kind kFactors), else unused.
  Rope(weights::RopeStyle style, uint32_t rope_dims, double base, const weights::RopeScaling& scaling,
       const std::vector<float>& factors);

  int64_t dims() const { return static_cast<int64_t>(inv_freq_.size()) * 2; }
  const std::vector<float>& inv_freq() const { return inv_freq_; }

  // Row of the angle table: cos [dims/2], then sin [dims/2], each padded to 16 values.
  int64_t row_floats() const { return 2 * half_floats(); }
  void fill(float* row, int64_t position) const;
  void rotate(const kernels::KernelTable& table, float* head, const float* row) const {
    bool pairs = style_ == weights::RopeStyle::kInterleaved;
    (pairs ? table.rope_pairs : table.rope_half)(head, row, row + half_floats(), dims());
  }

  bool operator==(const Rope&) const = default;

 private:
  int64_t half_floats() const { return (static_cast<int64_t>(inv_freq_.size()) + 15) / 16 * 16; }
  weights::RopeStyle style_ = weights::RopeStyle::kHalfSplit;
  std::vector<float> inv_freq_;
};

}  // namespace millrace::layers
