// Pair products of the family "f32" for attention over bf16 blocks: bf16 widens to f32 exactly, a pair product is two
// f32 fused multiply-adds, even first; q and p stay f32. All tables of this family give the same bits.
// Included inside the anonymous namespace of a .cc, before attention_bf16.inl.h, which says what the names mean.
#pragma once

using Half = float;
using KvPairs = Pairs;

inline KvPairs load_pairs(const uint16_t* p, int64_t n) { return load_bf16_pairs(p, n); }
inline KvPairs kept(const KvPairs& x, bool even, bool odd) {
  return {even ? x.even : set1(0.0f), odd ? x.odd : set1(0.0f)};
}
inline Vec dot_pairs(const Vec& acc, const KvPairs& x, const float* two) {
  return fma(set1(two[1]), x.odd, fma(set1(two[0]), x.even, acc));
}
inline void open_q_halves(const Tile&, int) {}
inline const float* q_halves(const Tile& tile, int r) { return tile.row[r].q; }
inline const float* p_halves(const Tile& tile, int r) { return tile.s + r * kSpanTokens; }
inline Vec keep_p(const Tile& tile, int r, int t, const Vec& p) {
  store(tile.s + r * kSpanTokens + t, p);
  return p;
}
