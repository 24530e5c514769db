// Attention over bf16 blocks in f32: scores are one fma chain over d ascending per (row, token), outputs one fma chain
// over the visible tokens ascending per (row, d). bf16 widens to f32 exactly, so every table gives the same bits. V of
// a token that a row does not see is never read for it: a tile runs the tokens that all its rows see, and each row runs
// the rest of its own before and after. So neither garbage in free slots nor the other rows can change a bit. Included
// inside the anonymous namespace of a .cc, after attention_tile.inl.h.
#pragma once

// Scores of rows [0, R) against NV vectors of 16 tokens from token t0 (a multiple of 16).
template <int R, int NV>
void bf16_scores(const Tile& tile, int t0) {
  int64_t head_dim = tile.args->head_dim;
  Regs<const uint16_t*, NV> k;
  for (int j = 0; j < NV; ++j) {
    int t = t0 + 16 * j;
    k[j] = reinterpret_cast<const uint16_t*>(tile.args->blocks[t / 32]) + t % 32 / 16 * ((head_dim + 1) / 2) * 32;
  }
  Regs<Vec, R * NV> acc;
  unroll<R * NV>([&](auto i) __attribute__((always_inline)) { acc[i] = set1(0.0f); });
  Regs<const float*, R> q;
  unroll<R>([&](auto r) __attribute__((always_inline)) { q[r] = tile.row[r].q; });
  int64_t d = 0;
  for (; d + 1 < head_dim; d += 2) {
    Regs<Pairs, NV> pairs;
    unroll<NV>([&](auto j) __attribute__((always_inline)) { pairs[j] = load_bf16_pairs(k[j] + d * 16, 16); });
    unroll<R>([&](auto r) __attribute__((always_inline)) {
      Vec even = set1(q[r][d]);
      Vec odd = set1(q[r][d + 1]);
      unroll<NV>([&](auto j)
                     __attribute__((always_inline)) { acc[r * NV + j] = fma(even, pairs[j].even, acc[r * NV + j]); });
      unroll<NV>([&](auto j)
                     __attribute__((always_inline)) { acc[r * NV + j] = fma(odd, pairs[j].odd, acc[r * NV + j]); });
    });
  }
  for (int r = 0; d < head_dim && r < R; ++r) {
    for (int j = 0; j < NV; ++j)
      acc[r * NV + j] = fma(set1(q[r][d]), load_bf16_pairs(k[j] + d * 16, 16).even, acc[r * NV + j]);
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

// o += p V over tokens [t_begin, t_end) for rows [first, first + R) and 16 NV values from d; `valid` of them when NV
// is 1.
template <int R, int NV>
void bf16_values(const Tile& tile, int first, int t_begin, int t_end, int64_t d) {
  int64_t head_dim = tile.args->head_dim;
  int64_t valid = NV == 1 ? head_dim - d : 16;
  Regs<Vec, R * NV> acc;
  unroll<R * NV>([&](auto i) __attribute__((always_inline)) {
    acc[i] = load_n(tile.row[first + i / NV].o + d + 16 * (i % NV), valid);
  });
  const float* p = tile.s + first * kSpanTokens;
  int t = t_begin;
  while (t < t_end) {
    const uint8_t* block = tile.args->blocks[t / 32];
    const auto* v = reinterpret_cast<const uint16_t*>(block + bf16_k_bytes(head_dim)) + d * 2;
    int end = t / 32 * 32 + 32 < t_end ? t / 32 * 32 + 32 : t_end;
    while (t < end) {
      const uint16_t* pair = v + t % 32 / 2 * head_dim * 2;
      bool with_even = t % 2 == 0;
      bool with_odd = t % 2 == 1 || t + 1 < end;
      int even = t / 2 * 2;
      Regs<Pairs, NV> x;
      unroll<NV>([&](auto j) __attribute__((always_inline)) { x[j] = load_bf16_pairs(pair + 32 * j, valid); });
      if (with_even) {
        unroll<R>([&](auto r) __attribute__((always_inline)) {
          Vec weight = set1(p[r * kSpanTokens + even]);
          unroll<NV>([&](auto j)
                         __attribute__((always_inline)) { acc[r * NV + j] = fma(weight, x[j].even, acc[r * NV + j]); });
        });
      }
      if (with_odd) {
        unroll<R>([&](auto r) __attribute__((always_inline)) {
          Vec weight = set1(p[r * kSpanTokens + even + 1]);
          unroll<NV>([&](auto j)
                         __attribute__((always_inline)) { acc[r * NV + j] = fma(weight, x[j].odd, acc[r * NV + j]); });
        });
      }
      t = even + 2;
    }
    t = end;
  }
  unroll<R * NV>([&](auto i) __attribute__((always_inline)) {
    store_n(tile.row[first + i / NV].o + d + 16 * (i % NV), acc[i], valid);
  });
}

template <int R, int NV>
void bf16_values_while(const Tile& tile, int first, int t_begin, int t_end, int64_t d) {
  int64_t whole = NV == 1 ? 1 : 16 * NV;
  for (; d + whole <= tile.args->head_dim; d += 16 * NV) bf16_values<R, NV>(tile, first, t_begin, t_end, d);
  if constexpr (NV > 1) bf16_values_while<R, NV / 2>(tile, first, t_begin, t_end, d);
}

template <int R>
struct Bf16Tile {
  static void run(const AttnSpanArgs& args, int first_row) {
    Tile tile;
    open_tile(tile, args, first_row, R);
    constexpr int kVecs = vecs_for(R);
    bf16_scores_while<R, kVecs>(tile, tile.lo_min / 16 * 16, (tile.hi_max + 15) / 16 * 16);
    float factor = args.softcap > 0 ? args.scale / args.softcap : args.scale * kLog2E;
    bool shared = tile.lo_max < tile.hi_min;
    for (int r = 0; r < R; ++r) {
      const TileRow& row = tile.row[r];
      zero_values(row.o, args.head_dim);
      if (row.lo >= row.hi) {
        args.max[first_row + r] = -kInfinity;
        args.sum[first_row + r] = 0.0f;
        continue;
      }
      softmax_row(args, tile.s + r * kSpanTokens, row.lo, row.hi, factor, first_row + r);
      bf16_values_while<1, vecs_for(1)>(tile, r, row.lo, shared ? tile.lo_max : row.hi, 0);
    }
    if (!shared) return;
    bf16_values_while<R, kVecs>(tile, 0, tile.lo_max, tile.hi_min, 0);
    for (int r = 0; r < R; ++r) bf16_values_while<1, vecs_for(1)>(tile, r, tile.hi_min, tile.row[r].hi, 0);
  }
};

inline void attn_span_bf16(const AttnSpanArgs& args) { for_tiles<Bf16Tile>(args); }
