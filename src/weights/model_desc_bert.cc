// ModelDesc of BERT. Keys and defaults: transformers 5.23 models/bert/configuration_bert.py, sentence-transformers'
// 1_Pooling/config.json and sentence_bert_config.json; llama.cpp gguf-py/gguf/constants.py.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "base/macros.h"
#include "weights/config_reader.h"
#include "weights/gguf.h"
#include "weights/model_desc_rules.h"
#include "weights/name_check.h"

namespace millrace::weights {
namespace {

constexpr IntRange kTypesRange{1, 1024};
constexpr IntRange kLabelsRange{1, 4096};
constexpr IntRange kPositionsRange{1, 1'048'576};

Error bad_heads(std::string_view file, const ModelDesc& desc) {
  return {ErrorCode::kBadFile,
          fmt::format("{}: {} attention heads: must divide the width {} into parts of an even size", file, desc.n_heads,
                      desc.d_model),
          std::string(file)};
}

// What follows from the sizes; heads have no rotation.
Result<void> finish(ModelDesc& desc, std::string_view file) {
  desc.n_kv_heads = desc.n_heads;
  if (desc.d_model % desc.n_heads != 0) return bad_heads(file, desc);
  desc.head_dim = desc.d_model / desc.n_heads;
  if (desc.head_dim % 2 != 0) return bad_heads(file, desc);
  desc.attention_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(desc.head_dim)));
  desc.layer_window.assign(desc.n_layers, 0);
  return {};
}

class BertHfBuilder {
 public:
  explicit BertHfBuilder(const HfConfigs& configs) : configs_(configs), root_(*configs.config, configs.name) {}

  Result<ModelDesc> run() {
    desc_.architecture = Architecture::kBert;
    desc_.file_kind = FileKind::kSafetensors;
    apply_architecture(desc_);
    TRY(refuse_unsupported());
    desc_.n_layers = TRY(get_u32("num_hidden_layers", kLayersRange, 12));
    desc_.d_model = TRY(get_u32("hidden_size", kModelWidthRange, 768));
    desc_.d_ff = TRY(get_u32("intermediate_size", kFfnWidthRange, 3072));
    desc_.n_heads = TRY(get_u32("num_attention_heads", kHeadsRange, 12));
    desc_.n_vocab = TRY(get_u32("vocab_size", kVocabRange, 30522));
    desc_.max_len = TRY(get_u32("max_position_embeddings", kPositionsRange, 512));
    desc_.n_token_types = TRY(get_u32("type_vocab_size", kTypesRange, 2));
    desc_.rms_eps = static_cast<float>(TRY(root_.get_float("layer_norm_eps", kEpsRange, 1e-12)));
    desc_.pad_id = static_cast<TokenId>(TRY(root_.get_int("pad_token_id", {kNoToken, desc_.n_vocab - 1}, 0)));
    TRY(finish(desc_, configs_.name));
    TRY(read_labels());
    TRY(read_usual_len());
    TRY(read_pooling());
    return std::move(desc_);
  }

 private:
  Result<uint32_t> get_u32(std::string_view key, IntRange range, int64_t fallback) const {
    return static_cast<uint32_t>(TRY(root_.get_int(key, range, fallback)));
  }

  Result<void> refuse_unsupported() const {
    if (root_.has("quantization_config")) {
      return root_.bad("quantization_config", " is not supported; use the original weights or a GGUF file");
    }
    for (std::string_view key : {"is_decoder", "add_cross_attention"}) {
      if (TRY(root_.get_bool(key, false))) return root_.bad(key, " = true is not supported");
    }
    constexpr std::pair<std::string_view, std::string_view> kFixed[] = {{"hidden_act", "gelu"},
                                                                        {"position_embedding_type", "absolute"}};
    for (const auto& [key, wanted] : kFixed) {
      std::string found = TRY(root_.get_string(key, std::string(wanted)));
      if (found != wanted) {
        return root_.bad(key, fmt::format(" = \"{}\" is not supported; want \"{}\"", show_name(found), wanted));
      }
    }
    return {};
  }

  // Only a checkpoint of BertForSequenceClassification has the head; two labels are its default.
  Result<void> read_labels() {
    const Json* architectures = root_.find("architectures");
    bool head = architectures != nullptr && architectures->is_array() && architectures->size() > 0 &&
                architectures->as_array()[0] == Json("BertForSequenceClassification");
    if (!head) return {};
    const Json* labels = root_.find("id2label");
    int64_t n = labels != nullptr && labels->is_object() ? static_cast<int64_t>(labels->size()) : 2;
    desc_.n_labels = static_cast<uint32_t>(TRY(root_.get_int("num_labels", kLabelsRange, n)));
    return {};
  }

