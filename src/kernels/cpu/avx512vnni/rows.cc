// The row operations for the avx512vnni table: cpu/generic/rows.inl.h over this folder's Vec. Everything but fill_rows
// has internal linkage. Thread: any. g++ 12 takes the undefined source operands of its own AVX-512 intrinsics for
// mistakes (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#include <cstdint>

#include "kernels/ops.h"

namespace millrace::kernels::avx512vnni {
namespace {

#include "kernels/cpu/avx512vnni/rows_simd.h"
// after Vec:
#include "kernels/cpu/generic/rows_math.inl.h"
// after the functions of Vec:
#include "kernels/cpu/generic/rows.inl.h"

}  // namespace

void fill_rows(KernelTable& table) { fill_rows_table(table); }

}  // namespace millrace::kernels::avx512vnni
