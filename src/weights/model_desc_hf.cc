// ModelDesc from a Hugging Face config.json. Keys and defaults: transformers 5.23,
// src/transformers/models/<type>/configuration_<type>.py and modeling_rope_utils.py; the older spelling of the rope
// fields (rope_theta, rope_scaling, rope_local_base_freq) is read too.
#include <fmt/core.h>

#include <cmath>
#include <optional>
#include <utility>

#include "base/macros.h"
#include "tensor/float16.h"
#include "weights/config_reader.h"
#include "weights/model_desc.h"
#include "weights/model_desc_rules.h"
#include "weights/name_check.h"

namespace millrace::weights {
namespace {

// What transformers assumes when a key is absent. 0: required, or derived as its comment says.
struct HfDefaults {
  std::string_view model_type;
  Architecture architecture;
  uint32_t n_heads;     // 0: required
  uint32_t n_kv_heads;  // 0: n_heads
  uint32_t head_dim;    // 0: hidden_size / n_heads
  uint32_t n_vocab;     // 0: required
  uint32_t max_len;
  uint32_t window;  // of a model that has one
  double rope_base;
  bool tied;
};
constexpr HfDefaults kHfDefaults[] = {
    {"llama", Architecture::kLlama, 0, 0, 0, 0, 2048, 0, 10000.0, false},
    {"mistral", Architecture::kLlama, 0, 8, 0, 0, 131072, 4096, 10000.0, false},
    {"qwen2", Architecture::kQwen2, 0, 32, 0, 0, 32768, 4096, 10000.0, false},
    {"qwen3", Architecture::kQwen3, 0, 32, 128, 0, 32768, 4096, 10000.0, false},
    {"gemma3_text", Architecture::kGemma3, 8, 4, 256, 262208, 131072, 4096, 1'000'000.0, true},
};

const HfDefaults* find_defaults(std::string_view model_type) {
  for (const HfDefaults& row : kHfDefaults) {
    if (row.model_type == model_type) return &row;
  }
  return nullptr;
}

struct Rope {
  double base = 10000.0;
  RopeScaling scaling;
  double rotated_share = 1.0;  // of head_dim
};

class HfDescBuilder {
 public:
  HfDescBuilder(const HfConfigs& configs, const ConfigReader& root, const ConfigReader& text,
                const HfDefaults& defaults)
      : configs_(configs), root_(root), text_(text), defaults_(defaults) {}

  Result<ModelDesc> run() {
    desc_.architecture = defaults_.architecture;
    desc_.file_kind = FileKind::kSafetensors;
    apply_architecture(desc_);
    TRY(refuse_unsupported());
    TRY(read_sizes());
    TRY(read_heads());
    TRY(read_rope());
    TRY(read_windows());
    TRY(read_scales());
    TRY(read_tokens());
    return std::move(desc_);
  }

 private:
  bool is_gemma() const { return desc_.architecture == Architecture::kGemma3; }
  static std::optional<int64_t> or_required(uint32_t value) {
    return value == 0 ? std::nullopt : std::optional<int64_t>(value);
  }
  Result<uint32_t> get_u32(std::string_view key, IntRange range, std::optional<int64_t> fallback = {}) const {
    return static_cast<uint32_t>(TRY(text_.get_int(key, range, fallback)));
  }

  Result<void> refuse_unsupported() const {
    if (root_.has("quantization_config")) {
      return root_.bad("quantization_config", " is not supported; use the original weights or a GGUF file");
    }
    for (std::string_view key : {"attention_bias", "mlp_bias", "use_bidirectional_attention"}) {
      if (TRY(text_.get_bool(key, false))) return text_.bad(key, " = true is not supported");
    }
    std::string_view act_key = is_gemma() && text_.has("hidden_activation") ? "hidden_activation" : "hidden_act";
    std::string wanted = is_gemma() ? "gelu_pytorch_tanh" : "silu";
    std::string found = TRY(text_.get_string(act_key, wanted));
    if (found != wanted) {
      return text_.bad(act_key, fmt::format(" = \"{}\" is not supported; want \"{}\"", show_name(found), wanted));
    }
    return {};
  }