  Result<void> read_usual_len() {
    if (configs_.sentence_config == nullptr) return {};
    ConfigReader sentence(*configs_.sentence_config, configs_.name, "sentence_bert_config.");
    auto length = TRY(sentence.get_int("max_seq_length", kPositionsRange, desc_.max_len));
    desc_.usual_len = static_cast<uint32_t>(std::min<int64_t>(length, desc_.max_len));
    return {};
  }

  Result<void> read_pooling() {
    if (configs_.pooling_config == nullptr) return {};
    ConfigReader pooling(*configs_.pooling_config, configs_.name, "1_Pooling.");
    constexpr std::pair<std::string_view, EmbeddingRule> kModes[] = {
        {"pooling_mode_cls_token", EmbeddingRule::kFirst},
        {"pooling_mode_mean_tokens", EmbeddingRule::kMean},
        {"pooling_mode_lasttoken", EmbeddingRule::kLast},
        {"pooling_mode_max_tokens", EmbeddingRule::kUnset},
        {"pooling_mode_mean_sqrt_len_tokens", EmbeddingRule::kUnset},
        {"pooling_mode_weightedmean_tokens", EmbeddingRule::kUnset}};
    int n_set = 0;
    for (const auto& [key, rule] : kModes) {
      if (!TRY(pooling.get_bool(key, false))) continue;
      if (rule == EmbeddingRule::kUnset || ++n_set > 1) {
        return pooling.bad(key, " = true is not supported: one of cls, mean and last token is");
      }
      desc_.embedding_rule = rule;
    }
    return {};
  }

  const HfConfigs& configs_;
  ConfigReader root_;
  ModelDesc desc_;
};

}  // namespace

Result<ModelDesc> bert_desc_from_hf(const HfConfigs& configs) { return BertHfBuilder(configs).run(); }

Result<ModelDesc> bert_desc_from_gguf(const GgufFile& file) {
  ModelDesc desc;
  desc.architecture = Architecture::kBert;
  desc.file_kind = FileKind::kGguf;
  desc.name = quote_for_message(TRY(file.get_string("general.name", "")), 128);
  apply_architecture(desc);
  auto get = [&file](std::string_view key, IntRange range, std::optional<int64_t> fallback = {}) -> Result<uint32_t> {
    return static_cast<uint32_t>(TRY(file.get_int(key, range, fallback)));
  };
  desc.n_layers = TRY(get("bert.block_count", kLayersRange));
  desc.max_len = TRY(get("bert.context_length", kPositionsRange));
  desc.d_model = TRY(get("bert.embedding_length", kModelWidthRange));
  desc.d_ff = TRY(get("bert.feed_forward_length", kFfnWidthRange));
  desc.n_heads = TRY(get("bert.attention.head_count", kHeadsRange));
  desc.rms_eps = static_cast<float>(TRY(file.get_float("bert.attention.layer_norm_epsilon", kEpsRange)));
  desc.n_token_types = TRY(get("tokenizer.ggml.token_type_count", kTypesRange, 2));
  desc.n_vocab = static_cast<uint32_t>(TRY(file.get_int("bert.vocab_size", kVocabRange, 1)));
  if (file.has("token_embd.weight")) {
    int64_t rows = TRY(file.tensor("token_embd.weight")).rows();
    if (rows > kVocabRange.max) {
      std::string what = fmt::format("{}: token_embd.weight has {} rows, limit {}", file.name(), rows, kVocabRange.max);
      return Error{ErrorCode::kBadFile, std::move(what), file.name()};
    }
    desc.n_vocab = static_cast<uint32_t>(rows);
  }
  if (file.has("cls.output.weight")) {
    int64_t rows = TRY(file.tensor("cls.output.weight")).rows();
    desc.n_labels = static_cast<uint32_t>(std::min<int64_t>(rows, kLabelsRange.max));
  }
  constexpr EmbeddingRule kRules[] = {EmbeddingRule::kUnset, EmbeddingRule::kMean, EmbeddingRule::kFirst,
                                      EmbeddingRule::kLast, EmbeddingRule::kUnset};  // llama.h, llama_pooling_type
  desc.embedding_rule = kRules[TRY(get("bert.pooling_type", {0, 4}, 0))];
  TRY(finish(desc, file.name()));
  return desc;
}

}  // namespace millrace::weights
