// The attention operands for AVX-512 VNNI: contract in cpu/generic/attention_simd.h, same names, same results.
// QK is vpdpbusd on the block bytes as they lie; PV is vpdpwssd on V widened by vpmovsxbw, shared by the rows of a
// tile. Included inside the anonymous namespace of a .cc, after rows_math.inl.h.
#pragma once

constexpr int kTileRows = 6;  // 6 rows x 2 vectors: 12 accumulators hide the 4-cycle fma, 4 operands, 1 broadcast
constexpr int kTileVecs = 12;
constexpr int kQWordBytes = 4;

struct IVec {
  __m512i v;
};
struct Pairs {
  Vec even;
  Vec odd;
};
struct KBytes {
  __m512i v;
};
struct VPairs {
  __m512i v;  // 16 head values x 2 tokens, s16
};

inline IVec iset1(int32_t x) { return {_mm512_set1_epi32(x)}; }
inline Vec to_float(IVec x) { return {_mm512_cvtepi32_ps(x.v)}; }
inline void store_i8(int8_t* p, Vec x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x.v)));
}
inline void store_i16(int16_t* p, Vec x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(x.v)));
}

inline Pairs load_bf16_pairs(const uint16_t* p, int64_t n) {
  __m512i dwords = n >= 16 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi32(first_lanes(n), p);
  __m512i high = _mm512_set1_epi32(static_cast<int>(0xFFFF0000u));
  return {{_mm512_castsi512_ps(_mm512_slli_epi32(dwords, 16))}, {_mm512_castsi512_ps(_mm512_and_si512(dwords, high))}};
}
inline Vec load_f16(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}

inline KBytes load_k(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
inline void pack_q_word(uint8_t* word, const int8_t* q) { __builtin_memcpy(word, q, 4); }
inline IVec dot_k(IVec acc, const KBytes& k, const uint8_t* word) {
  int32_t four = 0;
  __builtin_memcpy(&four, word, sizeof four);
  return {_mm512_dpbusd_epi32(acc.v, k.v, _mm512_set1_epi32(four))};
}
inline VPairs load_v(const int8_t* p, int64_t n) {
  __m256i bytes = n >= 16 ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))
                          : _mm512_castsi512_si256(_mm512_maskz_loadu_epi16(first_lanes(n), p));
  return {_mm512_cvtepi8_epi16(bytes)};
}
inline IVec dot_v(IVec acc, VPairs v, const int16_t* p) {
  int32_t pair = 0;
  __builtin_memcpy(&pair, p, sizeof pair);
  return {_mm512_dpwssd_epi32(acc.v, v.v, _mm512_set1_epi32(pair))};
}
