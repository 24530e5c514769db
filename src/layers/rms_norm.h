// The residual stream of a step and the phase between two matrices: add what the last block gave, RMS norm, quantise.
// Up to kRedundantRows rows every thread does all of it for itself and no barrier follows; above, rows are shared out
// and a barrier ends the phase. Either way the bits of a row are the same.
// Thread: SPMD, all threads together.
#pragma once

#include <cstdint>

#include "layers/activations.h"
#include "layers/ctx.h"

namespace millrace::layers {

// The sum of embedding and blocks. Models with a norm behind their blocks (gemma3) keep one copy per thread for small
// steps, because then each thread adds the normed block output by itself.
struct Residual {
  float* x = nullptr;  // [n_rows, stride] f32
  int64_t stride = 0;  // round_up(d_model, 16)
  int64_t d_model = 0;
  int64_t n_rows = 0;
  bool per_thread = false;  // x lies in Ctx::own

  float* row(int64_t i) const { return x + i * stride; }
};

struct NormWeights {
  const float* weight = nullptr;  // [d_model]
  float eps = 1e-5f;
};

// x += norm(delta) when post.weight is set, then acts = quantised norm(x). delta [n_rows, stride of the residual].
struct NormPhase {
  NormWeights norm;
  const float* delta = nullptr;
  NormWeights post;
};

inline bool is_redundant(int64_t n_rows) { return n_rows <= kRedundantRows; }

// Carves room for the rows of a matrix input: per thread for small steps, shared above.
struct StepArenas {
  device::Arena& shared;
  device::Arena& own;
};
ActSet carve_input(StepArenas arenas, ActMask mask, int64_t n_rows, int64_t k);

// tmp: [round_up(d_model, 16)] f32 of this thread.
void norm_phase(Ctx& ctx, const Residual& residual, const NormPhase& phase, const ActSet& acts, float* tmp);

// Only the first half: x += norm(delta) for row i of this thread's choice.
void add_normed_row(const kernels::KernelTable& table, const Residual& residual, int64_t row, const NormPhase& phase,
                    float* tmp);

}  // namespace millrace::layers
