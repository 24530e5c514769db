// Mlp: down(act(gate(x)) * up(x)). A thread owns whole groups of the inner columns: it multiplies gate and up for them,
// applies the activation and quantises them for the down projection, all before the one barrier that follows.
// Invariant: threads split output columns, never rows or K, so bits do not depend on the team.
// Thread: SPMD, all threads together.
#pragma once

#include <cstdint>

#include "layers/activations.h"
#include "layers/packed_matrix.h"

namespace millrace::layers {

struct Mlp {
  PackedMatrix gate;  // [d_ff, d_model]
  PackedMatrix up;    // [d_ff, d_model]
  PackedMatrix down;  // [d_model, d_ff]
  int64_t d_ff = 0;
  kernels::GateUp act = nullptr;  // silu_mul or gelu_mul

  ActMask input_mask() const { return gate.act_mask() | up.act_mask(); }
  // Bytes of Ctx::own that gate_up() takes.
  static int64_t own_bytes(int64_t n_rows);
  // inner = quantised act(gate) * up of all rows. Ends without a barrier: the caller syncs before project_down().
  void gate_up(Ctx& ctx, const ActSet& input, int64_t n_rows, const ActSet& inner) const;
  // What this thread's gate_up() and project_down() read first.
  device::Prefetch gate_up_front(const device::Team& team) const;
  device::Prefetch down_front(const device::Team& team) const { return down.front(team.first_units(down.n_panels())); }
  // to += or = inner * down^T. The caller syncs after it.
  void project_down(Ctx& ctx, const ActSet& inner, int64_t n_rows, const MatrixOut& to) const;

 private:
  struct Piece;
  void run_piece(Ctx& ctx, const Piece& piece, const ActSet& input, const ActSet& inner) const;
};

}  // namespace millrace::layers
