// A product over parts of different formats: each part is one GEMM call on its share of the panels.
// Thread: any.
#include "layers/packed_matrix.h"

#include <algorithm>

namespace millrace::layers {

int64_t PackedMatrix::n_panels() const {
  return parts_.empty() ? 0 : parts_.back().panel_begin + parts_.back().n_panels;
}

int64_t PackedMatrix::bytes() const {
  int64_t bytes = 0;
  for (const MatrixPart& part : parts_) bytes += part.n_panels * part.panel_bytes;
  return bytes;
}

void PackedMatrix::multiply(Ctx& ctx, const ActSet& acts, int64_t n_rows, device::Range panels,
                            const MatrixOut& to) const {
  if (n_rows == 0) return;
  for (const MatrixPart& part : parts_) {
    int64_t begin = std::max(panels.begin, part.panel_begin);
    int64_t end = std::min(panels.end, part.panel_begin + part.n_panels);
    if (begin >= end) continue;
    auto format = static_cast<size_t>(part.format);
    kernels::GemmArgs args;
    args.act = acts.of(ctx.k.act_kind[format]);
    args.row_end = n_rows;
    args.k = k_;
    args.add = to.add;
    args.out_stride = to.stride;
    // the kernel counts columns from panel 0 of the part: shift so that `begin` lands where `to` wants it
    args.panels = part.panels + (begin - part.panel_begin) * part.panel_bytes;
    args.n = part.n - (begin - part.panel_begin) * kernels::kPanelRows;
    args.panel_end = end - begin;
    args.out = to.out + (begin - to.panel_at_zero) * kernels::kPanelRows;
    ctx.k.gemm[format](args);
    ctx.weight_bytes += (end - begin) * part.panel_bytes;
  }
}

void PackedMatrix::unpack_row(const kernels::KernelTable& table, int64_t row, float* out) const {
  const MatrixPart& part = parts_.front();
  table.unpack_row[static_cast<size_t>(part.format)](out, part.panels, row, k_);
}

}  // namespace millrace::layers
