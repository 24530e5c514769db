// A product over parts of different formats: each part is one GEMM call on its share of the panels.
// Thread: any.
#include "layers/packed_matrix.h"

#include <algorithm>

namespace millrace::layers {
namespace {

// A sixteenth of an L2 of 1 MiB: more than a core gets from DRAM during any usual wait.
constexpr int64_t kFrontBytes = 64 * 1024;

}  // namespace

int64_t PackedMatrix::n_panels() const {
  return parts_.empty() ? 0 : parts_.back().panel_begin + parts_.back().n_panels;
}

int64_t PackedMatrix::bytes() const {
  int64_t bytes = 0;
  for (const MatrixPart& part : parts_) bytes += part.n_panels * part.panel_bytes;
  return bytes;
}

void PackedMatrix::multiply(Ctx& ctx, const ActSet& acts, device::Range rows, device::Range panels,
                            const MatrixOut& to) const {
  if (rows.empty()) return;
  for (const MatrixPart& part : parts_) {
    int64_t begin = std::max(panels.begin, part.panel_begin);
    int64_t end = std::min(panels.end, part.panel_begin + part.n_panels);
    if (begin >= end) continue;
    auto format = static_cast<size_t>(part.format);
    kernels::GemmArgs args;
    args.act = act_rows_from(acts.of(ctx.k.act_kind[format]), rows.begin);
    args.row_end = rows.end - rows.begin;
    args.k = k_;
    args.add = to.add;
    args.ahead = &ctx.ahead;
    args.out_stride = to.stride;
    // the kernel counts columns from panel 0 of the part: shift so that `begin` lands where `to` wants it
    args.panels = part.panels + (begin - part.panel_begin) * part.panel_bytes;
    args.n = part.n - (begin - part.panel_begin) * kernels::kPanelRows;
    args.panel_end = end - begin;
    args.out = to.out + (begin - to.panel_at_zero) * kernels::kPanelRows;
    ctx.k.gemm[format](args);
    if (rows.begin == 0) ctx.weight_bytes += (end - begin) * part.panel_bytes;
  }
}

device::Prefetch PackedMatrix::front(device::Range panels) const {
  for (const MatrixPart& part : parts_) {
    int64_t begin = panels.begin - part.panel_begin;
    if (begin < 0 || begin >= part.n_panels) continue;
    int64_t end = std::min(panels.end - part.panel_begin, part.n_panels);
    return {part.panels + begin * part.panel_bytes, std::min((end - begin) * part.panel_bytes, kFrontBytes)};
  }
  return {};
}

void PackedMatrix::unpack_row(const kernels::KernelTable& table, int64_t row, float* out) const {
  const MatrixPart& part = parts_.front();
  table.unpack_row[static_cast<size_t>(part.format)](out, part.panels, row, k_);
}

}  // namespace millrace::layers