  Result<void> read_sizes() {
    desc_.n_layers = TRY(get_u32("num_hidden_layers", kLayersRange));
    desc_.d_model = TRY(get_u32("hidden_size", kModelWidthRange));
    desc_.d_ff = TRY(get_u32("intermediate_size", kFfnWidthRange));
    desc_.n_vocab = TRY(get_u32("vocab_size", kVocabRange, or_required(defaults_.n_vocab)));
    desc_.max_len = TRY(get_u32("max_position_embeddings", kContextRange, defaults_.max_len));
    // A multimodal checkpoint says it at its root.
    bool tied = TRY(root_.get_bool("tie_word_embeddings", defaults_.tied));
    desc_.tied_embeddings = TRY(text_.get_bool("tie_word_embeddings", tied));
    return {};
  }

  Result<void> read_heads() {
    desc_.n_heads = TRY(get_u32("num_attention_heads", kHeadsRange, or_required(defaults_.n_heads)));
    bool says_null = text_.mentions("num_key_value_heads") && !text_.has("num_key_value_heads");
    uint32_t n_kv_heads = defaults_.n_kv_heads == 0 || says_null ? desc_.n_heads : defaults_.n_kv_heads;
    desc_.n_kv_heads = TRY(get_u32("num_key_value_heads", {1, desc_.n_heads}, n_kv_heads));
    if (desc_.n_kv_heads > desc_.n_heads) desc_.n_kv_heads = desc_.n_heads;
    int64_t head_dim = defaults_.head_dim != 0 ? defaults_.head_dim : desc_.d_model / desc_.n_heads;
    if (!text_.has("head_dim") && defaults_.head_dim == 0 && desc_.d_model % desc_.n_heads != 0) {
      return text_.bad("num_attention_heads",
                       fmt::format(" = {}: must divide hidden_size = {}", desc_.n_heads, desc_.d_model));
    }
    desc_.head_dim = TRY(get_u32("head_dim", kHeadDimRange, head_dim));
    return {};
  }

  Result<Rope> read_scaling(const ConfigReader& rope, double default_base) const {
    Rope out;
    out.base = TRY(rope.get_float("rope_theta", kRopeBaseRange, default_base));
    out.rotated_share = TRY(rope.get_float("partial_rotary_factor", {1e-3, 1.0}, 1.0));
    std::string_view type_key = rope.has("rope_type") ? "rope_type" : "type";
    std::string type = TRY(rope.get_string(type_key, "default"));
    if (type == "default") return out;
    if (type != "linear" && type != "llama3") {
      return rope.bad(type_key,
                      fmt::format(" = \"{}\" is not supported; supported: default, linear, llama3", show_name(type)));
    }
    out.scaling.kind = type == "linear" ? RopeScalingKind::kLinear : RopeScalingKind::kLlama3;
    out.scaling.factor = TRY(rope.get_float("factor", kRopeFactorRange));
    if (out.scaling.kind == RopeScalingKind::kLinear) return out;
    out.scaling.low_freq_factor = TRY(rope.get_float("low_freq_factor", kRopeFactorRange));
    out.scaling.high_freq_factor = TRY(rope.get_float("high_freq_factor", kRopeFactorRange));
    if (out.scaling.high_freq_factor <= out.scaling.low_freq_factor) {
      return rope.bad("high_freq_factor", fmt::format(" = {}: must be above low_freq_factor = {}",
                                                      out.scaling.high_freq_factor, out.scaling.low_freq_factor));
    }
    auto length = TRY(rope.get_int("original_max_position_embeddings", kContextRange, desc_.max_len));
    out.scaling.original_len = static_cast<double>(length);
    return out;
  }

