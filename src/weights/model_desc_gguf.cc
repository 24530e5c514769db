// ModelDesc from GGUF metadata. Key names: the public GGUF specification, and llama.cpp's gguf-py/gguf/constants.py.
#include <fmt/core.h>

#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include "base/macros.h"
#include "weights/gguf.h"
#include "weights/model_desc.h"
#include "weights/model_desc_rules.h"

namespace millrace::weights {
namespace {

// Texts of tokens that end a turn, whatever the metadata says (llama.cpp src/llama-vocab.cpp, special_eog_ids).
constexpr std::array<std::string_view, 7> kEndOfTurnTexts = {"<|eot_id|>",    "<|im_end|>", "<|end|>", "<end_of_turn>",
                                                             "<|endoftext|>", "<|eom_id|>", "<EOT>"};

class GgufDescBuilder {
 public:
  explicit GgufDescBuilder(const GgufFile& file) : file_(file) {}

  Result<ModelDesc> run() {
    TRY(read_architecture());
    TRY(read_sizes());
    TRY(read_heads());
    TRY(read_rope());
    TRY(read_windows());
    TRY(read_scales());
    TRY(read_tokens());
    return std::move(desc_);
  }

 private:
  std::string key(std::string_view tail) const {
    return fmt::format("{}.{}", architecture_name(desc_.architecture), tail);
  }
  Error bad(std::string_view what) const {
    return {ErrorCode::kBadFile, fmt::format("{}: {}", file_.name(), what), file_.name()};
  }
  Result<uint32_t> get_u32(std::string_view tail, IntRange range, std::optional<int64_t> fallback = {}) const {
    return static_cast<uint32_t>(TRY(file_.get_int(key(tail), range, fallback)));
  }

  Result<void> read_architecture() {
    if (!file_.has_key("general.architecture")) return unknown_architecture(file_.name(), "");
    std::string_view found = TRY(file_.get_string("general.architecture"));
    std::optional<Architecture> known;
    for (Architecture each :
         {Architecture::kLlama, Architecture::kQwen2, Architecture::kQwen3, Architecture::kGemma3}) {
      if (architecture_name(each) == found) known = each;
    }
    if (!known) return unknown_architecture(file_.name(), found);
    desc_.architecture = *known;
    desc_.file_kind = FileKind::kGguf;
    desc_.name = quote_for_message(TRY(file_.get_string("general.name", "")), 128);
    apply_architecture(desc_);
    return {};
  }

  Result<void> read_sizes() {
    desc_.n_layers = TRY(get_u32("block_count", kLayersRange));
    desc_.max_len = TRY(get_u32("context_length", kContextRange));
    desc_.d_model = TRY(get_u32("embedding_length", kModelWidthRange));
    desc_.d_ff = TRY(get_u32("feed_forward_length", kFfnWidthRange));
    TRY(get_u32("expert_count", {0, 0}, 0));  // mixtures of experts are not supported
    std::string vocab_key = key("vocab_size");
    if (file_.has("token_embd.weight")) {
      int64_t rows = TRY(file_.tensor("token_embd.weight")).rows();
      if (rows > kVocabRange.max)
        return bad(fmt::format("token_embd.weight has {} rows, limit {}", rows, kVocabRange.max));
      desc_.n_vocab = static_cast<uint32_t>(rows);
      TRY(file_.get_int(vocab_key, kVocabRange, 1));
    } else {
      desc_.n_vocab = static_cast<uint32_t>(TRY(file_.get_int(vocab_key, kVocabRange)));
    }
    desc_.tied_embeddings = !file_.has("output.weight");
    return {};
  }

