// Bert: an encoder. The sum of word, position and token type embeddings, normed; n times (attention over the whole
// sequence, add and norm, GELU feed-forward, add and norm); for some checkpoints a head that scores the pooled state.
// Norms stand behind the residual additions, so the last layer's output is the hidden state itself.
// Barriers of a layer: 7, one more where the attention output is quantised over more than one head's columns.
//  1. A sequence must be whole in a step (sched/scheduler.h, 4): its rows see all its tokens.
// Source: transformers models/bert/modeling_bert.py. Thread: loading: one; forward(): all compute threads at once.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "device/buffer.h"
#include "layers/attention.h"
#include "layers/embedding.h"
#include "layers/feed_forward.h"
#include "layers/layer_norm.h"
#include "layers/rms_norm.h"
#include "models/model.h"

namespace millrace::models {

struct BertLayer {
  layers::Attention attention;
  const float* attn_out_bias = nullptr;  // [d_model]
  layers::LayerNorm attn_norm;
  layers::FeedForward ffn;
  layers::LayerNorm ffn_norm;
};

struct BertBuffers;

class Bert final : public Model {
 public:
  explicit Bert(const weights::ModelFile& file) : desc_(file.desc()) {}
  Result<void> load(const weights::ModelFile& file, const LoadOptions& options);

  const weights::ModelDesc& desc() const override { return desc_; }
  int64_t weight_bytes() const override;
  ScratchBytes scratch_bytes(const StepLimits& limits) const override;
  void forward(layers::Ctx& ctx, const Step& step) const override;
  void logits(layers::Ctx& ctx, const LogitRows& rows) const override;
  void finish_hidden(const kernels::KernelTable& /*table*/, float* /*row*/) const override {}
  std::vector<float> score(std::span<const float> pooled) const override;

 private:
  Result<void> declare_layer(layers::WeightPacker& packer, uint32_t layer);
  Result<void> load_head(const weights::ModelFile& file);
  layers::AttentionLimits attention_limits(const StepLimits& limits) const;
  BertBuffers carve(layers::StepArenas arenas, const StepLimits& limits, int64_t n_rows) const;
  void embed(layers::Ctx& ctx, const Step& step, BertBuffers& buffers) const;
  void run_layer(layers::Ctx& ctx, const Step& step, BertBuffers& buffers, uint32_t layer) const;
  void attention_block(layers::Ctx& ctx, const Step& step, BertBuffers& buffers, uint32_t layer) const;

  weights::ModelDesc desc_;
  device::Buffer memory_;  // packed weights
  std::vector<BertLayer> layers_;
  layers::Embedding words_;
  layers::Embedding positions_;
  layers::Embedding types_;
  layers::LayerNorm embedding_norm_;
  layers::AttentionShape shape_;
  layers::Rope no_rope_;
  bool heads_at_once_ = true;
  // of the head; empty: none
  std::vector<float> pooler_;           // [d_model, d_model]
  std::vector<float> pooler_bias_;      // [d_model]
  std::vector<float> classifier_;       // [n_labels, d_model]
  std::vector<float> classifier_bias_;  // [n_labels]
};

}  // namespace millrace::models