  Result<void> read_rope() {
    desc_.rope_style = RopeStyle::kHalfSplit;
    double base = TRY(text_.get_float("rope_theta", kRopeBaseRange, defaults_.rope_base));
    double local_base = TRY(text_.get_float("rope_local_base_freq", kRopeBaseRange, kGemma3LocalRopeBase));
    Rope full{base, {}, 1.0};
    Rope window{is_gemma() ? local_base : base, {}, 1.0};
    std::optional<ConfigReader> parameters = TRY(text_.get_object("rope_parameters"));
    if (!parameters) parameters = TRY(text_.get_object("rope_scaling"));
    if (parameters) {
      std::optional<ConfigReader> full_part = TRY(parameters->get_object("full_attention"));
      std::optional<ConfigReader> window_part = TRY(parameters->get_object("sliding_attention"));
      if (full_part || window_part) {
        if (full_part) full = TRY(read_scaling(*full_part, base));
        if (window_part) window = TRY(read_scaling(*window_part, window.base));
      } else {
        full = TRY(read_scaling(*parameters, base));
        if (!is_gemma()) window = full;
      }
    }
    desc_.rope_base = full.base;
    desc_.rope_scaling = full.scaling;
    desc_.rope_base_window = window.base;
    desc_.rope_scaling_window = window.scaling;
    desc_.rope_dims = static_cast<uint32_t>(full.rotated_share * desc_.head_dim);
    if (window.rotated_share != full.rotated_share) {
      return text_.bad("rope_parameters", ": partial_rotary_factor must be the same in all layers");
    }
    return check_heads(desc_, {configs_.name, "num_attention_heads", "num_key_value_heads", "head_dim",
                               "partial_rotary_factor * head_dim"});
  }

  // Whether this model type has windows at all.
  Result<bool> has_windows() const {
    if (defaults_.window == 0) return false;
    bool qwen = desc_.architecture == Architecture::kQwen2 || desc_.architecture == Architecture::kQwen3;
    if (qwen) return text_.get_bool("use_sliding_window", false);
    return true;
  }

  Result<void> read_windows() {
    desc_.layer_window.assign(desc_.n_layers, 0);
    if (!TRY(has_windows())) return {};
    bool says_null = text_.mentions("sliding_window") && !text_.has("sliding_window");
    uint32_t window = TRY(get_u32("sliding_window", kWindowRange, says_null ? 0 : defaults_.window));
    if (text_.has("layer_types")) return read_layer_types(window);
    uint32_t first = 0;   // windowed layers start here
    uint32_t period = 0;  // every period-th layer sees everything; 0 = none does
    if (is_gemma()) {
      period = TRY(get_u32("sliding_window_pattern", {1, kLayersRange.max}, kGemma3Pattern));
    } else if (desc_.architecture != Architecture::kLlama) {
      first = TRY(get_u32("max_window_layers", {0, kLayersRange.max}, 28));
    }
    for (uint32_t i = first; i < desc_.n_layers; ++i) {
      if (period == 0 || (i + 1) % period != 0) desc_.layer_window[i] = window;
    }
    return {};
  }

  Result<void> read_layer_types(uint32_t window) {
    const Json* types = text_.find("layer_types");
    if (!types->is_array() || types->size() != desc_.n_layers) {
      return text_.bad("layer_types", fmt::format(": want an array of {} strings", desc_.n_layers));
    }
    for (uint32_t i = 0; i < desc_.n_layers; ++i) {
      const Json& type = types->as_array()[i];
      if (type == Json("sliding_attention")) {
        desc_.layer_window[i] = window;
      } else if (!(type == Json("full_attention"))) {
        return text_.bad("layer_types", fmt::format("[{}]: want \"full_attention\" or \"sliding_attention\"", i));
      }
    }
    return {};
  }

  Result<void> read_scales() {
    desc_.rms_eps = static_cast<float>(TRY(text_.get_float("rms_norm_eps", kEpsRange, 1e-6)));
    desc_.attention_softcap = static_cast<float>(TRY(text_.get_float("attn_logit_softcapping", kSoftcapRange, 0.0)));
    desc_.logit_softcap = static_cast<float>(TRY(text_.get_float("final_logit_softcapping", kSoftcapRange, 0.0)));
    double per_head = desc_.head_dim;
    if (is_gemma()) {
      per_head = TRY(text_.get_float("query_pre_attn_scalar", {1.0, 1e6}, 256.0));
      desc_.norm_weight_offset = 1.0f;
      TRY(read_embedding_scale());
    }
    desc_.attention_scale = static_cast<float>(1.0 / std::sqrt(per_head));
    return {};
  }