  Result<void> read_heads() {
    desc_.n_heads = TRY(get_u32("attention.head_count", kHeadsRange));
    desc_.n_kv_heads = TRY(get_u32("attention.head_count_kv", {1, desc_.n_heads}, desc_.n_heads));
    if (file_.has_key(key("attention.key_length"))) {
      desc_.head_dim = TRY(get_u32("attention.key_length", kHeadDimRange));
    } else {
      if (desc_.d_model % desc_.n_heads != 0) {
        return bad(fmt::format("{} = {}: must divide {} = {}", key("attention.head_count"), desc_.n_heads,
                               key("embedding_length"), desc_.d_model));
      }
      desc_.head_dim = desc_.d_model / desc_.n_heads;
    }
    TRY(get_u32("attention.value_length", {desc_.head_dim, desc_.head_dim}, desc_.head_dim));
    desc_.rope_dims = TRY(get_u32("rope.dimension_count", {2, kHeadDimRange.max}, desc_.head_dim));
    return check_heads(desc_, {file_.name(), key("attention.head_count"), key("attention.head_count_kv"),
                               key("attention.key_length"), key("rope.dimension_count")});
  }

  Result<void> read_rope() {
    desc_.rope_style = desc_.architecture == Architecture::kLlama ? RopeStyle::kInterleaved : RopeStyle::kHalfSplit;
    desc_.rope_base = TRY(file_.get_float(key("rope.freq_base"), kRopeBaseRange, 10000.0));
    std::string_view type = TRY(file_.get_string(key("rope.scaling.type"), "none"));
    if (type == "linear") {
      desc_.rope_scaling.kind = RopeScalingKind::kLinear;
      desc_.rope_scaling.factor = TRY(file_.get_float(key("rope.scaling.factor"), kRopeFactorRange, 1.0));
    } else if (type != "none") {
      return bad(fmt::format("{} = \"{}\" is not supported; supported: none, linear", key("rope.scaling.type"),
                             quote_for_message(type)));
    } else if (file_.has_key(key("rope.scale_linear"))) {  // the older key
      desc_.rope_scaling.kind = RopeScalingKind::kLinear;
      desc_.rope_scaling.factor = TRY(file_.get_float(key("rope.scale_linear"), kRopeFactorRange));
    }
    if (file_.has("rope_freqs.weight")) desc_.rope_scaling.kind = RopeScalingKind::kFactors;
    bool gemma = desc_.architecture == Architecture::kGemma3;
    desc_.rope_base_window = gemma ? kGemma3LocalRopeBase : desc_.rope_base;
    if (!gemma) desc_.rope_scaling_window = desc_.rope_scaling;
    return {};
  }

  // llama: one window for all layers (Mistral); gemma3: a window on all but every 6th layer; qwen: none.
  Result<void> read_windows() {
    desc_.layer_window.assign(desc_.n_layers, 0);
    bool gemma = desc_.architecture == Architecture::kGemma3;
    if (!gemma && desc_.architecture != Architecture::kLlama) return {};
    std::optional<int64_t> absent;
    if (!gemma) absent = 0;
    uint32_t window = TRY(get_u32("attention.sliding_window", kWindowRange, absent));
    std::vector<bool> windowed = TRY(read_pattern(gemma ? kGemma3Pattern : 0));
    for (uint32_t i = 0; i < desc_.n_layers; ++i) {
      if (windowed[i]) desc_.layer_window[i] = window;
    }
    return {};
  }

  // period 0: every layer has a window.
  Result<std::vector<bool>> read_pattern(uint32_t period) const {
    std::string pattern_key = key("attention.sliding_window_pattern");
    const GgufValue* value = file_.find(pattern_key);
    std::vector<bool> windowed(desc_.n_layers);
    if (value != nullptr && value->type == GgufType::kArray) {
      std::vector<int64_t> flags = TRY(file_.get_ints(pattern_key));
      if (flags.size() < desc_.n_layers) {
        return bad(fmt::format("{} has {} entries, want {}", pattern_key, flags.size(), desc_.n_layers));
      }
      for (uint32_t i = 0; i < desc_.n_layers; ++i) windowed[i] = flags[i] != 0;
      return windowed;
    }
    int64_t every = TRY(file_.get_int(pattern_key, {0, kLayersRange.max}, period));
    for (uint32_t i = 0; i < desc_.n_layers; ++i) windowed[i] = every == 0 || (i + 1) % every != 0;
    return windowed;
  }

