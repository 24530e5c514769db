// Attention: x -> q, k, v (bias, q/k norm, rotation, KV write) -> attention over KV blocks -> output projection.
// A thread owns whole heads in project(): it multiplies, rotates and writes them without a barrier between.
//  1. All K and V of the step are in their blocks when project()'s barrier is passed; only then does any row attend.
//  2. Partials of a span, and their merge in ascending order, are the same for decode, prefill and any batch.
// Thread: SPMD, all threads together.
#pragma once

#include <cstdint>

#include "layers/activations.h"
#include "layers/attention_plan.h"
#include "layers/packed_matrix.h"
#include "layers/rope.h"

namespace millrace::layers {

struct Attention {
  PackedMatrix q;  // [n_heads * head_dim, d_model]
  PackedMatrix k;  // [n_kv_heads * head_dim, d_model]
  PackedMatrix v;
  PackedMatrix out;               // [d_model, n_heads * head_dim]
  const float* q_bias = nullptr;  // [n_heads * head_dim] or nullptr
  const float* k_bias = nullptr;
  const float* v_bias = nullptr;
  const float* q_norm = nullptr;  // [head_dim] or nullptr
  const float* k_norm = nullptr;
  float norm_eps = 1e-5f;
  AttentionShape shape;
  uint32_t layer = 0;
  int32_t rope_idx = 0;  // which angle table of the step
  int32_t plan_idx = 0;  // which AttentionPlan of the step
  float scale = 1.0f;
  float softcap = 0.0f;
  bool quantize_heads = false;  // the thread that merges a head quantises it at once

  // Packed bytes of its matrices.
  int64_t weight_bytes() const { return q.bytes() + k.bytes() + v.bytes() + out.bytes(); }
  ActMask input_mask() const { return q.act_mask() | k.act_mask() | v.act_mask(); }
  // True when one head group of the output is whole quantisation groups of `out`.
  bool can_quantize_heads() const;
};

// What the phases of one layer share.
struct AttentionStep {
  const Batch& batch;
  const KvView& kv;
  const AttentionLimits& limits;
  const Rope& rope;
  const float* angles = nullptr;  // [n_rows, rope.row_floats()]
  float* q = nullptr;             // [n_rows, q_stride] f32, shared
  float* heads = nullptr;         // [n_rows, q_stride] f32, shared: attention output before quantisation
  int64_t q_stride = 0;           // round_up(n_heads * head_dim, 32)
};

// Bytes of Ctx::own that project_heads() or attend() takes, whichever is more.
int64_t attention_own_bytes(const AttentionShape& shape, const AttentionLimits& limits);

// q, k, v of all rows; k and v go to their blocks. The caller syncs after it.
void project_heads(Ctx& ctx, const Attention& attention, const AttentionStep& step, const ActSet& input);

// What this thread's project_heads() reads first.
device::Prefetch project_front(const Attention& attention, const device::Team& team);

// Pieces of KV that look_ahead() keeps for a thread: 6 MiB of bf16 blocks of heads of 64, so that two threads stay
// within half of an L3 of 32 MiB.
constexpr int64_t kMaxAhead = 768;

// Sets ctx.ahead to the KV blocks that this thread's decode items of `attention`, a later layer, will read, so that
// they come to the caches while matrices are multiplied. `pieces` [kMaxAhead] must stay until attend() of that layer.
void look_ahead(Ctx& ctx, const Attention& attention, const AttentionStep& step, const AttentionPlan& plan,
                const uint8_t** pieces);

// softmax(q k) v of this thread's items; the output is quantised into `acts` when attention.quantize_heads, else left
// in step.heads. The caller syncs after it.
void attend(Ctx& ctx, const Attention& attention, const AttentionStep& step, AttentionPlan& plan, const ActSet& acts);

}  // namespace millrace::layers
