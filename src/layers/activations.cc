// Views into activation rows. The strides follow ActRows (kernels/ops.h): k_pad values a row, one scale per group.
// Thread: any.
#include "layers/activations.h"

#include "layers/ctx.h"

namespace millrace::layers {

using kernels::ActKind;
using kernels::ActRows;

ActSet carve_acts(device::Arena& arena, ActMask mask, int64_t n_rows, int64_t k) {
  ActSet acts;
  acts.mask = mask;
  for (int i = 0; i < kNActKinds; ++i) {
    auto kind = static_cast<ActKind>(i);
    if ((mask & act_bit(kind)) == 0) continue;
    auto* memory = arena.take<uint8_t>(static_cast<size_t>(kernels::act_bytes(kind, n_rows, k)));
    acts.rows[i] = kernels::act_carve(kind, n_rows, k, memory);
  }
  return acts;
}

ActRows act_window(const ActRows& rows, int64_t row, int64_t col_begin, int64_t n_cols) {
  bool supers = rows.kind == ActKind::kQ8A256;
  int64_t group = supers ? 256 : 32;
  int64_t sums = supers ? 16 : 32;
  int64_t k_pad = round_up(rows.k, group);
  int64_t value_bytes = rows.kind == ActKind::kF32 ? 4 : rows.kind == ActKind::kBF16 ? 2 : 1;
  ActRows out = rows;
  out.n_rows = 1;
  out.k = n_cols;
  out.data = static_cast<uint8_t*>(rows.data) + (row * k_pad + col_begin) * value_bytes;
  if (rows.d != nullptr) out.d = rows.d + (row * k_pad + col_begin) / group;
  if (rows.s != nullptr) out.s = rows.s + (row * k_pad + col_begin) / group;
  if (rows.sum != nullptr) out.sum = rows.sum + (row * k_pad + col_begin) / sums;
  return out;
}

ActRows act_rows_from(const ActRows& rows, int64_t row) {
  ActRows out = act_window(rows, row, 0, rows.k);
  out.n_rows = rows.n_rows - row;
  return out;
}

int64_t act_columns(ActMask mask) { return (mask & act_bit(ActKind::kQ8A256)) != 0 ? 256 : 32; }

void quantize_window(const kernels::KernelTable& table, const ActSet& acts, int64_t row, int64_t col_begin,
                     int64_t n_cols, const float* x) {
  for (int i = 0; i < kNActKinds; ++i) {
    if ((acts.mask & (ActMask{1} << i)) == 0) continue;
    ActRows window = act_window(acts.rows[i], row, col_begin, n_cols);
    table.quantize[i](window, x, round_up(n_cols, 16), 0, 1);
  }
}

void quantize_row(const kernels::KernelTable& table, const ActSet& acts, int64_t row, const float* x) {
  for (int i = 0; i < kNActKinds; ++i) {
    if ((acts.mask & (ActMask{1} << i)) == 0) continue;
    table.quantize[i](act_window(acts.rows[i], row, 0, acts.rows[i].k), x, round_up(acts.rows[i].k, 16), 0, 1);
  }
}

}  // namespace millrace::layers
