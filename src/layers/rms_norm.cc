// Norm phases. See rms_norm.h for who computes what.
#include "layers/rms_norm.h"

namespace millrace::layers {

ActSet carve_input(StepArenas arenas, ActMask mask, int64_t n_rows, int64_t k) {
  return carve_acts(is_redundant(n_rows) ? arenas.own : arenas.shared, mask, n_rows, k);
}

void add_normed_row(const kernels::KernelTable& table, const Residual& residual, int64_t row, const NormPhase& phase,
                    float* tmp) {
  if (phase.post.weight == nullptr || phase.delta == nullptr) return;
  table.rms_norm(tmp, phase.delta + row * residual.stride, phase.post.weight, phase.post.eps, residual.d_model);
  table.add(residual.row(row), tmp, residual.d_model);
}

void norm_phase(Ctx& ctx, const Residual& residual, const NormPhase& phase, const ActSet& acts, float* tmp) {
  bool redundant = is_redundant(residual.n_rows);
  device::Range rows = redundant ? device::Range{0, residual.n_rows} : ctx.team.range(residual.n_rows);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    add_normed_row(ctx.k, residual, row, phase, tmp);
    ctx.k.rms_norm(tmp, residual.row(row), phase.norm.weight, phase.norm.eps, residual.d_model);
    quantize_row(ctx.k, acts, row, tmp);
  }
  if (!redundant) ctx.team.sync();
}

}  // namespace millrace::layers
