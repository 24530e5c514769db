// The peak rates of the avx2 table: how fast its int8 and f32 multiply-adds can be at best.
// Everything but fill_peak has internal linkage.
// Thread: any.
#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/avx2/fill.h"

namespace millrace::kernels::avx2 {
namespace {

#include "kernels/cpu/avx2/rows_simd.h"

// 6 chains of two ymm leave 4 registers for operands. vpmaddubsw on 4-bit weights, then vpmaddwd by ones.
constexpr int kPeakChains = 6;
constexpr int64_t kIntMacs = 64;
struct IntAcc {
  __m256i a;
  __m256i b;
};
inline IntAcc int_step(IntAcc acc, const uint8_t* weights, const int8_t* factors) {
  int32_t four = 0;
  __builtin_memcpy(&four, factors, sizeof four);
  const auto* w = reinterpret_cast<const __m256i*>(weights);
  __m256i ones = _mm256_set1_epi16(1);
  __m256i a = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_load_si256(w), _mm256_set1_epi32(four)), ones);
  __m256i b = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_load_si256(w + 1), _mm256_set1_epi32(four)), ones);
  return {_mm256_add_epi32(acc.a, a), _mm256_add_epi32(acc.b, b)};
}

#include "kernels/cpu/generic/rows_peak.inl.h"

}  // namespace

void fill_peak(KernelTable& table) {
  table.peak_int8 = peak_int8;
  table.peak_f32 = peak_f32;
}

}  // namespace millrace::kernels::avx2
