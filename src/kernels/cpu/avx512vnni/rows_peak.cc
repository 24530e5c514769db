// The peak rates of the avx512vnni table: how fast its int8 and f32 multiply-adds can be at best.
// Everything but fill_peak has internal linkage.
// Thread: any.
// g++ 12 takes the undefined source operands of its own AVX-512 intrinsics for mistakes (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/avx512vnni/fill.h"

namespace millrace::kernels::avx512vnni {
namespace {

#include "kernels/cpu/avx512vnni/rows_simd.h"

// 12 chains hide the 4 to 5 cycles of vpdpbusd and vfmadd at one per cycle.
constexpr int kPeakChains = 12;
constexpr int64_t kIntMacs = 64;
struct IntAcc {
  __m512i v;
};
inline IntAcc int_step(IntAcc acc, const uint8_t* weights, const int8_t* factors) {
  int32_t four = 0;
  __builtin_memcpy(&four, factors, sizeof four);
  return {_mm512_dpbusd_epi32(acc.v, _mm512_load_si512(weights), _mm512_set1_epi32(four))};
}

#include "kernels/cpu/generic/rows_peak.inl.h"

}  // namespace

void fill_peak(KernelTable& table) {
  table.peak_int8 = peak_int8;
  table.peak_f32 = peak_f32;
}

}  // namespace millrace::kernels::avx512vnni
