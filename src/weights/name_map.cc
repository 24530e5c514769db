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
};

constexpr bool rows_are_in_role_order() {
  for (size_t i = 0; i < std::size(kRows); ++i) {
    if (static_cast<size_t>(kRows[i].role) != i) return false;
  }
  return true;
}
static_assert(rows_are_in_role_order());

WeightPresence required_if(bool condition) { return condition ? WeightPresence::kRequired : WeightPresence::kAbsent; }

}  // namespace

std::span<const WeightRow> weight_rows() { return kRows; }

const WeightRow& weight_row(WeightRole role) { return kRows[static_cast<size_t>(role)]; }

WeightPresence weight_presence(const ModelDesc& desc, WeightRole role) {
  switch (role) {
    case Role::kOutput:
      return required_if(!desc.tied_embeddings);
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
    case Role::kOutputNorm:
    case Role::kAttnNorm:
    case Role::kAttnQ:
    case Role::kAttnK:
    case Role::kAttnV:
    case Role::kAttnOut:
    case Role::kFfnNorm:
    case Role::kFfnGate:
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
      return {desc.d_model};
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
  const WeightRow& row = weight_row(role);
  std::string_view pattern = row.gguf;
  std::string name;
  if (desc.file_kind == FileKind::kSafetensors) {
    bool own = desc.architecture == Architecture::kGemma3 && !row.hf_gemma3.empty();
    pattern = own ? row.hf_gemma3 : row.hf;
    if (role != Role::kOutput) name = hf_prefix;
  }
  size_t hole = pattern.find("{}");
  if (hole == std::string_view::npos) return name.append(pattern);
  return name.append(pattern.substr(0, hole)).append(fmt::format("{}", layer)).append(pattern.substr(hole + 2));
}

}  // namespace millrace::weights
