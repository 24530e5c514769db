// Form G on tiles: the integer sums of 32 x 32 outputs over one group come from Tiles, the chain in f32 follows as in
// generic/gemm.inl.h: the same operations in the same order for each output, so the same bits
// (docs/contracts/arithmetic.md). Below kLeastRows the kernels of avx512vnni run: a tile would be mostly empty.
//  1. A panel is unpacked to u8 once for kSlice values of k and used by all rows; partial chains wait in `acc`.
//  2. C starts at zero and the offset -z sum(qa) is added to it as an integer, which is exact in either order.
// Not run on hardware yet: its speed, and with it kLeastRows, are estimates (CPU_KERNELS section 7). Thread: any.
#pragma once
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC bug 105593: undefined operands of its own intrinsics

#include <cstddef>

#include "kernels/cpu/amx/tiles.h"
#include "kernels/cpu/avx512vnni/fill.h"
#include "kernels/cpu/avx512vnni/gemm_simd.h"
#include "kernels/cpu/generic/sources.inl.h"
#include "kernels/ops.h"

namespace millrace::kernels::amx {
namespace {

using avx512vnni::GemmSimd;

constexpr int64_t kLeastRows = 8;                    // CPU_KERNELS section 7
constexpr int64_t kSliceGroups = 24;                 // unpacked: 24 KiB, half of an L1 of 48 KiB
constexpr int64_t kGroupBytes = kTileK * kTileRows;  // u8 of a group of a panel
constexpr int64_t kSlabRows = 256;                   // chains: 32 KiB

struct Slice {
  alignas(64) uint8_t quants[size_t{kSliceGroups * kGroupBytes}];  // [group][8 dwords][32 outputs][4]
  alignas(64) float dw[size_t{kSliceGroups * kTileRows}];          // [group][32 outputs]
  alignas(64) float mw[size_t{kSliceGroups * kTileRows}];
};

template <class W>
void unpack(Slice& slice, const uint8_t* panel, int64_t first_group, int64_t n_groups) {
  for (int64_t i = 0; i < n_groups; ++i) {
    int64_t g = first_group + i;
    const uint8_t* cell = panel + g / W::kCellGroups * W::kCellBytes;
    int64_t sub = g % W::kCellGroups;
    for (int lane = 0; lane < kPanelRows; lane += GemmSimd::kLanes) {
      generic::unroll<8>([&](auto dword) __attribute__((always_inline)) {
        _mm512_store_si512(slice.quants + i * kGroupBytes + dword * kWeightRow + lane * 4,
                           W::quants(cell, sub, dword, lane));
      });
      GemmSimd::store(slice.dw + i * kTileRows + lane, W::scale(cell, sub, lane));
      if constexpr (W::kMins) GemmSimd::store(slice.mw + i * kTileRows + lane, W::min(cell, sub, lane));
    }
  }
}

// Rows [row, row + n_rows), at most 32, of the slice's groups: acc [32 rows][32 outputs] goes on.
template <class Tiles, class W>
void add_slice(Tiles& tiles, float* acc, const GemmArgs& args, const Slice& slice, int64_t row, int64_t n_rows,
               int64_t first_group, int64_t n_groups) {
  alignas(64) int32_t c[size_t{kTileRows * kTileRows}];
  alignas(64) int8_t last[size_t{kTileRows * kTileK}] = {};
  const int64_t k_groups = args.k / kTileK;
  const auto* a = static_cast<const int8_t*>(args.act.data) + row * args.k;
  for (int64_t i = 0; i < n_groups; ++i) {
    int64_t g = first_group + i;
    const int8_t* rows = a + g * kTileK;
    int64_t stride = args.k;
    if (n_rows < kTileRows) {  // a tile reads 32 rows: those that are not there are zero
      for (int64_t m = 0; m < n_rows; ++m) __builtin_memcpy(last + m * kTileK, rows + m * args.k, size_t{kTileK});
      rows = last;
      stride = kTileK;
    }
    tiles.multiply(c, rows, stride, slice.quants + i * kGroupBytes);
    for (int64_t m = 0; m < n_rows; ++m) {
      int64_t at = (row + m) * k_groups + g;
      __m512 da = GemmSimd::set(args.act.d[at]);
      __m512i start = GemmSimd::zero_i32();
      if constexpr (W::kZeroShift >= 0) start = GemmSimd::set_i32(-(args.act.sum[at] * (1 << W::kZeroShift)));
      for (int lane = 0; lane < kPanelRows; lane += GemmSimd::kLanes) {
        __m512i isum = GemmSimd::add(GemmSimd::load_i32(c + m * kTileRows + lane), start);
        __m512 dw = GemmSimd::load(slice.dw + i * kTileRows + lane);
        float* chain = acc + m * kTileRows + lane;
        __m512 x = GemmSimd::fma(GemmSimd::to_f32(isum), GemmSimd::mul(dw, da), GemmSimd::load(chain));
        if constexpr (W::kMins) {
          x = GemmSimd::fma(GemmSimd::load(slice.mw + i * kTileRows + lane), GemmSimd::set(args.act.s[at]), x);
        }
        GemmSimd::store(chain, x);
      }
    }
  }
}

void store_rows(const GemmArgs& args, const float* acc, int64_t row, int64_t n_rows, int64_t n0) {
  for (int64_t m = 0; m < n_rows; ++m) {
    float* out = args.out + (row + m) * args.out_stride + n0;
    for (int lane = 0; lane < kPanelRows; lane += GemmSimd::kLanes) {
      int64_t left = args.n - n0 - lane;
      if (left <= 0) break;
      int n = left < GemmSimd::kLanes ? static_cast<int>(left) : GemmSimd::kLanes;
      __m512 x = GemmSimd::load(acc + m * kTileRows + lane);
      if (args.add) x = GemmSimd::add_f32(GemmSimd::load_first(out + lane, n), x);
      GemmSimd::store_first(out + lane, x, n);
    }
  }
}

template <class Tiles, class W, tensor::Format kFormat>
struct GemmTiles {
  static void run(const GemmArgs& args) {
    if (args.row_end - args.row_begin < kLeastRows) {
      return avx512vnni::table().gemm[static_cast<int>(kFormat)](args);
    }
    const int64_t k_groups = args.k / kTileK;
    const int64_t panel_bytes = k_groups / W::kCellGroups * W::kCellBytes;
    Tiles tiles;
    Slice slice;
    alignas(64) float acc[size_t{kSlabRows * kTileRows}];
    for (int64_t begin = args.row_begin; begin < args.row_end; begin += kSlabRows) {
      int64_t end = begin + kSlabRows < args.row_end ? begin + kSlabRows : args.row_end;
      for (int64_t p = args.panel_begin; p < args.panel_end; ++p) {
        for (int64_t i = 0; i < (end - begin) * kTileRows; ++i) acc[i] = 0.0f;
        for (int64_t g = 0; g < k_groups; g += kSliceGroups) {
          int64_t n_groups = k_groups - g < kSliceGroups ? k_groups - g : kSliceGroups;
          unpack<W>(slice, args.panels + p * panel_bytes, g, n_groups);
          for (int64_t row = begin; row < end; row += kTileRows) {
            int64_t n_rows = end - row < kTileRows ? end - row : kTileRows;
            add_slice<Tiles, W>(tiles, acc + (row - begin) * kTileRows, args, slice, row, n_rows, g, n_groups);
          }
        }
        for (int64_t row = begin; row < end; row += kTileRows) {
          int64_t n_rows = end - row < kTileRows ? end - row : kTileRows;
          store_rows(args, acc + (row - begin) * kTileRows, row, n_rows, p * kPanelRows);
        }
      }
    }
  }
};

template <class Tiles, class W, tensor::Format kFormat>
void set_tiles(KernelTable& table) {
  table.gemm[static_cast<int>(kFormat)] = GemmTiles<Tiles, W, kFormat>::run;
}

template <class Tiles>
void fill_tiles(KernelTable& table) {
  using tensor::Format;
  set_tiles<Tiles, generic::Nibbles<GemmSimd, false>, Format::kQ4_0>(table);
  set_tiles<Tiles, generic::Nibbles<GemmSimd, true>, Format::kQ4_1>(table);
  set_tiles<Tiles, generic::Fives<GemmSimd, false>, Format::kQ5_0>(table);
  set_tiles<Tiles, generic::Fives<GemmSimd, true>, Format::kQ5_1>(table);
  set_tiles<Tiles, generic::Q8_0<GemmSimd>, Format::kQ8_0>(table);
  set_tiles<Tiles, generic::ScaleMins<GemmSimd, false>, Format::kQ4_K>(table);
  set_tiles<Tiles, generic::ScaleMins<GemmSimd, true>, Format::kQ5_K>(table);
  set_tiles<Tiles, generic::Iq4Nl<GemmSimd>, Format::kIQ4_NL>(table);
  set_tiles<Tiles, generic::Iq4Xs<GemmSimd>, Format::kIQ4_XS>(table);
}

}  // namespace
}  // namespace millrace::kernels::amx
