// Tiles of query rows of one attention item: which tokens a row sees, the softmax of a row, the merge of spans.
//  1. Scores are in units of log2: s2 = s * log2(e), p = 2^(s2 - max). max of a partial is in these units too.
//  2. A row's numbers depend on its own tokens only: lanes are absolute ((j - span_begin) % 16), tokens it does not see
//     are replaced by -inf before the max and so are exact zeros after it, and vectors it does not see are not touched.
// Included inside the anonymous namespace of a .cc, after attention_kv.inl.h.
#pragma once

template <int... I, class F>
[[gnu::always_inline]] inline void unroll_each(std::integer_sequence<int, I...>, const F& f) {
  (f(std::integral_constant<int, I>{}), ...);
}
// f(0), f(1), ... f(N - 1) with constants, so that arrays indexed by them stay in registers.
template <int N, class F>
[[gnu::always_inline]] inline void unroll(const F& f) {
  unroll_each(std::make_integer_sequence<int, N>{}, f);
}

// An array of N registers.
template <class T, int N>
using Regs = T[static_cast<size_t>(N)];

constexpr int kMaxTileRows = 8;  // of any table; sizes the scratch

struct TileRow {
  const float* q;  // [head_dim]
  float* o;        // [head_dim]
  int lo;          // tokens of the span it sees: [lo, hi), empty when lo >= hi
  int hi;
  float q_scale;  // int8 only: value of one unit of its dot product
  int32_t q_sum;  // int8 only
};

struct Tile {
  const AttnSpanArgs* args;
  TileRow row[kMaxTileRows];
  int lo_min;  // union of what the rows see
  int hi_max;
  int lo_max;  // intersection; empty when lo_max >= hi_min
  int hi_min;
  float* s;        // [kMaxTileRows, 256] scores, then p
  int16_t* p16;    // [kMaxTileRows, 256] int8 only
  uint8_t* words;  // [kMaxTileRows, word_stride] int8 only: packed q
  int64_t word_stride;
};

inline void open_tile(Tile& tile, const AttnSpanArgs& args, int first_row, int n_rows) {
  tile.args = &args;
  tile.s = reinterpret_cast<float*>(args.scratch);
  tile.p16 = reinterpret_cast<int16_t*>(args.scratch + kMaxTileRows * kSpanTokens * 4);
  tile.words = args.scratch + kMaxTileRows * kSpanTokens * 6;
  tile.word_stride = (args.head_dim + 3) / 4 * kQWordBytes;
  tile.lo_min = kSpanTokens;
  tile.hi_max = 0;
  tile.lo_max = 0;
  tile.hi_min = kSpanTokens;
  for (int r = 0; r < n_rows; ++r) {
    TileRow& row = tile.row[r];
    int64_t token = (first_row + r) / args.n_group;
    int64_t group = (first_row + r) % args.n_group;
    row.q = args.q + token * args.q_token_stride + group * args.head_dim;
    row.o = args.o + (first_row + r) * args.head_dim;
    int64_t lo = args.window > 0 ? args.pos + token - args.window + 1 - args.span_begin : 0;
    int64_t hi = (args.n_seen > 0 ? args.n_seen : args.pos + token + 1) - args.span_begin;
    row.lo = static_cast<int>(lo < 0 ? 0 : lo > kSpanTokens ? kSpanTokens : lo);
    row.hi = static_cast<int>(hi < 0 ? 0 : hi > kSpanTokens ? kSpanTokens : hi);
    tile.lo_max = row.lo > tile.lo_max ? row.lo : tile.lo_max;
    tile.hi_min = row.hi < tile.hi_min ? row.hi : tile.hi_min;
    if (row.lo >= row.hi) continue;
    tile.lo_min = row.lo < tile.lo_min ? row.lo : tile.lo_min;
    tile.hi_max = row.hi > tile.hi_max ? row.hi : tile.hi_max;
  }
}

// Tiles of up to so many rows ask for the bytes of the next call while they read their own, line for line: memory is
// then busy while they compute, and asked for at once the 1024 lines of an item stall the core (docs/performance.md,
// 2026-11-21). Higher tiles are prefill's, bound by products.
constexpr int kDecodeRows = 4;

// The bytes of an item's blocks, asked for at once: a decode step meets them cold, and a piece of some KiB ends before
// the hardware has seen a stream.
inline void fetch_blocks(const Tile& tile, int64_t block_bytes) {
  for (int t = tile.lo_min / 32 * 32; t < tile.hi_max; t += 32) {
    for (int64_t at = 0; at < block_bytes; at += 64) __builtin_prefetch(tile.args->blocks[t / 32] + at, 0, 2);
  }
}

