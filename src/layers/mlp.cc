// The feed-forward block. Columns are worked on in pieces of kPieceColumns and rows in slabs of kSlabRows, so that what
// gate and up give is still in L2 when the activation reads it.
#include "layers/mlp.h"

#include <algorithm>

namespace millrace::layers {
namespace {

// The largest quantisation group, so a piece never splits one.
constexpr int64_t kPieceColumns = 256;
// Floats between rows of gate's and up's outputs: one cache line more than a power of two, or 32 rows fall on 4 sets of
// L1 and drive the panel out of them.
constexpr int64_t kPieceStride = kPieceColumns + 16;
// 22 row tiles of 6. Outputs of gate and up 2 x 132 x 256 x 4 B = 264 KiB, input rows and 2 x 8 panels beside them:
// half of an L2 of 1 MiB at d_model 576. 512 rows at once spilt to L3 (docs/performance.md, 2026-11-21).
constexpr int64_t kSlabRows = 132;

}  // namespace

struct Mlp::Piece {
  device::Range rows;
  device::Range columns;
  float* gate_out;  // [rows, kPieceStride]
  float* up_out;
};

int64_t Mlp::own_bytes(int64_t n_rows) {
  return 2 * std::min(n_rows, kSlabRows) * kPieceStride * static_cast<int64_t>(sizeof(float));
}

device::Prefetch Mlp::gate_up_front(const device::Team& team) const {
  int64_t group_panels = act_columns(down.act_mask()) / kernels::kPanelRows;
  device::Range groups = team.first_units(ceil_div(gate.n_panels(), group_panels));
  return gate.front({groups.begin * group_panels, std::min(groups.end * group_panels, gate.n_panels())});
}

void Mlp::run_piece(Ctx& ctx, const Piece& piece, const ActSet& input, const ActSet& inner) const {
  int64_t n_cols = piece.columns.end - piece.columns.begin;
  int64_t panel = piece.columns.begin / kernels::kPanelRows;
  device::Range panels{panel, panel + ceil_div(n_cols, kernels::kPanelRows)};
  gate.multiply(ctx, input, piece.rows, panels, {piece.gate_out, kPieceStride, panel, false});
  up.multiply(ctx, input, piece.rows, panels, {piece.up_out, kPieceStride, panel, false});
  for (int64_t row = piece.rows.begin; row < piece.rows.end; ++row) {
    int64_t at = (row - piece.rows.begin) * kPieceStride;
    act(piece.gate_out + at, piece.gate_out + at, piece.up_out + at, n_cols);
    quantize_window(ctx.k, inner, row, piece.columns.begin, n_cols, piece.gate_out + at);
  }
}

void Mlp::gate_up(Ctx& ctx, const ActSet& input, int64_t n_rows, const ActSet& inner) const {
  size_t mark = ctx.own.mark();
  auto n_floats = static_cast<size_t>(std::min(n_rows, kSlabRows) * kPieceStride);
  Piece piece{{}, {}, ctx.own.take<float>(n_floats), ctx.own.take<float>(n_floats)};
  int64_t group = act_columns(inner.mask);
  ctx.team.for_units(ceil_div(d_ff, group), 1, [&](int64_t begin, int64_t end) {
    int64_t col_end = std::min(end * group, d_ff);
    for (int64_t col = begin * group; col < col_end; col += kPieceColumns) {
      piece.columns = {col, std::min(col + kPieceColumns, col_end)};
      for (int64_t row = 0; row < n_rows; row += kSlabRows) {
        piece.rows = {row, std::min(row + kSlabRows, n_rows)};
        run_piece(ctx, piece, input, inner);
      }
    }
  });
  ctx.own.rewind(mark);
}

void Mlp::project_down(Ctx& ctx, const ActSet& inner, int64_t n_rows, const MatrixOut& to) const {
  ctx.team.for_units(down.n_panels(), 1, [&](int64_t begin, int64_t end) {
    down.multiply(ctx, inner, {0, n_rows}, {begin, end}, to);
  });
}

}  // namespace millrace::layers
