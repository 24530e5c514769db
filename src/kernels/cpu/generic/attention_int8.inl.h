// Attention over int8 blocks: exact int32 dot products on both sides of the softmax (CPU_KERNELS.md section 9).
//   q of a row: rotated as k is (attention_kv.inl.h), then int8, one scale; score = float(sum q (k - 128 + 128)) *
//   (q_scale * k_scale[t]), started at -128 sum(q) p' = p * v_scale[t] as 15-bit integers against the row's max of p'
//   in the span; o = float(sum P v) * (max p' / 32767)
// The integer sums are exact over a span (32767 * 127 * 256 < 2^31), so tokens a row does not see enter as P = 0 and
// the order of summation is free. A NaN or infinity in q, k or v reaches the result through its scale. Included inside
// the anonymous namespace of a .cc, after attention_tile.inl.h.
#pragma once

constexpr float kLeastScale = 1e-30f;  // below it a row counts as zero: 127 / amax must stay finite

inline void quantize_q(const Tile& tile, int r, TileRow& row, float factor) {
  int64_t head_dim = tile.args->head_dim;
  float* rotated = tile.s;  // no scores yet
  rotate_row(rotated, row.q, head_dim);
  float amax = amax_or_nan(rotated, head_dim);
  Vec inverse = set1(amax > kLeastScale ? 127.0f / amax : 0.0f);
  uint8_t* words = tile.words + r * tile.word_stride;
  int32_t sum = 0;
  for (int64_t d = 0; d < head_dim; d += 16) {
    int8_t q[16];
    store_i8(q, mul(load_n(rotated + d, head_dim - d), inverse));
    int n_words = head_dim - d >= 16 ? 4 : static_cast<int>((head_dim - d + 3) / 4);
    for (int i = 0; i < 16; ++i) sum += q[i];
    for (int i = 0; i < n_words; ++i) pack_q_word(words + (d / 4 + i) * kQWordBytes, q + 4 * i);
  }
  row.q_sum = sum;
  row.q_scale = amax / 127.0f * factor;
}

template <int R, int NV>
void int8_scores(const Tile& tile, int t0) {
  int64_t n_words = (tile.args->head_dim + 3) / 4;
  Regs<const uint8_t*, NV> k;
  Regs<int64_t, NV> ahead;
  for (int j = 0; j < NV; ++j) {
    int t = t0 + 16 * j;
    k[j] = tile.args->blocks[t / 32] + t % 32 * 4;
    ahead[j] = to_next(tile, t);
  }
  Regs<IVec, R * NV> acc;
  unroll<R * NV>([&](auto i) __attribute__((always_inline)) { acc[i] = iset1(-128 * tile.row[i / NV].q_sum); });
  Regs<const uint8_t*, R> words;
  unroll<R>([&](auto r) __attribute__((always_inline)) { words[r] = tile.words + r * tile.word_stride; });
  for (int64_t w = 0; w < n_words; ++w) {
    Regs<KBytes, NV> bytes;
    unroll<NV>([&](auto j) __attribute__((always_inline)) {
      bytes[j] = load_k(k[j] + w * 128);
      if constexpr (R <= kDecodeRows) __builtin_prefetch(k[j] + w * 128 + ahead[j], 0, 2);
    });
    unroll<R * NV>([&](auto i) __attribute__((always_inline)) {
      acc[i] = dot_k(acc[i], bytes[i % NV], words[i / NV] + w * kQWordBytes);
    });
  }
  for (int j = 0; j < NV; ++j) {
    int t = t0 + 16 * j;
    const uint8_t* scales = tile.args->blocks[t / 32] + int8_k_bytes(tile.args->head_dim) + t % 32 * 2;
    Vec k_scale = load_f16(reinterpret_cast<const uint16_t*>(scales));
    for (int r = 0; r < R; ++r) {
      Vec unit = mul(set1(tile.row[r].q_scale), k_scale);
      store(tile.s + r * kSpanTokens + t, mul(to_float(acc[r * NV + j]), unit));
    }
  }
}

template <int R, int NV>
int int8_scores_while(const Tile& tile, int t, int end) {
  for (; t + 16 * NV <= end; t += 16 * NV) int8_scores<R, NV>(tile, t);
  if constexpr (NV > 1) t = int8_scores_while<R, NV / 2>(tile, t, end);
  return t;
}

