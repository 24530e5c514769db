// The definition of GEMM and of activation quantisation: plain scalar code straight from the formulas of
// docs/contracts/arithmetic.md, reading file groups, with no packing, no vectors and no tiling. Every kernel table must
// give these bits for every format but bf16 by vdpbf16ps. Thread: any. Slow on purpose; tests and the quality guard.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/ops.h"

namespace millrace::kernels::ref {

// One activation row, quantised by the formula. Float kinds use `f` only.
struct RefAct {
  ActKind kind = ActKind::kF32;
  std::vector<float> f;      // kF32, kBF16 (rounded to bf16): [k]
  std::vector<int32_t> q;    // kQ8*: [k_pad]
  std::vector<float> d;      // kQ8*: [n_groups]
  std::vector<float> s;      // kQ8A32: [n_groups]
  std::vector<int32_t> sum;  // kQ8A32: per 32; kQ8A256: per 16
};
RefAct quantize_row(ActKind kind, const float* x, int64_t k);

// The chain of one output: act against one row of file groups of `format`.
float dot(tensor::Format format, const uint8_t* row, const RefAct& act, int64_t k);

// One row of file groups to f32, from the same (q, dw, mw) that dot() uses: out [k].
void decode_row(tensor::Format format, float* out, const uint8_t* row, int64_t k);

// The activation kind that defines the chain of a format (bf16: kF32, form F on widened weights).
ActKind act_kind_of(tensor::Format format);

}  // namespace millrace::kernels::ref
