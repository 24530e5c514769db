// The GEMM slots of a table for vector type S: which source and which chain form each weight format has.
// Thread: any.
#pragma once

#include "kernels/cpu/generic/gemm.inl.h"

namespace millrace::kernels::generic {

template <class Of>
inline void set_gemm(KernelTable& table, tensor::Format format, ActKind act) {
  table.act_kind[static_cast<int>(format)] = act;
  table.gemm[static_cast<int>(format)] = Of::run;
}

// bf16 weights here have the family "f32": widened to f32 and computed in form F on f32 activations.
template <class S>
void fill_float_gemms(KernelTable& table) {
  using tensor::Format;
  set_gemm<GemmF<S, F32Weights<S>>>(table, Format::kF32, ActKind::kF32);
  set_gemm<GemmF<S, F16Weights<S>>>(table, Format::kF16, ActKind::kF32);
  set_gemm<GemmF<S, Bf16Weights<S>>>(table, Format::kBF16, ActKind::kF32);
  table.bf16_family = "f32";
}

template <class S>
void fill_group_gemms(KernelTable& table) {
  using tensor::Format;
  set_gemm<GemmG<S, Nibbles<S, false>>>(table, Format::kQ4_0, ActKind::kQ8A32);
  set_gemm<GemmG<S, Nibbles<S, true>>>(table, Format::kQ4_1, ActKind::kQ8A32);
  set_gemm<GemmG<S, Fives<S, false>>>(table, Format::kQ5_0, ActKind::kQ8A32);
  set_gemm<GemmG<S, Fives<S, true>>>(table, Format::kQ5_1, ActKind::kQ8A32);
  set_gemm<GemmG<S, Q8_0<S>>>(table, Format::kQ8_0, ActKind::kQ8A32);
  set_gemm<GemmSubScaled<S, ScaleMins<S, false>>>(table, Format::kQ4_K, ActKind::kQ8A32);
  set_gemm<GemmSubScaled<S, ScaleMins<S, true>>>(table, Format::kQ5_K, ActKind::kQ8A32);
  set_gemm<GemmG<S, Iq4Nl<S>>>(table, Format::kIQ4_NL, ActKind::kQ8A32);
  set_gemm<GemmSubScaled<S, Iq4Xs<S>>>(table, Format::kIQ4_XS, ActKind::kQ8A32);
}

template <class S>
void fill_super_gemms(KernelTable& table) {
  using tensor::Format;
  set_gemm<GemmS<S, Q2K<S>>>(table, Format::kQ2_K, ActKind::kQ8A256);
  set_gemm<GemmS<S, Q3K<S>>>(table, Format::kQ3_K, ActKind::kQ8A256);
  set_gemm<GemmS<S, Q6K<S>>>(table, Format::kQ6_K, ActKind::kQ8A256);
}

}  // namespace millrace::kernels::generic
