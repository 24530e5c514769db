// GEMM and activation quantisers of the generic table: the shared algorithms over this folder's vectors.
// Thread: any.
#include "kernels/cpu/generic/fill.h"
#include "kernels/cpu/generic/gemm_fill.inl.h"
#include "kernels/cpu/generic/gemm_simd.h"
#include "kernels/cpu/generic/panels.h"
#include "kernels/cpu/generic/quantize.inl.h"

namespace millrace::kernels::generic {

void fill_gemm(KernelTable& table) {
  generic::fill_pack(table);
  generic::fill_unpack(table);
  generic::Quantize<GemmSimd>::fill(table);
  generic::fill_float_gemms<GemmSimd>(table);
  generic::fill_group_gemms<GemmSimd>(table);
  generic::fill_super_gemms<GemmSimd>(table);
}

}  // namespace millrace::kernels::generic
