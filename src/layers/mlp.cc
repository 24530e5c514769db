// The feed-forward block. Columns are worked on in pieces of kPieceColumns so that gate and up rows stay in L2.
#include "layers/mlp.h"

#include <algorithm>

namespace millrace::layers {
namespace {

// 512 rows x 256 columns x 2 x 4 B = 1 MiB, the L2 of one core of the machine the kernels were tuned on; also the
// largest quantisation group, so a piece never splits one.
constexpr int64_t kPieceColumns = 256;

}  // namespace

int64_t Mlp::own_bytes(int64_t n_rows) { return 2 * n_rows * kPieceColumns * static_cast<int64_t>(sizeof(float)); }

void Mlp::gate_up(Ctx& ctx, const ActSet& input, int64_t n_rows, const ActSet& inner) const {
  size_t mark = ctx.own.mark();
  auto* gate_out = ctx.own.take<float>(static_cast<size_t>(n_rows * kPieceColumns));
  auto* up_out = ctx.own.take<float>(static_cast<size_t>(n_rows * kPieceColumns));
  int64_t group = act_columns(inner.mask);
  device::Range groups = ctx.team.range(ceil_div(d_ff, group));
  int64_t end = std::min(groups.end * group, d_ff);
  for (int64_t col = groups.begin * group; col < end; col += kPieceColumns) {
    int64_t n_cols = std::min(kPieceColumns, end - col);
    int64_t panel = col / kernels::kPanelRows;
    device::Range panels{panel, panel + ceil_div(n_cols, kernels::kPanelRows)};
    gate.multiply(ctx, input, n_rows, panels, {gate_out, kPieceColumns, panel, false});
    up.multiply(ctx, input, n_rows, panels, {up_out, kPieceColumns, panel, false});
    for (int64_t row = 0; row < n_rows; ++row) {
      float* values = gate_out + row * kPieceColumns;
      act(values, values, up_out + row * kPieceColumns, n_cols);
      quantize_window(ctx.k, inner, row, col, n_cols, values);
    }
  }
  ctx.own.rewind(mark);
}

void Mlp::project_down(Ctx& ctx, const ActSet& inner, int64_t n_rows, const MatrixOut& to) const {
  down.multiply(ctx, inner, n_rows, ctx.team.range(down.n_panels()), to);
}

}  // namespace millrace::layers