// Bytes from a block of the item to the one that the next call reads in its place; 0 when there is none.
inline int64_t to_next(const Tile& tile, int t) {
  const AttnSpanArgs& args = *tile.args;
  const uint8_t* next = args.next_blocks == nullptr ? nullptr : args.next_blocks[t / 32];
  return next == nullptr ? 0 : next - args.blocks[t / 32];
}

inline void zero_values(float* out, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) store_n(out + i, set1(0.0f), n - i);
}

// s [256]: dot products of the vectors of [lo, hi); keep(t, p) stores 16 values of p from token t on and gives back
// what enters the sum. Row `index` of the item gets max and sum.
template <class Keep>
void softmax_row(const AttnSpanArgs& args, float* s, int lo, int hi, float factor, int64_t index, const Keep& keep) {
  bool capped = args.softcap > 0;
  Vec f = set1(factor);
  Vec cap = set1(args.softcap * kLog2E);
  Vec most = set1(-kInfinity);
  for (int t = lo / 16 * 16; t < hi; t += 16) {
    Vec x = mul(load(s + t), f);
    if (capped) x = mul(tanh_vec(x), cap);
    if (t < lo || t + 16 > hi) x = select(lanes(lo - t, hi - t), x, set1(-kInfinity));
    store(s + t, x);
    most = max(most, x);
  }
  float row_max = reduce_max(most);
  Vec offset = set1(row_max);
  Vec sum = set1(0.0f);
  for (int t = lo / 16 * 16; t < hi; t += 16) {
    sum = add(sum, keep(t, exp2_vec(sub(load(s + t), offset))));
  }
  args.max[index] = row_max;
  args.sum[index] = reduce_add(sum);
}

constexpr int kMergeVecs = 4;  // a head of 64 in one pass: the weight of a span costs an exp2

// Ascending over the spans that have tokens; the same for both KV types.
inline void attn_merge(const AttnMergeArgs& args) {
  float row_max = -kInfinity;
  for (int64_t i = 0; i < args.n_spans; ++i) {
    float m = args.max[i * args.span_stride];
    row_max = row_max > m ? row_max : m;
  }
  auto weight_of = [&](int64_t i) { return exp2_vec(sub(set1(args.max[i * args.span_stride]), set1(row_max))); };
  Vec total = set1(0.0f);
  for (int64_t i = 0; i < args.n_spans; ++i) {
    if (args.max[i * args.span_stride] == -kInfinity) continue;
    total = fma(weight_of(i), set1(args.sum[i * args.span_stride]), total);
  }
  bool empty = reduce_max(total) == 0.0f;
  for (int64_t d = 0; d < args.head_dim; d += 16 * kMergeVecs) {
    int64_t left = args.head_dim - d;
    Regs<Vec, kMergeVecs> acc;
    unroll<kMergeVecs>([&](auto j) __attribute__((always_inline)) { acc[j] = set1(0.0f); });
    for (int64_t i = 0; i < args.n_spans; ++i) {
      if (args.max[i * args.span_stride] == -kInfinity) continue;
      Vec weight = weight_of(i);
      const float* o = args.o + i * args.span_stride * args.head_dim + d;
      unroll<kMergeVecs>([&](auto j) __attribute__((always_inline)) {
        acc[j] = fma(weight, load_n(o + 16 * j, left - 16 * j), acc[j]);
      });
    }
    unroll<kMergeVecs>([&](auto j) __attribute__((always_inline)) {
      store_n(args.out + d + 16 * j, empty ? set1(0.0f) : div(acc[j], total), left - 16 * j);
    });
  }
}

// Runs one item as tiles of at most kTileRows rows; a rest is cut into parts of equal size (8 = 4 + 4 where 6 is the
// most).
template <template <int> class Kernel>
void for_tiles(const AttnSpanArgs& args) {
  int left = args.n_tokens * args.n_group;
  int first = 0;
  while (left > 0) {
    int n_tiles = (left + kTileRows - 1) / kTileRows;
    int rows = (left + n_tiles - 1) / n_tiles;
    switch (rows) {
      case 1:
        Kernel<1>::run(args, first);
        break;
      case 2:
        Kernel<2>::run(args, first);
        break;
      case 3:
        Kernel<3>::run(args, first);
        break;
      case 4:
        Kernel<4>::run(args, first);
        break;
      case 5:
        Kernel<(kTileRows >= 5 ? 5 : 1)>::run(args, first);
        break;
      default:
        Kernel<(kTileRows >= 6 ? 6 : 1)>::run(args, first);
        break;
    }
    first += rows;
    left -= rows;
  }
}

constexpr int greatest_power_of_two(int n) { return n < 2 ? 1 : 2 * greatest_power_of_two(n / 2); }
// Vectors per tile of R rows: a power of two, at most 8.
constexpr int vecs_for(int rows) {
  int n = greatest_power_of_two(kTileVecs / rows > 0 ? kTileVecs / rows : 1);
  return n > 8 ? 8 : n;
}
