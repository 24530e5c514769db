// The names and shapes of the weights of every architecture, in both kinds of file: one table row per weight.
// Architectures differ by which rows they have; nothing else in the program spells a tensor name.
// Thread: any (constants).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "tensor/shape.h"
#include "weights/model_desc.h"

namespace millrace::weights {

enum class WeightRole : uint8_t {
  kTokenEmbedding,  // [n_vocab, d_model]
  kOutputNorm,      // [d_model]
  kOutput,          // [n_vocab, d_model]; the token embedding when tied
  kRopeFreqs,       // [rope_dims / 2], GGUF only, optional
  // per layer
  kAttnNorm,      // [d_model]
  kAttnQ,         // [n_heads * head_dim, d_model]
  kAttnK,         // [n_kv_heads * head_dim, d_model]
  kAttnV,         // [n_kv_heads * head_dim, d_model]
  kAttnQBias,     // [n_heads * head_dim]
  kAttnKBias,     // [n_kv_heads * head_dim]
  kAttnVBias,     // [n_kv_heads * head_dim]
  kAttnQNorm,     // [head_dim]
  kAttnKNorm,     // [head_dim]
  kAttnOut,       // [d_model, n_heads * head_dim]
  kPostAttnNorm,  // [d_model], gemma3
  kFfnNorm,       // [d_model]
  kFfnGate,       // [d_ff, d_model]
  kFfnUp,         // [d_ff, d_model]
  kFfnDown,       // [d_model, d_ff]
  kPostFfnNorm,   // [d_model], gemma3
  // bert
  kPositionEmbedding,   // [max_len, d_model]
  kTokenTypeEmbedding,  // [n_token_types, d_model]
  kEmbeddingNorm,       // [d_model]
  kEmbeddingNormBias,   // [d_model]
  kPooler,              // [d_model, d_model], of a head
  kPoolerBias,          // [d_model]
  kClassifier,          // [n_labels, d_model]
  kClassifierBias,      // [n_labels]
  // bert, per layer
  kAttnOutBias,   // [d_model]
  kAttnNormBias,  // [d_model]
  kFfnUpBias,     // [d_ff]
  kFfnDownBias,   // [d_model]
  kFfnNormBias,   // [d_model]
};

enum class WeightPresence : uint8_t { kRequired, kOptional, kAbsent };

struct WeightRow {
  WeightRole role;
  std::string_view gguf;       // "blk.{}.attn_q.weight"; {} is the layer
  std::string_view hf;         // "layers.{}.self_attn.q_proj.weight", behind the prefix of the checkpoint
  std::string_view hf_gemma3;  // where gemma3 differs; empty = as hf
  bool per_layer;
};
// Read row by row from the file: never packed, never quantised.
constexpr bool is_lookup_table(WeightRole role) {
  return role == WeightRole::kPositionEmbedding || role == WeightRole::kTokenTypeEmbedding;
}

std::span<const WeightRow> weight_rows();
const WeightRow& weight_row(WeightRole role);

WeightPresence weight_presence(const ModelDesc& desc, WeightRole role);
tensor::Shape weight_shape(const ModelDesc& desc, WeightRole role);
// The name in the file. hf_prefix is "model." for most checkpoints (found by ModelFile). layer is ignored for
// weights that are not per layer.
std::string weight_name(const ModelDesc& desc, WeightRole role, uint32_t layer, std::string_view hf_prefix);

}  // namespace millrace::weights
