// Columns in pieces and rows in slabs, as in mlp.cc, so that what up gives is still in L2 when the activation reads it.
#include "layers/feed_forward.h"

#include <algorithm>

namespace millrace::layers {
namespace {

constexpr int64_t kPieceColumns = 256;                // the largest quantisation group
constexpr int64_t kPieceStride = kPieceColumns + 16;  // no power of two: see mlp.cc
constexpr int64_t kSlabRows = 132;                    // 22 row tiles of 6, see mlp.cc

}  // namespace

int64_t FeedForward::own_bytes(int64_t n_rows) {
  return std::min(n_rows, kSlabRows) * kPieceStride * static_cast<int64_t>(sizeof(float));
}

void FeedForward::expand(Ctx& ctx, const ActSet& input, int64_t n_rows, const ActSet& inner) const {
  size_t mark = ctx.own.mark();
  auto* piece = ctx.own.take<float>(static_cast<size_t>(std::min(n_rows, kSlabRows) * kPieceStride));
  int64_t group = act_columns(inner.mask);
  ctx.team.for_units(ceil_div(d_ff, group), 1, [&](int64_t begin, int64_t end) {
    int64_t last = std::min(end * group, d_ff);
    for (int64_t col = begin * group; col < last; col += kPieceColumns) {
      int64_t n_cols = std::min(kPieceColumns, last - col);
      int64_t panel = col / kernels::kPanelRows;
      device::Range panels{panel, panel + ceil_div(n_cols, kernels::kPanelRows)};
      for (int64_t slab = 0; slab < n_rows; slab += kSlabRows) {
        device::Range rows{slab, std::min(slab + kSlabRows, n_rows)};
        up.multiply(ctx, input, rows, panels, {piece, kPieceStride, panel, false});
        for (int64_t row = rows.begin; row < rows.end; ++row) {
          float* values = piece + (row - slab) * kPieceStride;
          ctx.k.add(values, up_bias + col, n_cols);
          ctx.k.gelu(values, values, n_cols);
          quantize_window(ctx.k, inner, row, col, n_cols, values);
        }
      }
    }
  });
  ctx.own.rewind(mark);
}

}  // namespace millrace::layers
