// Attention over bf16 blocks, two neighbours at a time: scores are one chain of pair products over d ascending per
// (row, token), outputs one chain over the pairs of tokens (2 i, 2 i + 1) ascending per (row, d). What a pair product
// is comes from the family of the table: attention_pairs_f32.inl.h or cpu/avx512vnni/attention_bf16.cc. V of a token
// that a row does not see is zeroed before it meets that row: a tile runs the pairs that all its rows see whole, and
// each row runs the rest of its own before and after. So neither garbage in free slots nor the other rows can change a
// bit. Included inside the anonymous namespace of a .cc, after attention_tile.inl.h and the family. Names of a family:
//   Half, KvPairs            an operand of q or p; 16 pairs of K or V
//   load_pairs(p, n)         (even, odd) of lane i at p[2 i]; lanes from n on are zero and not read
//   kept(x, even, odd)       x with the even or the odd halves replaced by zero
//   dot_pairs(acc, x, two)   acc + x.even * two[0] + x.odd * two[1], rounded as the family does
//   q_halves(tile, r)        the row of q as Half [head_dim]
//   p_halves(tile, r)        p of the row as Half [256], written by keep_p
//   keep_p(tile, r, t, p)    stores 16 values of p, gives them as they were stored
#pragma once

// Scores of rows [0, R) against NV vectors of 16 tokens from token t0 (a multiple of 16).
template <int R, int NV>
void bf16_scores(const Tile& tile, int t0) {
  int64_t head_dim = tile.args->head_dim;
  Regs<const uint16_t*, NV> k;
  Regs<int64_t, NV> ahead;
  for (int j = 0; j < NV; ++j) {
    int t = t0 + 16 * j;
    ahead[j] = to_next(tile, t) / 2;
    k[j] = reinterpret_cast<const uint16_t*>(tile.args->blocks[t / 32]) + t % 32 / 16 * ((head_dim + 1) / 2) * 32;
  }
  Regs<Vec, R * NV> acc;
  unroll<R * NV>([&](auto i) __attribute__((always_inline)) { acc[i] = set1(0.0f); });
  Regs<const Half*, R> q;
  unroll<R>([&](auto r) __attribute__((always_inline)) { q[r] = q_halves(tile, r); });
  int64_t d = 0;
  for (; d + 1 < head_dim; d += 2) {
    Regs<KvPairs, NV> x;
    unroll<NV>([&](auto j) __attribute__((always_inline)) {
      x[j] = load_pairs(k[j] + d * 16, 16);
      if constexpr (R <= kDecodeRows) __builtin_prefetch(k[j] + d * 16 + ahead[j], 0, 2);
    });
    unroll<R * NV>([&](auto i)
                       __attribute__((always_inline)) { acc[i] = dot_pairs(acc[i], x[i % NV], q[i / NV] + d); });
  }
  for (int i = 0; d < head_dim && i < R * NV; ++i) {  // an odd head: nothing was written beside the last value
    Half last[2] = {q[i / NV][d], Half{}};
    acc[i] = dot_pairs(acc[i], kept(load_pairs(k[i % NV] + d * 16, 16), true, false), last);
  }
  unroll<R * NV>([&](auto i) __attribute__((always_inline)) {
    store(tile.s + (i / NV) * kSpanTokens + t0 + 16 * (i % NV), acc[i]);
  });
}

template <int R, int NV>
int bf16_scores_while(const Tile& tile, int t, int end) {
  for (; t + 16 * NV <= end; t += 16 * NV) bf16_scores<R, NV>(tile, t);
  if constexpr (NV > 1) t = bf16_scores_while<R, NV / 2>(tile, t, end);
  return t;
}

// V of the pair of tokens (t, t + 1), t even, from value d on.
inline const uint16_t* v_pair(const Tile& tile, int t, int64_t d) {
  int64_t head_dim = tile.args->head_dim;
  const uint8_t* v = tile.args->blocks[t / 32] + bf16_k_bytes(head_dim);
  return reinterpret_cast<const uint16_t*>(v) + (t % 32 / 2 * head_dim + d) * 2;
}

