// Decoder: the stack most architectures share: embedding, n times (norm, attention, norm, gated feed-forward) with
// optional norms behind the blocks, output norm and projection. An architecture file says which blocks it has.
// Barriers of a layer: 5 for up to kRedundantRows rows (behind q/k/v, attention, output, gate/up, down), 7 above, and
// one more where the attention output must be quantised over more than one head's columns.
// Thread: loading: one; forward(), logits(): all compute threads at once.
#pragma once

#include <memory>
#include <vector>

#include "device/buffer.h"
#include "layers/attention.h"
#include "layers/embedding.h"
#include "layers/mlp.h"
#include "layers/rms_norm.h"
#include "layers/rope.h"
#include "models/model.h"

namespace millrace::models {

// What an architecture has beyond the plain block.
struct DecoderBlocks {
  bool qkv_bias = false;
  bool qk_norm = false;
  bool post_norms = false;
};

struct DecoderLayer {
  layers::NormWeights attn_norm;
  layers::Attention attention;
  layers::NormWeights post_attn_norm;  // weight nullptr: none
  layers::NormWeights ffn_norm;
  layers::Mlp mlp;
  layers::NormWeights post_ffn_norm;
};

// The buffers of one step, carved alike on all threads.
struct DecoderBuffers {
  layers::Residual residual;
  layers::ActSet input;         // of q/k/v and gate/up
  layers::ActSet heads_in;      // of the attention output projection
  layers::ActSet inner;         // of down
  float* tmp = nullptr;         // own [round_up(d_model, 16)]
  float* q = nullptr;           // [n_rows, q_stride]
  float* heads = nullptr;       // [n_rows, q_stride]
  float* attn_delta = nullptr;  // [n_rows, residual.stride], with post norms
  float* ffn_delta = nullptr;
  float* angles[2] = {};                 // by rope: [n_rows, row_floats]
  layers::AttentionPlanPieces plans[2];  // by window
  const uint8_t** ahead = nullptr;       // own [layers::kMaxAhead]
};

class Decoder final : public Model {
 public:
  Decoder(const weights::ModelFile& file, DecoderBlocks blocks) : desc_(file.desc()), blocks_(blocks) {}
  Result<void> load(const weights::ModelFile& file, const LoadOptions& options);

  const weights::ModelDesc& desc() const override { return desc_; }
  int64_t weight_bytes() const override;
  ScratchBytes scratch_bytes(const StepLimits& limits) const override;
  void forward(layers::Ctx& ctx, const Step& step) const override;
  void logits(layers::Ctx& ctx, const LogitRows& rows) const override;
  void finish_hidden(const kernels::KernelTable& table, float* row) const override;

 private:
  Result<void> declare_layer(layers::WeightPacker& packer, const weights::ModelFile& file, uint32_t layer);
  Result<void> make_ropes(const weights::ModelFile& file);
  layers::AttentionLimits attention_limits(const StepLimits& limits) const;
  DecoderBuffers carve(layers::StepArenas arenas, const StepLimits& limits, int64_t n_rows) const;
  // The one block table of all layers that follow an AttentionPlan; kNoTable when they have several.
  int table_of_plan(const layers::KvView& kv, size_t plan_idx) const;
  void begin(layers::Ctx& ctx, const Step& step, DecoderBuffers& buffers) const;
  void run_layer(layers::Ctx& ctx, const Step& step, DecoderBuffers& buffers, uint32_t layer) const;
  layers::AttentionStep attention_step(const Step& step, const DecoderBuffers& buffers,
                                       const layers::Attention& attention, const layers::AttentionLimits& limits) const;
  void attention_block(layers::Ctx& ctx, const Step& step, DecoderBuffers& buffers, uint32_t layer) const;
  device::Prefetch output_front(const device::Team& team) const;
  void keep_wanted(layers::Ctx& ctx, const Step& step, const DecoderBuffers& buffers) const;

  weights::ModelDesc desc_;
  DecoderBlocks blocks_;
  device::Buffer memory_;  // packed weights
  std::vector<DecoderLayer> layers_;
  layers::NormWeights output_norm_;
  layers::PackedMatrix output_;
  layers::Embedding embedding_;
  layers::AttentionShape shape_;
  std::vector<layers::Rope> ropes_;  // 1 or 2
  bool heads_at_once_ = true;        // attention output is quantised head by head, without a barrier
  std::vector<int64_t> windows_;     // 1 or 2 distinct ones: one AttentionPlan each
};

Result<std::unique_ptr<Model>> load_decoder(const weights::ModelFile& file, const LoadOptions& options,
                                            DecoderBlocks blocks);

}  // namespace millrace::models
