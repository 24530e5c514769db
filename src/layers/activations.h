// ActSet: the input rows of a matrix in every form its parts want (one quantised copy per distinct ActKind), and
// windows into such rows, so that a thread can fill the columns it has just computed.
// Invariant: the bits of a row do not depend on who quantised it nor on the rows beside it.
// Thread: carving on all threads alike; filling by the owner of the rows or columns.
#pragma once

#include <cstdint>

#include "device/buffer.h"
#include "kernels/ops.h"

namespace millrace::layers {

constexpr int kNActKinds = 4;

// Bit i set: ActKind(i) is wanted.
using ActMask = uint32_t;
constexpr ActMask act_bit(kernels::ActKind kind) { return ActMask{1} << static_cast<int>(kind); }

struct ActSet {
  ActMask mask = 0;
  kernels::ActRows rows[kNActKinds];  // by ActKind; only those in mask are carved

  const kernels::ActRows& of(kernels::ActKind kind) const { return rows[static_cast<int>(kind)]; }
};

// Room for n_rows x k in each form of the mask.
ActSet carve_acts(device::Arena& arena, ActMask mask, int64_t n_rows, int64_t k);

// Row `row`, values [col_begin, col_begin + n_cols), as rows of their own. col_begin must be a multiple of
// act_columns(mask), n_cols too unless it reaches the end of the row.
kernels::ActRows act_window(const kernels::ActRows& rows, int64_t row, int64_t col_begin, int64_t n_cols);

// The rows from `row` on, as rows of their own.
kernels::ActRows act_rows_from(const kernels::ActRows& rows, int64_t row);

// Values that must be quantised together: 256 when a form of the mask has groups of 256, else 32.
int64_t act_columns(ActMask mask);

// Quantises x [k] into row `row` of every form.
void quantize_row(const kernels::KernelTable& table, const ActSet& acts, int64_t row, const float* x);
// Quantises x [n_cols] into the window of every form.
void quantize_window(const kernels::KernelTable& table, const ActSet& acts, int64_t row, int64_t col_begin,
                     int64_t n_cols, const float* x);

}  // namespace millrace::layers
