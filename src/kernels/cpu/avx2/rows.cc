// The row operations for the avx2 table: cpu/generic/rows.inl.h over this folder's Vec. Everything but fill_rows has
// internal linkage.
// Thread: any.
#include <immintrin.h>

#include <cstdint>

#include "kernels/ops.h"

namespace millrace::kernels::avx2 {
namespace {

#include "kernels/cpu/avx2/rows_simd.h"
// after Vec:
#include "kernels/cpu/generic/rows_math.inl.h"
// after the functions of Vec:
#include "kernels/cpu/generic/rows.inl.h"

}  // namespace

void fill_rows(KernelTable& table) { fill_rows_table(table); }

}  // namespace millrace::kernels::avx2
