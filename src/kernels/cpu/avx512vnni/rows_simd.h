// Vec for AVX-512: 16 f32 lanes in one zmm. The contract is in cpu/generic/rows_simd.h: same names, same bits.
// Included inside the anonymous namespace of a .cc; needs <immintrin.h> before it.
#pragma once

struct Vec {
  __m512 v;
};
using Mask = __mmask16;

inline Vec set1(float x) { return {_mm512_set1_ps(x)}; }
inline Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline __mmask16 first_lanes(int64_t n) {
  if (n <= 0) return 0;
  return n >= 16 ? static_cast<__mmask16>(0xFFFF) : static_cast<__mmask16>((1u << n) - 1u);
}
inline Vec load_n(const float* p, int64_t n) { return {_mm512_maskz_loadu_ps(first_lanes(n), p)}; }
inline void store(float* p, Vec x) { _mm512_storeu_ps(p, x.v); }
inline void store_n(float* p, Vec x, int64_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), x.v); }
inline Vec add(Vec x, Vec y) { return {_mm512_add_ps(x.v, y.v)}; }
inline Vec sub(Vec x, Vec y) { return {_mm512_sub_ps(x.v, y.v)}; }
inline Vec mul(Vec x, Vec y) { return {_mm512_mul_ps(x.v, y.v)}; }
inline Vec div(Vec x, Vec y) { return {_mm512_div_ps(x.v, y.v)}; }
inline Vec fma(Vec x, Vec y, Vec z) { return {_mm512_fmadd_ps(x.v, y.v, z.v)}; }
inline Vec neg(Vec x) { return {_mm512_xor_ps(x.v, _mm512_set1_ps(-0.0f))}; }
inline Vec abs(Vec x) { return {_mm512_andnot_ps(_mm512_set1_ps(-0.0f), x.v)}; }
inline Vec max(Vec x, Vec y) { return {_mm512_max_ps(x.v, y.v)}; }
inline Vec min(Vec x, Vec y) { return {_mm512_min_ps(x.v, y.v)}; }

inline Mask ge(Vec x, Vec y) { return _mm512_cmp_ps_mask(x.v, y.v, _CMP_GE_OQ); }
inline Mask eq(Vec x, Vec y) { return _mm512_cmp_ps_mask(x.v, y.v, _CMP_EQ_OQ); }
inline Mask is_nan(Vec x) { return _mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q); }
inline Mask lanes(int lo, int hi) { return static_cast<Mask>(first_lanes(hi) & ~first_lanes(lo)); }
inline Vec select(Mask m, Vec x, Vec y) { return {_mm512_mask_blend_ps(m, y.v, x.v)}; }
inline uint32_t bits(Mask m) { return m; }

inline __m256 upper_half(__m512 x) { return _mm256_castsi256_ps(_mm512_extracti64x4_epi64(_mm512_castps_si512(x), 1)); }
inline float reduce_add(Vec x) {
  __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x.v), upper_half(x.v));
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
inline float reduce_max(Vec x) {
  __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(x.v), upper_half(x.v));
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}
inline float sqrt1(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }

template <int kDistance>
Vec swapped(Vec x) {
  constexpr int kOrder = kDistance % 4 == 0 ? kDistance / 4 : kDistance;  // of 4: lanes, or quarters of the vector
  constexpr int kSwap = kOrder == 2 ? 0x4E : 0xB1;
  if constexpr (kDistance >= 4) return {_mm512_shuffle_f32x4(x.v, x.v, kSwap)};
  return {_mm512_shuffle_ps(x.v, x.v, kSwap)};
}
inline Vec load_twice(const float* p) {
  __m512i index = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  return {_mm512_permutexvar_ps(index, _mm512_zextps256_ps512(_mm256_loadu_ps(p)))};
}

inline Vec scale_pow2(Vec p, Vec t) { return {_mm512_scalef_ps(p.v, _mm512_sub_ps(t.v, _mm512_set1_ps(0x1.8p+23f)))}; }