  Result<void> read_scales() {
    desc_.rms_eps = static_cast<float>(TRY(file_.get_float(key("attention.layer_norm_rms_epsilon"), kEpsRange)));
    desc_.attention_softcap =
        static_cast<float>(TRY(file_.get_float(key("attn_logit_softcapping"), kSoftcapRange, 0.0)));
    desc_.logit_softcap = static_cast<float>(TRY(file_.get_float(key("final_logit_softcapping"), kSoftcapRange, 0.0)));
    double per_head = desc_.head_dim;
    if (desc_.architecture == Architecture::kGemma3) {
      desc_.embedding_scale = std::sqrt(static_cast<float>(desc_.d_model));
      // Gemma 3 27B alone has query_pre_attn_scalar = d_model / n_heads; GGUF does not store it
      // (llama.cpp src/llama-model.cpp, LLM_ARCH_GEMMA3).
      constexpr uint32_t kLayersOf27B = 62;
      if (desc_.n_layers == kLayersOf27B) per_head = static_cast<double>(desc_.d_model) / desc_.n_heads;
    }
    desc_.attention_scale = static_cast<float>(1.0 / std::sqrt(per_head));
    return {};
  }

  Result<TokenId> get_token(std::string_view token_key) const {
    return static_cast<TokenId>(TRY(file_.get_int(token_key, {0, int64_t{desc_.n_vocab} - 1}, kNoToken)));
  }

  Result<void> read_tokens() {
    desc_.bos_id = TRY(get_token("tokenizer.ggml.bos_token_id"));
    // Fine-tuned files carry padding ids behind the vocabulary; padding is never fed to the model, so that is no error.
    auto pad = TRY(file_.get_int("tokenizer.ggml.padding_token_id", {0, UINT32_MAX}, kNoToken));
    desc_.pad_id = pad < desc_.n_vocab ? static_cast<TokenId>(pad) : kNoToken;
    for (std::string_view end :
         {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
      TokenId id = TRY(get_token(end));
      if (id != kNoToken) add_eos(desc_, id);
    }
    if (file_.has_key("tokenizer.ggml.tokens")) {
      std::vector<std::string_view> tokens = TRY(file_.get_strings("tokenizer.ggml.tokens"));
      if (tokens.size() > desc_.n_vocab) {
        return bad(
            fmt::format("tokenizer.ggml.tokens has {} entries, the embedding {} rows", tokens.size(), desc_.n_vocab));
      }
      for (size_t i = 0; i < tokens.size(); ++i) {
        for (std::string_view text : kEndOfTurnTexts) {
          if (tokens[i] == text) add_eos(desc_, static_cast<TokenId>(i));
        }
      }
    }
    // Defaults of llama.cpp src/llama-vocab.cpp: sentencepiece models and the Llama 3 tokenizer start with bos.
    std::string_view model = TRY(file_.get_string("tokenizer.ggml.model", ""));
    std::string_view pre = TRY(file_.get_string("tokenizer.ggml.pre", ""));
    bool by_default = model == "llama" || pre == "llama3" || pre == "llama-v3" || pre == "llama-bpe";
    desc_.add_bos = TRY(file_.get_bool("tokenizer.ggml.add_bos_token", by_default));
    return {};
  }

  const GgufFile& file_;
  ModelDesc desc_;
};

}  // namespace

Result<ModelDesc> model_desc_from_gguf(const GgufFile& file) {
  Result<std::string_view> name = file.get_string("general.architecture", std::string_view());
  if (name.ok() && *name == architecture_name(Architecture::kBert)) return bert_desc_from_gguf(file);
  return GgufDescBuilder(file).run();
}

}  // namespace millrace::weights
