// LayerNorm: one row to mean 0 and variance 1, times a weight, plus a bias. Thread: any, each for its own rows.
#pragma once

#include <cstdint>

#include "kernels/ops.h"

namespace millrace::layers {

struct LayerNorm {
  const float* weight = nullptr;  // [n]
  const float* bias = nullptr;    // [n]
  float eps = 1e-12f;
  int64_t n = 0;

  // out, x [n] f32; may be the same row
  void apply(const kernels::KernelTable& table, float* out, const float* x) const {
    table.layer_norm(out, x, {weight, bias, eps, n});
  }
};

}  // namespace millrace::layers
