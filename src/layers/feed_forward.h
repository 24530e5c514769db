// FeedForward: down(gelu(up(x) + b)) + b, the block of encoders. A thread owns whole groups of the inner columns, as in
// Mlp: it multiplies up for them, applies the activation and quantises them for down, before the one barrier after it.
// Invariant: threads split output columns, never rows or K, so bits do not depend on the team.
// Thread: SPMD, all threads together.
#pragma once

#include <cstdint>

#include "layers/activations.h"
#include "layers/packed_matrix.h"

namespace millrace::layers {

struct FeedForward {
  PackedMatrix up;                   // [d_ff, d_model]
  PackedMatrix down;                 // [d_model, d_ff]
  const float* up_bias = nullptr;    // [d_ff]
  const float* down_bias = nullptr;  // [d_model]; added by the caller, with the residual
  int64_t d_ff = 0;

  // Bytes of Ctx::own that expand() takes.
  static int64_t own_bytes(int64_t n_rows);
  // inner = quantised gelu(up(input) + up_bias) of all rows. Ends without a barrier.
  void expand(Ctx& ctx, const ActSet& input, int64_t n_rows, const ActSet& inner) const;
};

}  // namespace millrace::layers