// p of row r to 15-bit integers in p16, zero outside what it sees; gives the value of one unit.
inline float quantize_p(const Tile& tile, int r) {
  const TileRow& row = tile.row[r];
  float* p = tile.s + r * kSpanTokens;
  int16_t* p16 = tile.p16 + r * kSpanTokens;
  int64_t offset = int8_k_bytes(tile.args->head_dim) + 64 + int8_v_bytes(tile.args->head_dim);
  Vec most = set1(0.0f);
  Vec total = set1(0.0f);
  for (int t = row.lo / 16 * 16; t < row.hi; t += 16) {
    Vec scale = load_f16(reinterpret_cast<const uint16_t*>(tile.args->blocks[t / 32] + offset) + t % 32);
    Vec x = mul(load(p + t), scale);
    if (t < row.lo || t + 16 > row.hi) x = select(lanes(row.lo - t, row.hi - t), x, set1(0.0f));
    store(p + t, x);
    most = max(most, x);
    total = add(total, x);
  }
  float p_max = reduce_max(most);
  Vec inverse = set1(p_max > kLeastScale ? 32767.0f / p_max : 0.0f);
  for (int t = tile.lo_min / 16 * 16; t < tile.hi_max; t += 16) {
    bool seen = t + 16 > row.lo && t < row.hi;
    store_i16(p16 + t, seen ? mul(load(p + t), inverse) : set1(0.0f));
  }
  return p_max / 32767.0f + reduce_add(total) * 0.0f;  // NaN when a weight is
}

template <int R, int NV>
void int8_values(const Tile& tile, const float* unit, int64_t d) {
  int64_t head_dim = tile.args->head_dim;
  int64_t valid = NV == 1 ? head_dim - d : 16;
  Regs<IVec, R * NV> acc;
  unroll<R * NV>([&](auto i) __attribute__((always_inline)) { acc[i] = iset1(0); });
  int t = tile.lo_min / 2 * 2;
  while (t < tile.hi_max) {
    const uint8_t* block = tile.args->blocks[t / 32];
    const auto* v = reinterpret_cast<const int8_t*>(block + int8_k_bytes(head_dim) + 64) + d * 2;
    const int64_t ahead = to_next(tile, t);
    int end = t / 32 * 32 + 32 < tile.hi_max ? t / 32 * 32 + 32 : tile.hi_max;
    for (; t < end; t += 2) {
      Regs<VPairs, NV> x;
      unroll<NV>([&](auto j) __attribute__((always_inline)) {
        const int8_t* pair = v + t % 32 * head_dim + 32 * j;
        x[j] = load_v(pair, valid);
        if constexpr (R <= kDecodeRows && j % 2 == 0) __builtin_prefetch(pair + ahead, 0, 2);
      });
      unroll<R * NV>([&](auto i) __attribute__((always_inline)) {
        acc[i] = dot_v(acc[i], x[i % NV], tile.p16 + (i / NV) * kSpanTokens + t);
      });
    }
  }
  unroll<R * NV>([&](auto i) __attribute__((always_inline)) {
    store_n(tile.row[i / NV].o + d + 16 * (i % NV), mul(to_float(acc[i]), set1(unit[i / NV])), valid);
  });
}

template <int R, int NV>
void int8_values_while(const Tile& tile, const float* unit, int64_t d) {
  int64_t whole = NV == 1 ? 1 : 16 * NV;
  for (; d + whole <= tile.args->head_dim; d += 16 * NV) int8_values<R, NV>(tile, unit, d);
  if constexpr (NV > 1) int8_values_while<R, NV / 2>(tile, unit, d);
}

template <int R>
struct Int8Tile {
  static void run(const AttnSpanArgs& args, int first_row) {
    Tile tile;
    open_tile(tile, args, first_row, R);
    if (first_row == 0) fetch_blocks(tile, int8_k_bytes(args.head_dim) + 64 + int8_v_bytes(args.head_dim) + 64);
    float factor = args.softcap > 0 ? args.scale / args.softcap : args.scale * kLog2E;
    for (int r = 0; r < R; ++r) quantize_q(tile, r, tile.row[r], factor);
    constexpr int kVecs = vecs_for(R);
    int8_scores_while<R, kVecs>(tile, tile.lo_min / 16 * 16, (tile.hi_max + 15) / 16 * 16);
    Regs<float, R> unit;
    for (int r = 0; r < R; ++r) {
      const TileRow& row = tile.row[r];
      args.max[first_row + r] = -kInfinity;
      args.sum[first_row + r] = 0.0f;
      float* s = tile.s + r * kSpanTokens;
      auto keep = [s](int t, Vec p) {
        store(s + t, p);
        return p;
      };
      if (row.lo < row.hi) softmax_row(args, s, row.lo, row.hi, 1.0f, first_row + r, keep);
      unit[r] = quantize_p(tile, r);
    }
    int8_values_while<R, kVecs>(tile, unit, 0);
  }
};

inline void attn_span_int8(const AttnSpanArgs& args) { for_tiles<Int8Tile>(args); }
