// The attention operands for AVX2: contract in cpu/generic/attention_simd.h, same names, same results.
// u8 x s8 products would saturate in vpmaddubsw (255 * 127 * 2 > 32767), so K is split into even and odd bytes and q is
// packed as int16 (q0, q2, q1, q3); two vpmaddwd give the exact sum.
// Included inside the anonymous namespace of a .cc, after rows_math.inl.h.
#pragma once

constexpr int kTileRows = 4;  // 4 rows x 1 vector = 8 of 16 ymm, the rest holds operands
constexpr int kTileVecs = 4;
constexpr int kQWordBytes = 8;

struct IVec {
  __m256i a;  // lanes 0..7
  __m256i b;  // lanes 8..15
};
struct Pairs {
  Vec even;
  Vec odd;
};
struct KBytes {
  __m256i even[2];  // values 0 and 2 of 8 tokens, u16
  __m256i odd[2];   // values 1 and 3
};
struct VPairs {
  __m256i a;  // 8 head values x 2 tokens, s16
  __m256i b;
};

inline IVec iset1(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
inline Vec to_float(IVec x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
// 16 values rounded, saturated to int16, in order.
inline __m256i round_i16(Vec x) {
  __m256i mixed = _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));
  return _mm256_permute4x64_epi64(mixed, 0xD8);
}
inline void store_i8(int8_t* p, Vec x) {
  __m256i words = round_i16(x);
  __m128i packed = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), packed);
}
inline void store_i16(int16_t* p, Vec x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), round_i16(x)); }

inline Pairs load_bf16_pairs(const uint16_t* p, int64_t n) {
  const auto* dwords = reinterpret_cast<const int*>(p);
  __m256i a;
  __m256i b = _mm256_setzero_si256();
  if (n >= 16) {
    a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(dwords));
    b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(dwords + 8));
  } else {
    a = _mm256_maskload_epi32(dwords, first_lanes(static_cast<int>(n)));
    if (n > 8) b = _mm256_maskload_epi32(dwords + 8, first_lanes(static_cast<int>(n) - 8));
  }
  __m256i high = _mm256_set1_epi32(static_cast<int>(0xFFFF0000u));
  return {{_mm256_castsi256_ps(_mm256_slli_epi32(a, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(b, 16))},
          {_mm256_castsi256_ps(_mm256_and_si256(a, high)), _mm256_castsi256_ps(_mm256_and_si256(b, high))}};
}
inline Vec load_f16(const uint16_t* p) {
  const auto* halves = reinterpret_cast<const __m128i*>(p);
  return {_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
}

inline KBytes load_k(const uint8_t* p) {
  const auto* vectors = reinterpret_cast<const __m256i*>(p);
  __m256i low = _mm256_set1_epi16(0xFF);
  __m256i x = _mm256_loadu_si256(vectors);
  __m256i y = _mm256_loadu_si256(vectors + 1);
  return {{_mm256_and_si256(x, low), _mm256_and_si256(y, low)}, {_mm256_srli_epi16(x, 8), _mm256_srli_epi16(y, 8)}};
}
inline void pack_q_word(uint8_t* word, const int8_t* q) {
  const int16_t ordered[4] = {q[0], q[2], q[1], q[3]};
  __builtin_memcpy(word, ordered, sizeof ordered);
}
inline IVec dot_k(IVec acc, const KBytes& k, const uint8_t* word) {
  int32_t pairs[2];
  __builtin_memcpy(pairs, word, sizeof pairs);
  __m256i q02 = _mm256_set1_epi32(pairs[0]);
  __m256i q13 = _mm256_set1_epi32(pairs[1]);
  __m256i a = _mm256_add_epi32(_mm256_madd_epi16(k.even[0], q02), _mm256_madd_epi16(k.odd[0], q13));
  __m256i b = _mm256_add_epi32(_mm256_madd_epi16(k.even[1], q02), _mm256_madd_epi16(k.odd[1], q13));
  return {_mm256_add_epi32(acc.a, a), _mm256_add_epi32(acc.b, b)};
}
inline VPairs load_v(const int8_t* p, int64_t n) {
  alignas(32) int8_t piece[32] = {};
  if (n < 16) {
    for (int64_t i = 0; i < 2 * n; ++i) piece[i] = p[i];
    p = piece;
  }
  const auto* vectors = reinterpret_cast<const __m128i*>(p);
  return {_mm256_cvtepi8_epi16(_mm_loadu_si128(vectors)), _mm256_cvtepi8_epi16(_mm_loadu_si128(vectors + 1))};
}
inline IVec dot_v(IVec acc, VPairs v, const int16_t* p) {
  int32_t pair = 0;
  __builtin_memcpy(&pair, p, sizeof pair);
  __m256i both = _mm256_set1_epi32(pair);
  return {_mm256_add_epi32(acc.a, _mm256_madd_epi16(v.a, both)), _mm256_add_epi32(acc.b, _mm256_madd_epi16(v.b, both))};
}
