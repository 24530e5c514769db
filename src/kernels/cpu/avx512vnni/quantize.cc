// The A32 quantiser of the avx512vnni table: eight groups at a time, so that largest values, sums and divisions of
// eight groups share their instructions. Same bytes as generic/quantize.inl.h, which has the formula and the rules for
// NaN, infinity and zero groups; it does one group at a time, with 2 scalar divisions and 3 reductions each.
// Kept because 576 values take 0.56 of its time (docs/performance.md, 2026-11-21). Thread: any.
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC bug 105593: undefined operands of its own intrinsics
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/avx512vnni/fill.h"
#include "kernels/cpu/generic/unroll.inl.h"

namespace millrace::kernels::avx512vnni {
namespace {

using generic::unroll;

constexpr int kGroups = 8;
constexpr float kZeroGroupBelow = 0x1p-100f;

struct Largest {
  static __m512i of(__m512i x, __m512i y) { return _mm512_max_epi32(x, y); }
  static __m256i of(__m256i x, __m256i y) { return _mm256_max_epi32(x, y); }
};
struct Sum {
  static __m512i of(__m512i x, __m512i y) { return _mm512_add_epi32(x, y); }
  static __m256i of(__m256i x, __m256i y) { return _mm256_add_epi32(x, y); }
};

// Lane j of the result: Op over the 16 lanes of x[j]. Op is exact, so the order of the tree is free.
template <class Op>
[[gnu::always_inline]] inline __m256i reduce_each(const __m512i (&x)[size_t{kGroups}]) {
  __m512i two[4];
  unroll<4>([&](auto i) __attribute__((always_inline)) {  // each quarter: two partial results of 2 i, 2 i + 1
    two[i] = Op::of(_mm512_unpacklo_epi32(x[2 * i], x[2 * i + 1]), _mm512_unpackhi_epi32(x[2 * i], x[2 * i + 1]));
  });
  __m512i four[2];
  unroll<2>([&](auto i) __attribute__((always_inline)) {  // each quarter: one of 4 i .. 4 i + 3
    four[i] =
        Op::of(_mm512_unpacklo_epi64(two[2 * i], two[2 * i + 1]), _mm512_unpackhi_epi64(two[2 * i], two[2 * i + 1]));
  });
  __m512i even = _mm512_shuffle_i32x4(four[0], four[1], 0x88);  // quarters 0, 2 of both
  __m512i odd = _mm512_shuffle_i32x4(four[0], four[1], 0xDD);
  __m512i all = Op::of(even, odd);
  __m512i swapped = _mm512_shuffle_i32x4(all, all, 0xD8);  // quarters 0, 2, 1, 3
  return Op::of(_mm512_castsi512_si256(swapped), _mm512_extracti64x4_epi64(swapped, 1));
}

inline __mmask16 first_lanes(int64_t n) {
  return static_cast<__mmask16>(n >= 16 ? 0xFFFFu : n <= 0 ? 0u : (1u << n) - 1u);
}

inline __m512i rounded(__m512 x, __m512 inverse) {
  __m512 scaled = _mm512_max_ps(_mm512_mul_ps(x, inverse), _mm512_set1_ps(-127.0f));  // NaN becomes -127
  return _mm512_cvtps_epi32(_mm512_min_ps(scaled, _mm512_set1_ps(127.0f)));
}

// Groups [at, at + kCount) of act, whose values from x on end after n_left.
template <int kCount>
inline void quantize_groups(const ActRows& act, const float* x, int64_t n_left, int64_t at) {
  __m512 value[size_t{2 * kCount}];
  __m512i part[size_t{kGroups}];
  const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
  unroll<kGroups>([&](auto j) __attribute__((always_inline)) {
    part[j] = _mm512_setzero_si512();
    if constexpr (j < kCount) {
      unroll<2>([&](auto half) __attribute__((always_inline)) {
        constexpr int kFrom = 32 * decltype(j){} + 16 * decltype(half){};
        value[2 * j + half] = n_left - kFrom >= 16 ? _mm512_loadu_ps(x + kFrom)
                                                   : _mm512_maskz_loadu_ps(first_lanes(n_left - kFrom), x + kFrom);
      });
      __m512i low = _mm512_and_si512(_mm512_castps_si512(value[2 * j]), magnitude);
      part[j] = Largest::of(low, _mm512_and_si512(_mm512_castps_si512(value[2 * j + 1]), magnitude));
    }
  });
  __m256 largest = _mm256_castsi256_ps(reduce_each<Largest>(part));
  __mmask8 some = _mm256_cmp_ps_mask(largest, _mm256_set1_ps(kZeroGroupBelow), _CMP_NLT_UQ);  // NaN too
  __m256 most = _mm256_set1_ps(127.0f);
  __m256 d = _mm256_maskz_div_ps(some, largest, most);
  alignas(32) float inverse[size_t{kGroups}];
  _mm256_store_ps(inverse, _mm256_maskz_div_ps(some, most, largest));
  int8_t* q = static_cast<int8_t*>(act.data) + at * 32;
  unroll<kCount>([&](auto j) __attribute__((always_inline)) {
    __m512 factor = _mm512_set1_ps(inverse[j]);
    __m512i low = rounded(value[2 * j], factor);
    __m512i high = rounded(value[2 * j + 1], factor);
    part[j] = Sum::of(low, high);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q + 32 * j), _mm512_cvtepi32_epi8(low));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q + 32 * j + 16), _mm512_cvtepi32_epi8(high));
  });
  __m256i sum = reduce_each<Sum>(part);
  auto stored = static_cast<__mmask8>((1u << kCount) - 1u);
  _mm256_mask_storeu_ps(act.d + at, stored, d);
  _mm256_mask_storeu_epi32(act.sum + at, stored, sum);
  _mm256_mask_storeu_ps(act.s + at, stored, _mm256_mul_ps(d, _mm256_cvtepi32_ps(sum)));
}

void quantize_a32(const ActRows& act, const float* x, int64_t x_stride, int64_t row_begin, int64_t row_end) {
  int64_t n_groups = (act.k + 31) / 32;
  for (int64_t row = row_begin; row < row_end; ++row) {
    const float* from = x + row * x_stride;
    int64_t g = 0;
    for (; g + kGroups <= n_groups; g += kGroups) {
      quantize_groups<kGroups>(act, from + g * 32, act.k - g * 32, row * n_groups + g);
    }
    for (; g + 2 <= n_groups; g += 2) quantize_groups<2>(act, from + g * 32, act.k - g * 32, row * n_groups + g);
    if (g < n_groups) quantize_groups<1>(act, from + g * 32, act.k - g * 32, row * n_groups + g);
  }
}

}  // namespace

void fill_quantize(KernelTable& table) { table.quantize[static_cast<int>(ActKind::kQ8A32)] = quantize_a32; }

}  // namespace millrace::kernels::avx512vnni