  // transformers keeps the scale in f32 and casts it to the dtype of the embedding (Gemma3TextScaledWordEmbedding).
  Result<void> read_embedding_scale() {
    auto scale = static_cast<float>(std::sqrt(static_cast<double>(desc_.d_model)));
    const ConfigReader& owner = text_.has("dtype") || text_.has("torch_dtype") ? text_ : root_;
    std::string dtype = TRY(owner.get_string(owner.has("dtype") ? "dtype" : "torch_dtype", "float32"));
    if (dtype == "bfloat16") scale = tensor::bf16_to_f32(tensor::f32_to_bf16(scale));
    if (dtype == "float16") scale = tensor::f16_to_f32(tensor::f32_to_f16(scale));
    desc_.embedding_scale = scale;
    return {};
  }

  Result<TokenId> get_token(const ConfigReader& reader, std::string_view key) const {
    return static_cast<TokenId>(TRY(reader.get_int(key, {kNoToken, int64_t{desc_.n_vocab} - 1}, kNoToken)));
  }

  // eos_token_id is an id or a list of ids.
  Result<void> read_eos(const ConfigReader& reader) {
    const Json* eos = reader.find("eos_token_id");
    if (eos == nullptr) return {};
    if (!eos->is_array()) {
      TokenId id = TRY(get_token(reader, "eos_token_id"));
      if (id != kNoToken) add_eos(desc_, id);
      return {};
    }
    for (const Json& id : eos->as_array()) {
      if (!id.is_int() || id.as_int() < 0 || id.as_int() >= desc_.n_vocab) {
        return reader.bad("eos_token_id", fmt::format(": every id must be 0..{}", desc_.n_vocab - 1));
      }
      add_eos(desc_, static_cast<TokenId>(id.as_int()));
    }
    return {};
  }

  Result<void> read_tokens() {
    const ConfigReader& owner = text_.has("eos_token_id") || text_.has("bos_token_id") ? text_ : root_;
    desc_.bos_id = TRY(get_token(owner, "bos_token_id"));
    // Fine-tuned files carry padding ids behind the vocabulary; padding is never fed to the model, so that is no error.
    auto pad = TRY(owner.get_int("pad_token_id", {kNoToken, UINT32_MAX}, kNoToken));
    desc_.pad_id = pad < desc_.n_vocab ? static_cast<TokenId>(pad) : kNoToken;
    TRY(read_eos(root_));
    TRY(read_eos(text_));
    if (configs_.generation_config != nullptr) {
      TRY(read_eos(ConfigReader(*configs_.generation_config, configs_.name, "generation_config.")));
    }
    if (configs_.tokenizer_config != nullptr) {
      ConfigReader tokenizer(*configs_.tokenizer_config, configs_.name, "tokenizer_config.");
      desc_.add_bos = TRY(tokenizer.get_bool("add_bos_token", false));
    }
    return {};
  }

  const HfConfigs& configs_;
  const ConfigReader& root_;
  const ConfigReader& text_;
  const HfDefaults& defaults_;
  ModelDesc desc_;
};

}  // namespace

Result<ModelDesc> model_desc_from_hf_config(const HfConfigs& configs) {
  CHECK(configs.config != nullptr && configs.config->is_object());
  ConfigReader root(*configs.config, configs.name);
  std::string model_type = TRY(root.get_string("model_type", ""));
  ConfigReader text = root;
  if (model_type == "gemma3") {  // multimodal: only its text part is read
    std::optional<ConfigReader> part = TRY(root.get_object("text_config"));
    if (!part) return root.bad("text_config", " is missing");
    text = *part;
    model_type = "gemma3_text";
  }
  if (model_type == "bert") return bert_desc_from_hf(configs);
  const HfDefaults* defaults = find_defaults(model_type);
  if (defaults == nullptr) return unknown_architecture(configs.name, model_type);
  return HfDescBuilder(configs, root, text, *defaults).run();
}

}  // namespace millrace::weights
