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

// Sources of form G whose panels are worth making ready: all of them where unpacking costs (S::kUnpackOnce), else those
// that keep sub-scales packed.
template <class S, class W>
void set_group_gemm(KernelTable& table, tensor::Format format) {
  if constexpr (S::kUnpackOnce || W::kCellGroups > 1) {
    set_gemm<GemmReady<S, W, ReadyG<S, W>, TileG>>(table, format, ActKind::kQ8A32);
  } else {
    set_gemm<GemmDirect<S, W, TileG>>(table, format, ActKind::kQ8A32);
  }
}

template <class S>
void fill_group_gemms(KernelTable& table) {
  using tensor::Format;
  set_group_gemm<S, Nibbles<S, false>>(table, Format::kQ4_0);
  set_group_gemm<S, Nibbles<S, true>>(table, Format::kQ4_1);
  set_group_gemm<S, Fives<S, false>>(table, Format::kQ5_0);
  set_group_gemm<S, Fives<S, true>>(table, Format::kQ5_1);
  set_gemm<GemmDirect<S, Q8_0<S>, TileG>>(table, Format::kQ8_0, ActKind::kQ8A32);
  set_group_gemm<S, ScaleMins<S, false>>(table, Format::kQ4_K);
  set_group_gemm<S, ScaleMins<S, true>>(table, Format::kQ5_K);
  set_group_gemm<S, Iq4Nl<S>>(table, Format::kIQ4_NL);
  set_group_gemm<S, Iq4Xs<S>>(table, Format::kIQ4_XS);
}

template <class S, class W>
void set_super_gemm(KernelTable& table, tensor::Format format) {
  set_gemm<GemmReady<S, W, ReadyS<S, W>, TileS>>(table, format, ActKind::kQ8A256);
}

template <class S>
void fill_super_gemms(KernelTable& table) {
  set_super_gemm<S, Q2K<S>>(table, tensor::Format::kQ2_K);
  set_super_gemm<S, Q3K<S>>(table, tensor::Format::kQ3_K);
  set_super_gemm<S, Q6K<S>>(table, tensor::Format::kQ6_K);
}

}  // namespace millrace::kernels::generic
