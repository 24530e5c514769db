#include "weights/name_map.h"

#include <fmt/core.h>

#include "base/macros.h"

namespace millrace::weights {
namespace {

using Role = WeightRole;

// GGUF names: llama.cpp gguf-py/gguf/constants.py. Hugging Face names: transformers modeling_<type>.py.
constexpr WeightRow kRows[] = {
    {Role::kTokenEmbedding, "token_embd.weight", "embed_tokens.weight", "", false},
    {Role::kOutputNorm, "output_norm.weight", "norm.weight", "", false},
    {Role::kOutput, "output.weight", "lm_head.weight", "", false},
    {Role::kRopeFreqs, "rope_freqs.weight", "", "", false},
    {Role::kAttnNorm, "blk.{}.attn_norm.weight", "layers.{}.input_layernorm.weight", "", true},
    {Role::kAttnQ, "blk.{}.attn_q.weight", "layers.{}.self_attn.q_proj.weight", "", true},
    {Role::kAttnK, "blk.{}.attn_k.weight", "layers.{}.self_attn.k_proj.weight", "", true},
    {Role::kAttnV, "blk.{}.attn_v.weight", "layers.{}.self_attn.v_proj.weight", "", true},
    {Role::kAttnQBias, "blk.{}.attn_q.bias", "layers.{}.self_attn.q_proj.bias", "", true},
    {Role::kAttnKBias, "blk.{}.attn_k.bias", "layers.{}.self_attn.k_proj.bias", "", true},
    {Role::kAttnVBias, "blk.{}.attn_v.bias", "layers.{}.self_attn.v_proj.bias", "", true},
    {Role::kAttnQNorm, "blk.{}.attn_q_norm.weight", "layers.{}.self_attn.q_norm.weight", "", true},
    {Role::kAttnKNorm, "blk.{}.attn_k_norm.weight", "layers.{}.self_attn.k_norm.weight", "", true},
    {Role::kAttnOut, "blk.{}.attn_output.weight", "layers.{}.self_attn.o_proj.weight", "", true},
    {Role::kPostAttnNorm, "blk.{}.post_attention_norm.weight", "", "layers.{}.post_attention_layernorm.weight", true},
    {Role::kFfnNorm, "blk.{}.ffn_norm.weight", "layers.{}.post_attention_layernorm.weight",
     "layers.{}.pre_feedforward_layernorm.weight", true},
    {Role::kFfnGate, "blk.{}.ffn_gate.weight", "layers.{}.mlp.gate_proj.weight", "", true},
    {Role::kFfnUp, "blk.{}.ffn_up.weight", "layers.{}.mlp.up_proj.weight", "", true},
    {Role::kFfnDown, "blk.{}.ffn_down.weight", "layers.{}.mlp.down_proj.weight", "", true},
    {Role::kPostFfnNorm, "blk.{}.post_ffw_norm.weight", "", "layers.{}.post_feedforward_layernorm.weight", true},
    {Role::kPositionEmbedding, "position_embd.weight", "", "", false},
    {Role::kTokenTypeEmbedding, "token_types.weight", "", "", false},
    {Role::kEmbeddingNorm, "token_embd_norm.weight", "", "", false},
    {Role::kEmbeddingNormBias, "token_embd_norm.bias", "", "", false},
    {Role::kPooler, "cls.weight", "", "", false},
    {Role::kPoolerBias, "cls.bias", "", "", false},
    {Role::kClassifier, "cls.output.weight", "", "", false},
    {Role::kClassifierBias, "cls.output.bias", "", "", false},
    {Role::kAttnOutBias, "blk.{}.attn_output.bias", "", "", true},
    {Role::kAttnNormBias, "blk.{}.attn_output_norm.bias", "", "", true},
    {Role::kFfnUpBias, "blk.{}.ffn_up.bias", "", "", true},
    {Role::kFfnDownBias, "blk.{}.ffn_down.bias", "", "", true},
    {Role::kFfnNormBias, "blk.{}.layer_output_norm.bias", "", "", true},
};

// Where bert differs: Hugging Face always, GGUF when not empty.
struct BertName {
  Role role;
  std::string_view hf;  // behind the prefix of the checkpoint, but for the classifier
  std::string_view gguf = {};
};
constexpr BertName kBertNames[] = {
    {Role::kTokenEmbedding, "embeddings.word_embeddings.weight"},
    {Role::kPositionEmbedding, "embeddings.position_embeddings.weight"},
    {Role::kTokenTypeEmbedding, "embeddings.token_type_embeddings.weight"},
    {Role::kEmbeddingNorm, "embeddings.LayerNorm.weight"},
    {Role::kEmbeddingNormBias, "embeddings.LayerNorm.bias"},
    {Role::kPooler, "pooler.dense.weight"},
    {Role::kPoolerBias, "pooler.dense.bias"},
    {Role::kClassifier, "classifier.weight"},
    {Role::kClassifierBias, "classifier.bias"},
    {Role::kAttnQ, "encoder.layer.{}.attention.self.query.weight"},
    {Role::kAttnK, "encoder.layer.{}.attention.self.key.weight"},
    {Role::kAttnV, "encoder.layer.{}.attention.self.value.weight"},
    {Role::kAttnQBias, "encoder.layer.{}.attention.self.query.bias"},
    {Role::kAttnKBias, "encoder.layer.{}.attention.self.key.bias"},
    {Role::kAttnVBias, "encoder.layer.{}.attention.self.value.bias"},
    {Role::kAttnOut, "encoder.layer.{}.attention.output.dense.weight"},
    {Role::kAttnOutBias, "encoder.layer.{}.attention.output.dense.bias"},
    {Role::kAttnNorm, "encoder.layer.{}.attention.output.LayerNorm.weight", "blk.{}.attn_output_norm.weight"},
    {Role::kAttnNormBias, "encoder.layer.{}.attention.output.LayerNorm.bias"},
    {Role::kFfnUp, "encoder.layer.{}.intermediate.dense.weight"},
    {Role::kFfnUpBias, "encoder.layer.{}.intermediate.dense.bias"},
    {Role::kFfnDown, "encoder.layer.{}.output.dense.weight"},
    {Role::kFfnDownBias, "encoder.layer.{}.output.dense.bias"},
    {Role::kFfnNorm, "encoder.layer.{}.output.LayerNorm.weight", "blk.{}.layer_output_norm.weight"},
    {Role::kFfnNormBias, "encoder.layer.{}.output.LayerNorm.bias"},
};

std::string_view pattern_of(const ModelDesc& desc, const WeightRow& row) {
  bool hf = desc.file_kind == FileKind::kSafetensors;
  if (desc.is_encoder()) {
    for (const BertName& name : kBertNames) {
      if (name.role != row.role) continue;
      if (hf) return name.hf;
      if (!name.gguf.empty()) return name.gguf;
    }
  }
  if (!hf) return row.gguf;
  bool own = desc.architecture == Architecture::kGemma3 && !row.hf_gemma3.empty();
  return own ? row.hf_gemma3 : row.hf;
}

bool has_prefix(Role role) {
  return role != Role::kOutput && role != Role::kClassifier && role != Role::kClassifierBias;
}

constexpr bool rows_are_in_role_order() {
  for (size_t i = 0; i < std::size(kRows); ++i) {
    if (static_cast<size_t>(kRows[i].role) != i) return false;
  }
  return true;
}
static_assert(rows_are_in_role_order());

// What only one kind of model has.
WeightPresence presence_of_bert(const ModelDesc& desc, Role role) {
  bool head =
      role == Role::kPooler || role == Role::kPoolerBias || role == Role::kClassifier || role == Role::kClassifierBias;
  bool there = desc.is_encoder() && (!head || desc.n_labels > 0);
  return there ? WeightPresence::kRequired : WeightPresence::kAbsent;
}

WeightPresence required_if(bool condition) { return condition ? WeightPresence::kRequired : WeightPresence::kAbsent; }

}  // namespace

std::span<const WeightRow> weight_rows() { return kRows; }

const WeightRow& weight_row(WeightRole role) { return kRows[static_cast<size_t>(role)]; }

WeightPresence weight_presence(const ModelDesc& desc, WeightRole role) {
  switch (role) {
    case Role::kOutput:
      return required_if(!desc.tied_embeddings && !desc.is_encoder());
    case Role::kOutputNorm:
    case Role::kFfnGate:
      return required_if(!desc.is_encoder());
    case Role::kPositionEmbedding:
    case Role::kTokenTypeEmbedding:
    case Role::kEmbeddingNorm:
    case Role::kEmbeddingNormBias:
    case Role::kPooler:
    case Role::kPoolerBias:
    case Role::kClassifier:
    case Role::kClassifierBias:
    case Role::kAttnOutBias:
    case Role::kAttnNormBias:
    case Role::kFfnUpBias:
    case Role::kFfnDownBias:
    case Role::kFfnNormBias:
      return presence_of_bert(desc, role);
    case Role::kRopeFreqs:
      return required_if(desc.rope_scaling.kind == RopeScalingKind::kFactors);
    case Role::kAttnQBias:
    case Role::kAttnKBias:
    case Role::kAttnVBias:
      return required_if(desc.has_qkv_bias);
    case Role::kAttnQNorm:
    case Role::kAttnKNorm:
      return required_if(desc.has_qk_norm);
    case Role::kPostAttnNorm:
    case Role::kPostFfnNorm:
      return required_if(desc.has_post_norms);
    case Role::kTokenEmbedding:
    case Role::kAttnNorm:
    case Role::kAttnQ:
    case Role::kAttnK:
    case Role::kAttnV:
    case Role::kAttnOut:
    case Role::kFfnNorm:
    case Role::kFfnUp:
    case Role::kFfnDown:
      return WeightPresence::kRequired;
  }
  return WeightPresence::kAbsent;
}

tensor::Shape weight_shape(const ModelDesc& desc, WeightRole role) {
  switch (role) {
    case Role::kTokenEmbedding:
    case Role::kOutput:
      return {desc.n_vocab, desc.d_model};
    case Role::kRopeFreqs:
      return {desc.rope_dims / 2};
    case Role::kOutputNorm:
    case Role::kAttnNorm:
    case Role::kPostAttnNorm:
    case Role::kFfnNorm:
    case Role::kPostFfnNorm:
    case Role::kEmbeddingNorm:
    case Role::kEmbeddingNormBias:
    case Role::kPoolerBias:
    case Role::kAttnOutBias:
    case Role::kAttnNormBias:
    case Role::kFfnDownBias:
    case Role::kFfnNormBias:
      return {desc.d_model};
    case Role::kPositionEmbedding:
      return {desc.max_len, desc.d_model};
    case Role::kTokenTypeEmbedding:
      return {desc.n_token_types, desc.d_model};
    case Role::kPooler:
      return {desc.d_model, desc.d_model};
    case Role::kClassifier:
      return {desc.n_labels, desc.d_model};
    case Role::kClassifierBias:
      return {desc.n_labels};
    case Role::kFfnUpBias:
      return {desc.d_ff};
    case Role::kAttnQ:
      return {desc.q_dim(), desc.d_model};
    case Role::kAttnK:
    case Role::kAttnV:
      return {desc.kv_dim(), desc.d_model};
    case Role::kAttnQBias:
      return {desc.q_dim()};
    case Role::kAttnKBias:
    case Role::kAttnVBias:
      return {desc.kv_dim()};
    case Role::kAttnQNorm:
    case Role::kAttnKNorm:
      return {desc.head_dim};
    case Role::kAttnOut:
      return {desc.d_model, desc.q_dim()};
    case Role::kFfnGate:
    case Role::kFfnUp:
      return {desc.d_ff, desc.d_model};
    case Role::kFfnDown:
      return {desc.d_model, desc.d_ff};
  }
  return {};
}

std::string weight_name(const ModelDesc& desc, WeightRole role, uint32_t layer, std::string_view hf_prefix) {
  std::string_view pattern = pattern_of(desc, weight_row(role));
  std::string name;
  if (desc.file_kind == FileKind::kSafetensors && has_prefix(role)) name = hf_prefix;
  size_t hole = pattern.find("{}");
  if (hole == std::string_view::npos) return name.append(pattern);
  return name.append(pattern.substr(0, hole)).append(fmt::format("{}", layer)).append(pattern.substr(hole + 2));
}

}  // namespace millrace::weights
