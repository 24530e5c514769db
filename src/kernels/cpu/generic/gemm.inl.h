// GEMM over packed panels, once for all vector types S and weight sources. Lanes are output rows; every output is one
// chain in ascending k, so the row tiling below never changes a bit (docs/contracts/arithmetic.md, forms G, S and F).
//  1. A tile is up to S::kMaxRows activation rows x S::kVecs vectors of outputs; its sums stay in registers over all k.
//  2. Quants are decoded in registers, so weights are read from memory once per tile and never expanded there.
//  3. Panels are the outer loop inside a slab of rows that fits in L2, rows the inner: a panel stays in L1 or L2.
// Thread: any; a call touches only its own rows and panels of out.
#pragma once

#include <cstddef>
#include <type_traits>

#include "kernels/cpu/generic/ready.inl.h"
#include "kernels/cpu/generic/sources.inl.h"
#include "kernels/ops.h"

namespace millrace::kernels::generic {

// Activation bytes of a slab: half of a 1 MiB L2, the rest is for panels (CPU_KERNELS section 6).
constexpr int64_t kSlabBytes = 512 * 1024;
// Rows of a slab whose panels are made ready in slices of k: whole tiles of any height, their sums 33 KiB of stack.
constexpr int64_t kSlicedRows = 264;
constexpr int64_t kLineBytes = 64;

// One tile: activation rows [row, row + kRows) against lanes [lane, lane + kVecs * kLanes) of one panel.
struct GemmTile {
  const GemmArgs* args;
  const uint8_t* panel;
  int64_t row;
  int lane;
  float* out;   // out[row, first output of the tile]
  int n_lanes;  // valid outputs of the tile
  // What to ask for from L2's point of view while a cell is worked on: n_fetch lines at fetch, then the same one cell
  // further. The tiles of a panel share the lines of the next one: hardware follows a panel only once it is read.
  const uint8_t* fetch;
  int n_fetch;
  bool is_stream;  // the only tile of its panel: weights come from memory as it reads them
  // Forms G and S: the part of k that the tile works on, which begins at `panel`. Chains are taken up from sums unless
  // it begins at 0, and left there unless it ends with k. Lane l of row r at sums[kPanelRows r + l].
  int64_t k_begin;
  int64_t k_end;
  float* sums;
};

// Registers of a tile.
template <class S, int kRows>
using GridF = typename S::F32[static_cast<size_t>(kRows)][static_cast<size_t>(S::kVecs)];
template <class S, int kRows>
using GridI = typename S::I32[static_cast<size_t>(kRows)][static_cast<size_t>(S::kVecs)];
template <class S>
using LaneF = typename S::F32[static_cast<size_t>(S::kVecs)];

// Whole tiles, nearly all of them, without a branch for each vector.
template <class S, int kRows>
[[gnu::always_inline]] inline void store_tile(const GemmTile& tile, const GridF<S, kRows>& acc) {
  const bool add = tile.args->add;
  auto put = [&](const auto& one) __attribute__((always_inline)) {
    unroll<kRows>([&](auto row) __attribute__((always_inline)) {
      float* out = tile.out + row * tile.args->out_stride;
      unroll<S::kVecs>([&](auto v)
                           __attribute__((always_inline)) { one(out + v * S::kLanes, acc[row][v], v * S::kLanes); });
    });
  };
  if (tile.n_lanes >= S::kVecs * S::kLanes) {
    if (add) {
      put([](float* out, auto x, int) __attribute__((always_inline)) { S::store(out, S::add_f32(S::load(out), x)); });
    } else {
      put([](float* out, auto x, int) __attribute__((always_inline)) { S::store(out, x); });
    }
    return;
  }
  put([&](float* out, auto x, int lane) __attribute__((always_inline)) {
    int n = tile.n_lanes - lane < S::kLanes ? tile.n_lanes - lane : S::kLanes;
    if (n > 0) S::store_first(out, add ? S::add_f32(S::load_first(out, n), x) : x, n);
  });
}

template <class S, int kRows>
[[gnu::always_inline]] inline void open_chains(const GemmTile& tile, GridF<S, kRows>& acc) {
  auto open = [&](const auto& one) __attribute__((always_inline)) {
    unroll<kRows>([&](auto row) __attribute__((always_inline)) {
      unroll<S::kVecs>([&](auto v)
                           __attribute__((always_inline)) { acc[row][v] = one(row * kPanelRows + v * S::kLanes); });
    });
  };
  if (tile.k_begin == 0) {
    open([](int) __attribute__((always_inline)) { return S::zero(); });
  } else {
    open([&](int at) __attribute__((always_inline)) { return S::load(tile.sums + at); });
  }
}
template <class S, int kRows>
[[gnu::always_inline]] inline void close_chains(const GemmTile& tile, const GridF<S, kRows>& acc) {
  if (tile.k_end == tile.args->k) return store_tile<S, kRows>(tile, acc);
  unroll<kRows>([&](auto row) __attribute__((always_inline)) {
    unroll<S::kVecs>([&](auto v) __attribute__((always_inline)) {
      S::store(tile.sums + row * kPanelRows + v * S::kLanes, acc[row][v]);
    });
  });
}

// Asks for the outputs of a tile while its products are made: rows of a residual stream lie a matrix row apart and
// beyond L2: 12 misses at the end of a tile.
template <class S, int kRows>
[[gnu::always_inline]] inline void fetch_outputs(const GemmTile& tile) {
  unroll<kRows>([&](auto row) __attribute__((always_inline)) {
    for (int lane = 0; lane < S::kVecs * S::kLanes; lane += 16) {
      __builtin_prefetch(tile.out + row * tile.args->out_stride + lane, 1, 3);
    }
  });
}

[[gnu::always_inline]] inline void fetch_lines(const GemmTile& tile, int64_t offset) {
  for (int i = 0; i < tile.n_fetch; ++i) __builtin_prefetch(tile.fetch + offset + i * kLineBytes, 0, 2);
}

// Bytes between what the only tile of a panel reads and what it asks for. Best of 2 to 16 KiB for weights that come
// from memory (docs/performance.md, 2026-11-22). A cell of 256 values is longer than a page and its scales lie behind
// its quants: hardware loses the stream at each of them.
constexpr int64_t kStreamGroup = 3 * 1024;  // formats of 32 values
constexpr int64_t kStreamCellG = 6 * 1024;  // form G, cells of 256 values
constexpr int64_t kStreamCellS = 8 * 1024;  // form S

// Part i of n of a cell's lines, kDistance ahead. Where a tile takes all rows of a panel, a line is read once and need
// not go to L2.
template <class S, class W, int64_t kDistance, int kParts>
[[gnu::always_inline]] inline void fetch_stream(const GemmTile& tile, const uint8_t* cell, int64_t i) {
  if (!tile.is_stream) return;
  constexpr int64_t kPart = (W::kCellBytes / kParts + kLineBytes - 1) / kLineBytes * kLineBytes;
  constexpr int kLocality = S::kVecs * S::kLanes == kPanelRows ? 0 : 3;
  const uint8_t* from = cell + kDistance + i * kPart;
  for (int64_t at = 0; at < kPart; at += kLineBytes) __builtin_prefetch(from + at, 0, kLocality);
}

// 8 lines for each 32 values of k: at 6 rows x 32 outputs that is 512 bytes in some 130 cycles, less than what one
// core of the machine of docs/performance.md gets from memory (14.5 of 17 to 22 GB/s).
constexpr int64_t kAheadBytes = 8 * kLineBytes;

[[gnu::always_inline]] inline void fetch_ahead(Ahead* ahead) {
  if (ahead == nullptr || ahead->n_left == 0) return;
  const uint8_t* from = *ahead->pieces + ahead->at;
  unroll<8>([&](auto i) __attribute__((always_inline)) { __builtin_prefetch(from + i * kLineBytes, 0, 2); });
  ahead->at += kAheadBytes;
  if (ahead->at < ahead->piece_bytes) return;
  ahead->at = 0;
  ++ahead->pieces;
  --ahead->n_left;
}

// Form G: acc = fma(float(isum), dw * da, acc), then acc = fma(mw, sa, acc) where the format has mins.
template <class S, class W, int kRows>
struct TileG {
  static void run(const GemmTile& tile) {
    using I32 = typename S::I32;
    using F32 = typename S::F32;
    const ActRows& act = tile.args->act;
    const int64_t n_groups = tile.args->k / 32;
    const int64_t end = tile.k_end / 32;
    const int8_t* a = static_cast<const int8_t*>(act.data) + tile.row * n_groups * 32;
    const int64_t first = tile.row * n_groups;
    Ahead* ahead = tile.args->ahead;
    if constexpr (kRows > 1) fetch_outputs<S, kRows>(tile);
    GridF<S, kRows> acc;
    open_chains<S, kRows>(tile, acc);
    int64_t g = tile.k_begin / 32;
    for (const uint8_t* cell = tile.panel; g < end; cell += W::kCellBytes) {
      fetch_lines(tile, cell - tile.panel);
      for (int64_t sub = 0; sub < W::kCellGroups; ++sub, ++g) {
        if constexpr (kRows > 1) fetch_ahead(ahead);
        if constexpr (W::kCellGroups > 1) {
          fetch_stream<S, W, kStreamCellG, 8>(tile, cell, sub);
        } else if constexpr (kRows == 1) {
          fetch_stream<S, W, kStreamGroup, 1>(tile, cell, 0);
        }
        GridI<S, kRows> isum;
        unroll<kRows>([&](auto row) __attribute__((always_inline)) {
          I32 start = S::zero_i32();
          if constexpr (W::kZeroShift >= 0) {
            start = S::set_i32(-(act.sum[first + row * n_groups + g] * (1 << W::kZeroShift)));
          }
          unroll<S::kVecs>([&](auto v) __attribute__((always_inline)) { isum[row][v] = start; });
        });
        S::template dot<W::kBits, 8, kRows>(
            isum, a + 32 * g, n_groups * 32, [&](int dword, int v) __attribute__((always_inline)) {
              return W::quants(cell, sub, dword, tile.lane + v * S::kLanes);
            });
        LaneF<S> dw;
        LaneF<S> mw;
        unroll<S::kVecs>([&](auto v) __attribute__((always_inline)) {
          const int lane = tile.lane + v * S::kLanes;
          dw[v] = W::scale(cell, sub, lane);
          if constexpr (W::kMins) mw[v] = W::min(cell, sub, lane);
        });
        unroll<kRows>([&](auto row) __attribute__((always_inline)) {
          F32 da = S::set(act.d[first + row * n_groups + g]);
          unroll<S::kVecs>([&](auto v) __attribute__((always_inline)) {
            acc[row][v] = S::fma(S::to_f32(isum[row][v]), S::mul(dw[v], da), acc[row][v]);
            if constexpr (W::kMins) {
              acc[row][v] = S::fma(mw[v], S::set(act.s[first + row * n_groups + g]), acc[row][v]);
            }
          });
        });
      }
    }
    close_chains<S, kRows>(tile, acc);
  }
};

// Form S, one cell of 256 values: isum = sum_j sc[j] * isum16[j], exact.
template <class S, class W, int kRows>
[[gnu::always_inline]] inline void sum_cell(GridI<S, kRows>& isum, const GemmTile& tile, const uint8_t* cell,
                                            int64_t i_cell) {
  using I32 = typename S::I32;
  const int64_t k = tile.args->k;
  const int8_t* a = static_cast<const int8_t*>(tile.args->act.data) + tile.row * k + i_cell * 256;
  const int32_t* sum = tile.args->act.sum + tile.row * (k / 16) + i_cell * 16;
  for (int64_t g = 0; g < 8; ++g) {
    fetch_stream<S, W, kStreamCellS, 8>(tile, cell, g);
    unroll<2>([&](auto half) __attribute__((always_inline)) {
      const int64_t j = 2 * g + half;
      GridI<S, kRows> part;
      unroll<kRows>([&](auto row) __attribute__((always_inline)) {
        I32 start = S::zero_i32();
        if constexpr (W::kZeroShift >= 0) start = S::set_i32(-(sum[row * (k / 16) + j] * (1 << W::kZeroShift)));
        unroll<S::kVecs>([&](auto v) __attribute__((always_inline)) { part[row][v] = start; });
      });
      S::template dot<W::kBits, 4, kRows>(
          part, a + 16 * j, k, [&](int dword, int v) __attribute__((always_inline)) {
            return W::quants(cell, g, half * 4 + dword, tile.lane + v * S::kLanes);
          });
      unroll<S::kVecs>([&](auto v) __attribute__((always_inline)) {
        I32 sc = W::sub_scale(cell, j, tile.lane + v * S::kLanes);
        unroll<kRows>([&](auto row) __attribute__((always_inline)) {
          isum[row][v] = settled(S::add(isum[row][v], S::mul_i32(part[row][v], sc)));
        });
      });
    });
  }
}

// The same from quants that are multiplied by their sub-scales already, plus kProductOffset.
template <class S, class W, int kRows>
[[gnu::always_inline]] inline void sum_scaled_cell(GridI<S, kRows>& isum, const GemmTile& tile, const uint8_t* cell,
                                                   int64_t i_cell) {
  const int64_t k = tile.args->k;
  const int8_t* a = static_cast<const int8_t*>(tile.args->act.data) + tile.row * k + i_cell * 256;
  const int32_t* sum = tile.args->act.sum + tile.row * (k / 16) + i_cell * 16;
  if constexpr (W::kProductOffset > 0) {
    unroll<kRows>([&](auto row) __attribute__((always_inline)) {
      int32_t total = 0;
      unroll<16>([&](auto j) __attribute__((always_inline)) { total += sum[row * (k / 16) + j]; });
      unroll<S::kVecs>([&](auto v)
                           __attribute__((always_inline)) { isum[row][v] = S::set_i32(-W::kProductOffset * total); });
    });
  }
  for (int64_t g = 0; g < 8; ++g) {
    S::template dot<W::kBits, 8, kRows>(
        isum, a + 32 * g, k, [&](int dword, int v) __attribute__((always_inline)) {
          return W::quants(cell, g, dword, tile.lane + v * S::kLanes);
        });
  }
}

// imin = sum_j mn[j] * sum16[j], exact: two j at a time, both factors in 16 bits (|sum16| <= 16 * 127).
template <class S, class W, int kRows>
[[gnu::always_inline]] inline void sum_mins(GridI<S, kRows>& imin, const GemmTile& tile, const uint8_t* cell,
                                            int64_t i_cell) {
  const int64_t n_sums = tile.args->k / 16;
  const int32_t* sum = tile.args->act.sum + tile.row * n_sums + i_cell * 16;
  for (int64_t g = 0; g < 8; ++g) {
    typename S::I32 mins[static_cast<size_t>(S::kVecs)];
    unroll<S::kVecs>([&](auto v)
                         __attribute__((always_inline)) { mins[v] = W::min_pair(cell, g, tile.lane + v * S::kLanes); });
    unroll<kRows>([&](auto row) __attribute__((always_inline)) {
      const int32_t* two = sum + row * n_sums + 2 * g;
      auto pair = S::set_i32((two[0] & 0xFFFF) | static_cast<int32_t>(static_cast<uint32_t>(two[1]) << 16));
      unroll<S::kVecs>([&](auto v) __attribute__((always_inline)) {
        imin[row][v] = S::add_pairs_i16(imin[row][v], mins[v], pair);
      });
    });
  }
}

// Form S: acc = fma(float(isum), d * da, acc), then acc = fma(float(imin), -dmin * da, acc) where the format has mins.
template <class S, class W, int kRows>
struct TileS {
  static void run(const GemmTile& tile) {
    using F32 = typename S::F32;
    const int64_t n_cells = tile.args->k / 256;
    GridF<S, kRows> acc;
    open_chains<S, kRows>(tile, acc);
    const uint8_t* cell = tile.panel;
    for (int64_t i = tile.k_begin / 256; i < tile.k_end / 256; ++i, cell += W::kCellBytes) {
      fetch_lines(tile, cell - tile.panel);
      for (int g = 0; kRows > 1 && g < 8; ++g) fetch_ahead(tile.args->ahead);
      auto add_sums = [&](const GridI<S, kRows>& sums, auto scale) __attribute__((always_inline)) {
        unroll<S::kVecs>([&](auto v) __attribute__((always_inline)) {
          F32 dw = scale(tile.lane + v * S::kLanes);
          unroll<kRows>([&](auto row) __attribute__((always_inline)) {
            F32 da = S::set(tile.args->act.d[(tile.row + row) * n_cells + i]);
            acc[row][v] = S::fma(S::to_f32(sums[row][v]), S::mul(dw, da), acc[row][v]);
          });
        });
      };
      GridI<S, kRows> sums = {};
      if constexpr (W::kScaled) {
        sum_scaled_cell<S, W, kRows>(sums, tile, cell, i);
      } else {
        sum_cell<S, W, kRows>(sums, tile, cell, i);
      }
      add_sums(
          sums, [&](int lane) __attribute__((always_inline)) { return W::scale(cell, lane); });
      if constexpr (W::kMins) {
        GridI<S, kRows> mins = {};
        sum_mins<S, W, kRows>(mins, tile, cell, i);
        add_sums(
            mins, [&](int lane) __attribute__((always_inline)) { return W::min(cell, lane); });
      }
    }
    close_chains<S, kRows>(tile, acc);
  }
};

// Float weights: value j < kStep of a cell, for the lanes from `lane` on.
template <class S>
struct F32Weights {
  static constexpr int kStep = 1;
  [[gnu::always_inline]] static typename S::F32 value(const uint8_t* cell, int, int lane) {
    return S::load(reinterpret_cast<const float*>(cell) + lane);
  }
};
template <class S>
struct F16Weights {
  static constexpr int kStep = 2;
  [[gnu::always_inline]] static typename S::F32 value(const uint8_t* cell, int j, int lane) {
    return S::f16_of_pair(cell + lane * 4, j != 0);
  }
};
template <class S>
struct Bf16Weights {
  static constexpr int kStep = 2;
  [[gnu::always_inline]] static typename S::F32 value(const uint8_t* cell, int j, int lane) {
    return S::bf16_of_pair(cell + lane * 4, j != 0);
  }
};

// One value of k of form F; a points at its activation in the first row of the tile.
template <class S, class W, int kRows>
[[gnu::always_inline]] inline void add_value(GridF<S, kRows>& acc, const uint8_t* cell, int j, int lane, const float* a,
                                             int64_t a_stride) {
  LaneF<S> w;
  unroll<S::kVecs>([&](auto v) __attribute__((always_inline)) { w[v] = W::value(cell, j, lane + v * S::kLanes); });
  unroll<kRows>([&](auto row) __attribute__((always_inline)) {
    typename S::F32 x = S::set(a[row * a_stride]);
    unroll<S::kVecs>([&](auto v) __attribute__((always_inline)) { acc[row][v] = S::fma(w[v], x, acc[row][v]); });
  });
}

// Form F: acc = fma(w, a, acc).
template <class S, class W, int kRows>
struct TileF {
  static void run(const GemmTile& tile) {
    const int64_t k = tile.args->k;
    const int64_t k_pad = (k + 31) / 32 * 32;
    const float* a = static_cast<const float*>(tile.args->act.data) + tile.row * k_pad;
    GridF<S, kRows> acc;
    unroll<kRows>([&](auto row) __attribute__((always_inline)) {
      unroll<S::kVecs>([&](auto v) __attribute__((always_inline)) { acc[row][v] = S::zero(); });
    });
    const uint8_t* cell = tile.panel;
    int64_t i = 0;
    for (; i + W::kStep <= k; i += W::kStep, cell += 128) {
      unroll<W::kStep>([&](auto j) __attribute__((always_inline)) {
        add_value<S, W, kRows>(acc, cell, j, tile.lane, a + i + j, k_pad);
      });
    }
    if (i < k) add_value<S, W, kRows>(acc, cell, 0, tile.lane, a + i, k_pad);
    store_tile<S, kRows>(tile, acc);
  }
};

// Tile by its number of rows.
template <class S, class W, template <class, class, int> class Tile>
[[gnu::always_inline]] inline void run_rows(int n_rows, const GemmTile& tile) {
  unroll<S::kMaxRows>([&](auto i) __attribute__((always_inline)) {
    if (n_rows == i + 1) Tile<S, W, decltype(i){} + 1>::run(tile);
  });
}

// Rows [begin, end) of one panel, in tiles of nearly equal height: 8 = 4 + 4, 7 = 4 + 3.
template <class S, class W, template <class, class, int> class Tile>
[[gnu::always_inline]] inline void run_panel(GemmTile tile, int64_t begin, int64_t end, int64_t n0) {
  int64_t n_tiles = (end - begin + S::kMaxRows - 1) / S::kMaxRows;
  const uint8_t* next = tile.fetch;
  int64_t cell_lines = tile.n_fetch;
  float* sums = tile.sums;
  for (int64_t i = 0; i < n_tiles; ++i) {
    tile.fetch = next + cell_lines * i / n_tiles * kLineBytes;
    tile.n_fetch = static_cast<int>(cell_lines * (i + 1) / n_tiles - cell_lines * i / n_tiles);
    tile.row = begin + (end - begin) * i / n_tiles;
    int64_t next = begin + (end - begin) * (i + 1) / n_tiles;
    for (tile.lane = 0; tile.lane < kPanelRows; tile.lane += S::kVecs * S::kLanes) {
      int64_t n_left = tile.args->n - n0 - tile.lane;
      if (n_left <= 0) break;
      tile.n_lanes = n_left < kPanelRows ? static_cast<int>(n_left) : kPanelRows;
      tile.out = tile.args->out + tile.row * tile.args->out_stride + n0 + tile.lane;
      if (sums != nullptr) tile.sums = sums + (tile.row - begin) * kPanelRows + tile.lane;
      run_rows<S, W, Tile>(static_cast<int>(next - tile.row), tile);
    }
  }
}

// kCellValues values of k take kCellBytes of a panel; kActBytes bytes per activation value.
template <class S, class W, template <class, class, int> class Tile, int kCellValues, int64_t kCellBytes, int kActBytes>
struct GemmOf {
  static void run(const GemmArgs& args) {
    using OneRow = typename S::OneRow;
    if constexpr (!std::is_same_v<OneRow, S> && !requires { W::kSliceValues; }) {
      if (args.row_end - args.row_begin == 1)
        return GemmOf<OneRow, W, Tile, kCellValues, kCellBytes, kActBytes>::run(args);
    }
    const int64_t panel_bytes = (args.k + kCellValues - 1) / kCellValues * kCellBytes;
    int64_t slab = kSlabBytes / (args.k * kActBytes + 1) / S::kMaxRows * S::kMaxRows;
    if constexpr (requires { W::kSliceValues; }) {
      if (args.k > W::kSliceValues) slab = kSlicedRows;
    }
    if (slab < S::kMaxRows) slab = S::kMaxRows;
    for (int64_t begin = args.row_begin; begin < args.row_end; begin += slab) {
      int64_t end = begin + slab < args.row_end ? begin + slab : args.row_end;
      for (int64_t p = args.panel_begin; p < args.panel_end; ++p) {
        GemmTile tile{};
        tile.args = &args;
        tile.panel = args.panels + p * panel_bytes;
        tile.fetch = tile.panel + panel_bytes;
        tile.is_stream = end - begin <= S::kMaxRows;
        tile.k_end = args.k;
        bool has_next = p + 1 < args.panel_end && !tile.is_stream;
        tile.n_fetch = has_next ? static_cast<int>(kCellBytes / kLineBytes) : 0;
        if constexpr (requires { W::kSliceValues; }) {
          alignas(64) uint8_t ready[size_t{W::kSliceBytes}];
          alignas(64) float sums[size_t{kSlicedRows * kPanelRows}];
          const uint8_t* panel = tile.panel;
          tile.panel = ready;
          tile.sums = sums;
          tile.n_fetch = 0;  // fill reads the next slice in one go
          for (; tile.k_begin < args.k; tile.k_begin = tile.k_end) {
            tile.k_end = tile.k_begin + W::kSliceValues < args.k ? tile.k_begin + W::kSliceValues : args.k;
            W::fill(ready, panel + tile.k_begin / kCellValues * kCellBytes, tile.k_end - tile.k_begin);
            run_panel<S, W, Tile>(tile, begin, end, p * kPanelRows);
          }
        } else {
          run_panel<S, W, Tile>(tile, begin, end, p * kPanelRows);
        }
      }
    }
  }
};

template <class S, class W, template <class, class, int> class Tile>
using GemmDirect = GemmOf<S, W, Tile, W::kCellValues, W::kCellBytes, 1>;

// Panels are made ready from 3 full tiles on: making one costs about what unpacking it in a tile costs.
template <class S, class W, class R, template <class, class, int> class Tile>
struct GemmReady {
  static void run(const GemmArgs& args) {
    if (args.row_end - args.row_begin >= 3 * S::kMaxRows) {
      GemmOf<S, R, Tile, W::kCellValues, W::kCellBytes, 1>::run(args);
    } else {
      GemmDirect<S, W, Tile>::run(args);
    }
  }
};
template <class S, class W>
using GemmF = GemmOf<S, W, TileF, W::kStep, 128, 4>;

}  // namespace millrace::kernels::generic
