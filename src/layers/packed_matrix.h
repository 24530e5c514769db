// PackedMatrix: one or more weights packed into adjacent panels of one buffer, each part in its own format (Q6_K v
// beside Q4_K q and k). Panel p of the matrix gives the output columns 32 p .. 32 p + 31; a part starts on a panel.
// Invariant: panels are written once, by WeightPacker, and never change.
// Thread: any (const after load).
#pragma once

#include <cstdint>
#include <vector>

#include "device/thread_pool.h"
#include "kernels/ops.h"
#include "layers/activations.h"
#include "layers/ctx.h"

namespace millrace::layers {

struct MatrixPart {
  tensor::Format format = tensor::Format::kF32;
  int64_t n = 0;            // output rows
  int64_t panel_begin = 0;  // in the matrix
  int64_t n_panels = 0;
  int64_t panel_bytes = 0;
  const uint8_t* panels = nullptr;  // of this part
};

// Where the product goes. Column 32 * (p - panel_at_zero) of a row holds the first value of panel p.
struct MatrixOut {
  float* out = nullptr;  // [n_rows, stride] f32
  int64_t stride = 0;    // multiple of 16
  int64_t panel_at_zero = 0;
  bool add = false;  // out += product
};

class PackedMatrix {
 public:
  int64_t k() const { return k_; }
  int64_t n_panels() const;
  int64_t n_columns() const { return n_panels() * kernels::kPanelRows; }
  ActMask act_mask() const { return act_mask_; }
  const std::vector<MatrixPart>& parts() const { return parts_; }
  int64_t bytes() const;

  // out = acts * W^T for rows `rows` of acts (the first goes to row 0 of `to`) and the given panels. Counts the bytes
  // read in ctx, once per panel: with the rows from 0 on.
  void multiply(Ctx& ctx, const ActSet& acts, device::Range rows, device::Range panels, const MatrixOut& to) const;
  // The first bytes that multiply() reads of these panels, for Team::sync().
  device::Prefetch front(device::Range panels) const;
  // Output row `row` of part 0 as f32 [k].
  void unpack_row(const kernels::KernelTable& table, int64_t row, float* out) const;

 private:
  friend class WeightPacker;
  std::vector<MatrixPart> parts_;
  int64_t k_ = 0;
  ActMask act_mask_ = 0;
};

}  // namespace millrace::layers
