// Attention over bf16 blocks by vdpbf16ps: the pair products of the family "vdpbf16ps". q and p are rounded to bf16 (to
// nearest, ties to even), the sum of p is that of the rounded values, so weights add up to 1. Twice the multiply-adds
// per cycle of the f32 family. The instruction flushes denormals and rounds in its own way, so bits hold inside this
// family only. Built with its own flag; used only where cpuid has avx512_bf16. Everything but fill_attention_bf16 has
// internal linkage. Thread: any. g++ 12 takes the undefined source operands of its own AVX-512 intrinsics for mistakes
// (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels/cpu/avx512vnni/fill.h"

namespace millrace::kernels::avx512vnni {
namespace {

#include "kernels/cpu/avx512vnni/rows_simd.h"
// after Vec:
#include "kernels/cpu/generic/rows_math.inl.h"
// after Vec and its constants:
#include "kernels/cpu/avx512vnni/attention_simd.h"
// after all of these, in this order:
#include "kernels/cpu/generic/attention_kv.inl.h"
#include "kernels/cpu/generic/attention_tile.inl.h"

using Half = uint16_t;
struct KvPairs {
  __m512i v;
};

inline KvPairs load_pairs(const uint16_t* p, int64_t n) {
  return {n >= 16 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi32(first_lanes(n), p)};
}
inline KvPairs kept(KvPairs x, bool even, bool odd) {
  uint32_t mask = (even ? 0xFFFFu : 0u) | (odd ? 0xFFFF0000u : 0u);
  return {_mm512_and_si512(x.v, _mm512_set1_epi32(static_cast<int>(mask)))};
}
inline Vec dot_pairs(Vec acc, KvPairs x, const uint16_t* two) {
  int32_t pair = 0;
  __builtin_memcpy(&pair, two, sizeof pair);
  return {
      _mm512_dpbf16_ps(acc.v, reinterpret_cast<__m512bh>(x.v), reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair)))};
}

// The scratch for packed q has 2 bytes for each value of the head, the one for p 2 bytes for each token.
inline uint16_t* q_words(const Tile& tile, int r) {
  return reinterpret_cast<uint16_t*>(tile.words) + r * ((tile.args->head_dim + 3) / 4 * 4);
}
inline __m256i rounded(Vec x) { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x.v)); }
inline void open_q_halves(const Tile& tile, int n_rows) {
  int64_t head_dim = tile.args->head_dim;
  for (int r = 0; r < n_rows; ++r) {
    for (int64_t d = 0; d < head_dim; d += 16) {
      int64_t left = head_dim - d;
      _mm256_mask_storeu_epi16(q_words(tile, r) + d, first_lanes(left), rounded(load_n(tile.row[r].q + d, left)));
    }
  }
}
inline const uint16_t* q_halves(const Tile& tile, int r) { return q_words(tile, r); }
inline uint16_t* p_words(const Tile& tile, int r) { return reinterpret_cast<uint16_t*>(tile.p16) + r * kSpanTokens; }
inline const uint16_t* p_halves(const Tile& tile, int r) { return p_words(tile, r); }
inline Vec keep_p(const Tile& tile, int r, int t, Vec p) {
  __m256i halves = rounded(p);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p_words(tile, r) + t), halves);
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16))};
}

// after the pair products:
#include "kernels/cpu/generic/attention_bf16.inl.h"

}  // namespace

void fill_attention_bf16(KernelTable& table) { table.attn_span[static_cast<int>(KvDType::kBF16)] = attn_span_bf16; }

}  // namespace millrace::kernels::avx512vnni