// o += p V for rows [first, first + R), 16 NV values from d (`valid` of them when NV is 1), over the pairs of tokens
// [t_begin, t_end). Rows see all of them, both even, unless R is 1: then halves outside [t_begin, t_end) are left out.
template <int R, int NV>
void bf16_values(const Tile& tile, int first, int t_begin, int t_end, int64_t d) {
  int64_t valid = NV == 1 ? tile.args->head_dim - d : 16;
  Regs<Vec, R * NV> acc;
  unroll<R * NV>([&](auto i) __attribute__((always_inline)) {
    acc[i] = load_n(tile.row[first + i / NV].o + d + 16 * (i % NV), valid);
  });
  Regs<const Half*, R> p;
  unroll<R>([&](auto r) __attribute__((always_inline)) { p[r] = p_halves(tile, first + r); });
  for (int t = t_begin / 2 * 2; t < t_end;) {
    const uint16_t* v = v_pair(tile, t, d);
    const int64_t ahead = to_next(tile, t) / 2;
    for (int end = t / 32 * 32 + 32; t < end && t < t_end; t += 2, v += 2 * tile.args->head_dim) {
      Regs<KvPairs, NV> x;
      unroll<NV>([&](auto j) __attribute__((always_inline)) {
        x[j] = load_pairs(v + 32 * j, valid);
        if constexpr (R <= kDecodeRows) __builtin_prefetch(v + 32 * j + ahead, 0, 2);
        if constexpr (R == 1) x[j] = kept(x[j], t >= t_begin, t + 1 < t_end);
      });
      unroll<R * NV>([&](auto i)
                         __attribute__((always_inline)) { acc[i] = dot_pairs(acc[i], x[i % NV], p[i / NV] + t); });
    }
  }
  unroll<R * NV>([&](auto i) __attribute__((always_inline)) {
    store_n(tile.row[first + i / NV].o + d + 16 * (i % NV), acc[i], valid);
  });
}

template <int R, int NV>
void bf16_values_while(const Tile& tile, int first, int t_begin, int t_end, int64_t d) {
  if (t_begin >= t_end) return;
  int64_t whole = NV == 1 ? 1 : 16 * NV;
  for (; d + whole <= tile.args->head_dim; d += 16 * NV) bf16_values<R, NV>(tile, first, t_begin, t_end, d);
  if constexpr (NV > 1) bf16_values_while<R, NV / 2>(tile, first, t_begin, t_end, d);
}

template <int R>
struct Bf16Tile {
  static void run(const AttnSpanArgs& args, int first_row) {
    Tile tile;
    open_tile(tile, args, first_row, R);
    if (first_row == 0) fetch_blocks(tile, bf16_k_bytes(args.head_dim) + args.head_dim * 64);
    open_q_halves(tile, R);
    constexpr int kVecs = vecs_for(R);
    bf16_scores_while<R, kVecs>(tile, tile.lo_min / 16 * 16, (tile.hi_max + 15) / 16 * 16);
    float factor = args.softcap > 0 ? args.scale / args.softcap : args.scale * kLog2E;
    int shared_begin = (tile.lo_max + 1) / 2 * 2;
    int shared_end = tile.hi_min / 2 * 2;
    bool shared = shared_begin < shared_end;
    for (int r = 0; r < R; ++r) {
      const TileRow& row = tile.row[r];
      zero_values(row.o, args.head_dim);
      if (row.lo >= row.hi) {
        args.max[first_row + r] = -kInfinity;
        args.sum[first_row + r] = 0.0f;
        continue;
      }
      softmax_row(args, tile.s + r * kSpanTokens, row.lo, row.hi, factor, first_row + r,
                  [&](int t, Vec p) { return keep_p(tile, r, t, p); });
      bf16_values_while<1, vecs_for(1)>(tile, r, row.lo, shared ? shared_begin : row.hi, 0);
    }
    if (!shared) return;
    bf16_values_while<R, kVecs>(tile, 0, shared_begin, shared_end, 0);
    for (int r = 0; r < R; ++r) bf16_values_while<1, vecs_for(1)>(tile, r, shared_end, tile.row[r].hi, 0);
  }
};

inline void attn_span_bf16(const AttnSpanArgs& args) { for_tiles<Bf16Tile>(args); }
