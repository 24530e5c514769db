#include "instance/model_text.h"

#include <algorithm>
#include <utility>

#include "base/byte_reader.h"
#include "base/macros.h"
#include "text/spec_vocab_txt.h"

namespace millrace::instance {
namespace {

constexpr weights::IntRange kAnyId{-1, INT32_MAX};
constexpr std::string_view kPrefix = "tokenizer.ggml.";

std::string key(std::string_view name) { return std::string(kPrefix) + std::string(name); }

// One of the flags of a vocabulary: 0, 1, or -1 when the file does not say.
Result<int> get_flag(const weights::GgufFile& gguf, std::string_view name) {
  if (!gguf.has_key(key(name))) return -1;
  bool value = TRY(gguf.get_bool(key(name)));
  return value ? 1 : 0;
}

struct IdField {
  std::string_view name;
  int64_t text::GgufVocab::*field;
};
constexpr IdField kIdFields[] = {
    {"bos_token_id", &text::GgufVocab::bos},       {"eos_token_id", &text::GgufVocab::eos},
    {"eot_token_id", &text::GgufVocab::eot},       {"eom_token_id", &text::GgufVocab::eom},
    {"padding_token_id", &text::GgufVocab::pad},   {"unknown_token_id", &text::GgufVocab::unk},
    {"seperator_token_id", &text::GgufVocab::sep}, {"cls_token_id", &text::GgufVocab::cls},
    {"mask_token_id", &text::GgufVocab::mask},
};

struct FlagField {
  std::string_view name;
  int text::GgufVocab::*field;
};
constexpr FlagField kFlagFields[] = {
    {"add_bos_token", &text::GgufVocab::add_bos},
    {"add_eos_token", &text::GgufVocab::add_eos},
    {"add_sep_token", &text::GgufVocab::add_sep},
    {"add_space_prefix", &text::GgufVocab::add_space_prefix},
    {"remove_extra_whitespaces", &text::GgufVocab::remove_extra_whitespaces},
};

Result<std::vector<std::string>> get_strings(const weights::GgufFile& gguf, std::string_view name) {
  std::vector<std::string_view> views = TRY(gguf.get_strings(key(name)));
  return std::vector<std::string>(views.begin(), views.end());
}

Result<text::GgufVocab> read_vocab(const weights::GgufFile& gguf) {
  text::GgufVocab vocab;
  vocab.model = TRY(gguf.get_string(key("model")));
  vocab.pre = TRY(gguf.get_string(key("pre"), std::string_view()));
  vocab.tokens = TRY(get_strings(gguf, "tokens"));
  if (gguf.has_key(key("merges"))) vocab.merges = TRY(get_strings(gguf, "merges"));
  if (gguf.has_key(key("scores"))) vocab.scores = TRY(gguf.get_floats(key("scores")));
  if (gguf.has_key(key("token_type"))) {
    std::vector<int64_t> types = TRY(gguf.get_ints(key("token_type")));
    for (int64_t type : types) vocab.types.push_back(static_cast<int32_t>(std::clamp<int64_t>(type, -1, INT32_MAX)));
  }
  if (const weights::GgufValue* charsmap = gguf.find(key("precompiled_charsmap")))
    vocab.charsmap = as_text(charsmap->bytes);
  for (const IdField& row : kIdFields) vocab.*row.field = TRY(gguf.get_int(key(row.name), kAnyId, kNoToken));
  for (const FlagField& row : kFlagFields) vocab.*row.field = TRY(get_flag(gguf, row.name));
  return vocab;
}

void take_float(const Json& config, std::string_view name, std::optional<float>& out) {
  const Json* value = config.get(name);
  if (value != nullptr && value->is_number()) out = static_cast<float>(value->as_double());
}

}  // namespace

Result<text::TokenizerSpec> load_tokenizer_spec(const weights::ModelFile& file) {
  if (const weights::GgufFile* gguf = file.gguf()) {
    text::GgufVocab vocab = TRY(read_vocab(*gguf));
    return text::spec_from_gguf(vocab);
  }
  const weights::SafetensorsDir* folder = file.safetensors();
  if (!folder->tokenizer_json() && folder->vocab_txt()) {
    return text::spec_from_vocab_txt(*folder->vocab_txt(), folder->tokenizer_config());
  }
  if (!folder->tokenizer_json()) return Error{ErrorCode::kNotFound, folder->folder() + ": no tokenizer.json", ""};
  const Json* config = folder->tokenizer_config();
  return text::spec_from_tokenizer_text(*folder->tokenizer_json(), config == nullptr ? "" : config->dump());
}

std::optional<std::string> chat_template_source(const weights::ModelFile& file) {
  if (const weights::GgufFile* gguf = file.gguf()) {
    auto text = gguf->get_string("tokenizer.chat_template", std::string_view());
    if (text.ok() && !text->empty()) return std::string(*text);
    return std::nullopt;
  }
  const weights::SafetensorsDir* folder = file.safetensors();
  if (folder->chat_template()) return *folder->chat_template();
  const Json* config = folder->tokenizer_config();
  const Json* text = config == nullptr ? nullptr : config->get("chat_template");
  if (text == nullptr || !text->is_string()) return std::nullopt;
  return text->as_string();
}

Result<text::Tokenizer> load_tokenizer(const weights::ModelFile& file, const Limits& limits) {
  text::TokenizerSpec spec = TRY(load_tokenizer_spec(file));
  TRY(text::check_embedding_rows(spec, file.desc().n_vocab));
  return text::Tokenizer::create(std::move(spec), static_cast<uint32_t>(limits[LimitId::kMatchSteps]));
}

std::string vocab_type(const weights::ModelFile& file) {
  if (const weights::GgufFile* gguf = file.gguf()) {
    auto model = gguf->get_string(key("model"), std::string_view());
    return model.ok() ? std::string(*model) : "";
  }
  const Json* config = file.safetensors()->tokenizer_config();
  const Json* name = config == nullptr ? nullptr : config->get("tokenizer_class");
  return name != nullptr && name->is_string() ? name->as_string() : "";
}

Result<std::optional<text::ChatTemplate>> load_chat_template(const weights::ModelFile& file,
                                                             const std::string& override_text, const Limits& limits) {
  std::optional<std::string> source = override_text.empty() ? chat_template_source(file) : override_text;
  if (!source) return std::optional<text::ChatTemplate>();
  Result<text::ChatTemplate> parsed = text::ChatTemplate::parse(*source, limits);
  if (!parsed.ok()) return Error{ErrorCode::kBadFile, "chat template: " + parsed.error().message, "--chat-template"};
  return std::optional<text::ChatTemplate>(std::move(parsed).value());
}

api::SamplingDefaults load_defaults(const weights::ModelFile& file, bool use_generation_config,
                                    const api::SamplingDefaults& over) {
  api::SamplingDefaults defaults;
  const Json* config = file.safetensors() == nullptr ? nullptr : file.safetensors()->generation_config();
  if (config != nullptr && use_generation_config) {
    take_float(*config, "temperature", defaults.temperature);
    take_float(*config, "top_p", defaults.top_p);
    take_float(*config, "min_p", defaults.min_p);
    take_float(*config, "repetition_penalty", defaults.repetition_penalty);
    const Json* top_k = config->get("top_k");
    if (top_k != nullptr && top_k->is_int())
      defaults.top_k = static_cast<int32_t>(std::clamp<int64_t>(top_k->as_int(), -1, INT32_MAX));
    const Json* max_tokens = config->get("max_new_tokens");
    if (max_tokens != nullptr && max_tokens->is_int()) defaults.max_tokens = max_tokens->as_int();
  }
  if (over.temperature) defaults.temperature = over.temperature;
  if (over.top_k) defaults.top_k = over.top_k;
  if (over.top_p) defaults.top_p = over.top_p;
  if (over.min_p) defaults.min_p = over.min_p;
  if (over.repetition_penalty) defaults.repetition_penalty = over.repetition_penalty;
  if (over.max_tokens) defaults.max_tokens = over.max_tokens;
  if (over.seed) defaults.seed = over.seed;
  return defaults;
}

std::vector<TokenId> end_tokens(const weights::ModelFile& file, const text::Tokenizer& tokenizer) {
  std::vector<TokenId> ids = file.desc().eos_ids;
  ids.insert(ids.end(), tokenizer.eog_ids().begin(), tokenizer.eog_ids().end());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

}  // namespace millrace::instance
