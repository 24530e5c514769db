#include "weights/model_desc.h"

#include <fmt/core.h>

#include "weights/model_desc_rules.h"
#include "weights/name_check.h"

namespace millrace::weights {

std::string_view architecture_name(Architecture architecture) {
  switch (architecture) {
    case Architecture::kLlama:
      return "llama";
    case Architecture::kQwen2:
      return "qwen2";
    case Architecture::kQwen3:
      return "qwen3";
    case Architecture::kGemma3:
      return "gemma3";
    case Architecture::kBert:
      return "bert";
  }
  return "";
}

Error unknown_architecture(std::string_view file, std::string_view found) {
  std::string what = fmt::format("unknown architecture \"{}\"; supported: llama, mistral, qwen2, qwen3, gemma3, bert",
                                 show_name(found));
  return {ErrorCode::kBadFile, fmt::format("{}: {}", file, what), std::string(found)};
}

void apply_architecture(ModelDesc& desc) {
  bool gemma = desc.architecture == Architecture::kGemma3;
  bool bert = desc.architecture == Architecture::kBert;
  desc.has_qkv_bias = bert || desc.architecture == Architecture::kQwen2;
  desc.has_qk_norm = gemma || desc.architecture == Architecture::kQwen3;
  desc.has_post_norms = gemma;
  desc.activation = gemma ? Activation::kGeluTanh : bert ? Activation::kGelu : Activation::kSilu;
}

Result<void> check_heads(const ModelDesc& desc, const HeadKeys& keys) {
  auto bad = [&](const std::string& what) {
    return Error{ErrorCode::kBadFile, fmt::format("{}: {}", keys.file, what), keys.file};
  };
  if (desc.n_heads % desc.n_kv_heads != 0) {
    return bad(
        fmt::format("{} = {}: must divide {} = {}", keys.n_kv_heads, desc.n_kv_heads, keys.n_heads, desc.n_heads));
  }
  if (desc.head_dim == 0 || desc.head_dim % 2 != 0) {
    return bad(fmt::format("{} = {}: must be even", keys.head_dim, desc.head_dim));
  }
  if (desc.rope_dims == 0 || desc.rope_dims % 2 != 0 || desc.rope_dims > desc.head_dim) {
    return bad(fmt::format("{} = {}: must be even and 2..{}", keys.rope_dims, desc.rope_dims, desc.head_dim));
  }
  return {};
}

void add_eos(ModelDesc& desc, TokenId id) {
  for (TokenId known : desc.eos_ids) {
    if (known == id) return;
  }
  desc.eos_ids.push_back(id);
}

}  // namespace millrace::weights
