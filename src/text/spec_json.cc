// TokenizerSpec from tokenizer.json and tokenizer_config.json.
#include <algorithm>
#include <array>
#include <utility>

#include "base/macros.h"
#include "text/spec_check.h"
#include "text/spec_steps.h"
#include "text/tokenizer_spec.h"
#include "text/vocabulary.h"

namespace millrace::text {
namespace {

constexpr uint32_t kMaxNodes = 20'000'000;  // 2M tokens and 4M merges of three values each
constexpr int64_t kMaxWordChars = 1000;     // WordPiece is quadratic in the length of a word

// Makes room for id and puts the piece there; two pieces with one id are an error.
Result<void> place_token(TokenizerSpec& spec, const std::string& piece, int64_t id) {
  if (id < 0 || id >= static_cast<int64_t>(max_vocabulary())) {
    return spec_error(fmt::format("token {} has id {}: must be 0..{}", quoted(piece), id, max_vocabulary() - 1));
  }
  const auto at = static_cast<size_t>(id);
  if (at >= spec.tokens.size()) {
    spec.tokens.resize(at + 1);
    spec.types.resize(at + 1, TokenType::kUnused);
  }
  if (spec.types[at] != TokenType::kUnused) {
    return spec_error(fmt::format("token id {} is both {} and {}", id, quoted(spec.tokens[at]), quoted(piece)));
  }
  spec.tokens[at] = piece;
  spec.types[at] = TokenType::kNormal;
  return {};
}

Result<void> read_vocabulary(const Json& model, TokenizerSpec& spec) {
  const Json* vocab = model.get("vocab");
  if (vocab == nullptr || !(spec.kind == TokenizerKind::kUnigram ? vocab->is_array() : vocab->is_object())) {
    return spec_error("model.vocab is missing or of the wrong type");
  }
  if (vocab->size() > max_vocabulary()) {
    return spec_error(fmt::format("vocabulary of {} tokens: must be 1..{}", vocab->size(), max_vocabulary()));
  }
  if (spec.kind != TokenizerKind::kUnigram) {
    for (const auto& [piece, id] : vocab->as_object().members) {
      if (!id.is_int()) return spec_error(fmt::format("token {} has an id that is no integer", quoted(piece)));
      TRY(place_token(spec, piece, id.as_int()));
    }
    return {};
  }
  for (const Json& entry : vocab->as_array()) {
    const bool good =
        entry.is_array() && entry.size() == 2 && entry.as_array()[0].is_string() && entry.as_array()[1].is_number();
    if (!good) return spec_error(fmt::format("model.vocab entry {} is not [piece, score]", spec.tokens.size()));
    spec.scores.push_back(entry.as_array()[1].as_double());
    TRY(place_token(spec, entry.as_array()[0].as_string(), static_cast<int64_t>(spec.tokens.size())));
  }
  return {};
}

Result<void> read_merges(const Json& model, TokenizerSpec& spec) {
  const Json* merges = model.get("merges");
  if (merges == nullptr) return {};
  if (!merges->is_array()) return spec_error("model.merges is not a list");
  if (merges->size() > max_merges()) {
    return spec_error(fmt::format("{} merges, limit {}", merges->size(), max_merges()));
  }
  PieceIds ids;
  ids.reserve(spec.tokens.size());
  for (size_t i = 0; i < spec.tokens.size(); ++i) ids.emplace(spec.tokens[i], static_cast<TokenId>(i));
  spec.merges.reserve(merges->size());
  for (const Json& entry : merges->as_array()) {
    const size_t index = spec.merges.size();
    std::string_view left;
    std::string_view right;
    if (entry.is_string()) {
      const std::string_view text = entry.as_string();
      const size_t space = text.find(' ');
      if (space == std::string_view::npos) {
        return spec_error(fmt::format("merge {}: {} is not two tokens", index, quoted(text)));
      }
      left = text.substr(0, space);
      right = text.substr(space + 1);
    } else if (entry.is_array() && entry.size() == 2 && entry.as_array()[0].is_string() &&
               entry.as_array()[1].is_string()) {
      left = entry.as_array()[0].as_string();
      right = entry.as_array()[1].as_string();
    } else {
      return spec_error(fmt::format("merge {} is not two tokens", index));
    }
    spec.merges.push_back(TRY(find_merge(ids, index, left, right)));
  }
  return {};
}

Result<TokenizerKind> read_kind(const Json& model) {
  const std::string type = TRY(string_member(model, "type", ""));
  if (type == "BPE") return TokenizerKind::kBpe;
  if (type == "Unigram") return TokenizerKind::kUnigram;
  if (type == "WordPiece") return TokenizerKind::kWordPiece;
  if (!type.empty()) return spec_error(fmt::format("unsupported model {}", quoted(type)));
  // Files of before 2021 name no type.
  if (model.get("merges") != nullptr) return TokenizerKind::kBpe;
  const Json* vocab = model.get("vocab");
  if (vocab != nullptr && vocab->is_array()) return TokenizerKind::kUnigram;
  if (model.get("max_input_chars_per_word") != nullptr) return TokenizerKind::kWordPiece;
  return spec_error("unsupported model \"\"");
}

TokenId find_piece(const TokenizerSpec& spec, std::string_view content) {
  if (content.empty()) return kNoToken;
  for (const AddedToken& token : spec.added) {
    if (token.content == content) return token.id;
  }
  const auto found = std::find(spec.tokens.begin(), spec.tokens.end(), content);
  return found == spec.tokens.end() ? kNoToken : static_cast<TokenId>(found - spec.tokens.begin());
}

Result<void> read_model(const Json& model, TokenizerSpec& spec) {
  spec.kind = TRY(read_kind(model));
  TRY(read_vocabulary(model, spec));
  TRY(read_merges(model, spec));
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (spec.kind == TokenizerKind::kBpe && !TRY(string_member(model, key, "")).empty()) {
      return spec_error(fmt::format("unsupported BPE option \"{}\"", key));
    }
  }
  spec.byte_fallback = TRY(bool_member(model, "byte_fallback", false));
  spec.ignore_merges = TRY(bool_member(model, "ignore_merges", false));
  spec.fuse_unk = TRY(bool_member(model, "fuse_unk", false));
  if (spec.kind == TokenizerKind::kUnigram) {
    const int64_t unk = TRY(int_member(model, "unk_id", kNoToken));
    if (unk < kNoToken || unk >= static_cast<int64_t>(spec.tokens.size())) {
      return spec_error(fmt::format("unk_id {} outside vocabulary of {} tokens", unk, spec.tokens.size()));
    }
    spec.model_unk = static_cast<TokenId>(unk);
  } else {
    const std::string unk = TRY(string_member(model, "unk_token", ""));
    if (!unk.empty()) spec.model_unk = find_piece(spec, unk);
  }
  if (spec.kind == TokenizerKind::kWordPiece) {
    spec.continuing_prefix = TRY(string_member(model, "continuing_subword_prefix", "##"));
    const int64_t chars = TRY(int_member(model, "max_input_chars_per_word", 100));
    if (chars < 1 || chars > kMaxWordChars) {
      return spec_error(fmt::format("max_input_chars_per_word {}: must be 1..{}", chars, kMaxWordChars));
    }
    spec.max_word_chars = static_cast<uint32_t>(chars);
  }
  return {};
}

Result<AddedToken> read_added(const Json& json, int64_t id) {
  AddedToken out;
  out.content = TRY(string_member(json, "content", ""));
  if (out.content.empty()) return spec_error(fmt::format("added token {} has no content", id));
  if (id < 0 || id >= static_cast<int64_t>(max_vocabulary())) {
    return spec_error(
        fmt::format("added token {} has id {}: must be 0..{}", quoted(out.content), id, max_vocabulary() - 1));
  }
  out.id = static_cast<TokenId>(id);
  out.special = TRY(bool_member(json, "special", false));
  out.lstrip = TRY(bool_member(json, "lstrip", false));
  out.rstrip = TRY(bool_member(json, "rstrip", false));
  out.single_word = TRY(bool_member(json, "single_word", false));
  out.normalized = TRY(bool_member(json, "normalized", !out.special));
  return out;
}

// The token joins the vocabulary, or must agree with what is there.
Result<void> add_token(TokenizerSpec& spec, const PieceIds& pieces, AddedToken token) {
  const auto known = pieces.find(token.content);
  if (known != pieces.end() && known->second != token.id) {
    return spec_error(fmt::format("added token {} has ids {} and {}", quoted(token.content), known->second, token.id));
  }
  if (known == pieces.end()) TRY(place_token(spec, token.content, token.id));
  spec.added.push_back(std::move(token));
  return {};
}

Result<void> read_added_tokens(const Json& file, const Json* config, TokenizerSpec& spec) {
  std::vector<AddedToken> tokens;
  if (const Json* list = file.get("added_tokens")) {
    if (!list->is_array()) return spec_error("added_tokens is not a list");
    for (const Json& entry : list->as_array()) {
      tokens.push_back(TRY(read_added(entry, TRY(int_member(entry, "id", -1)))));
    }
  }
  const Json* decoder = config == nullptr ? nullptr : config->get("added_tokens_decoder");
  if (decoder != nullptr && decoder->is_object()) {
    for (const auto& [key, entry] : decoder->as_object().members) {
      const auto id = parse_json(key);
      if (!id || !id->is_int()) return spec_error(fmt::format("added_tokens_decoder: id {}", quoted(key)));
      tokens.push_back(TRY(read_added(entry, id->as_int())));
    }
  }
  if (tokens.size() > max_vocabulary()) return spec_error(fmt::format("{} added tokens", tokens.size()));
  std::vector<std::string> owned = spec.tokens;  // the map below must not see the vocabulary grow
  PieceIds pieces;
  for (size_t i = 0; i < owned.size(); ++i) {
    if (spec.types[i] != TokenType::kUnused) pieces.emplace(owned[i], static_cast<TokenId>(i));
  }
  std::unordered_map<std::string, TokenId> seen;
  for (AddedToken& token : tokens) {
    const auto [at, fresh] = seen.emplace(token.content, token.id);
    if (!fresh && at->second != token.id) {
      return spec_error(fmt::format("added token {} has ids {} and {}", quoted(token.content), at->second, token.id));
    }
    if (fresh) TRY(add_token(spec, pieces, std::move(token)));
  }
  std::stable_sort(spec.added.begin(), spec.added.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return {};
}

void set_types(TokenizerSpec& spec) {
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    const std::string_view piece = spec.tokens[i];
    const bool byte_like = piece.starts_with("<0x") && piece.ends_with('>') && piece.size() <= 7;
    if (spec.byte_fallback && byte_like) spec.types[i] = TokenType::kByte;
  }
  if (spec.unk != kNoToken) spec.types[static_cast<size_t>(spec.unk)] = TokenType::kUnknown;
  for (const AddedToken& token : spec.added) {
    TokenType& type = spec.types[static_cast<size_t>(token.id)];
    if (token.special) type = TokenType::kControl;
    if (!token.special && type == TokenType::kNormal) type = TokenType::kUserDefined;
  }
}

Result<void> read_config(const Json* config, TokenizerSpec& spec) {
  if (config == nullptr) return {};
  const std::array<std::pair<std::string_view, TokenId*>, 7> ids{{{"bos_token", &spec.bos},
                                                                  {"eos_token", &spec.eos},
                                                                  {"pad_token", &spec.pad},
                                                                  {"unk_token", &spec.unk},
                                                                  {"sep_token", &spec.sep},
                                                                  {"cls_token", &spec.cls},
                                                                  {"mask_token", &spec.mask}}};
  for (const auto& [key, id] : ids) {
    const Json* value = config->get(key);
    if (value == nullptr) continue;
    const std::string content =
        value->is_object() ? TRY(string_member(*value, "content", "")) : TRY(string_member(*config, key, ""));
    const TokenId found = find_piece(spec, content);
    if (found != kNoToken && (id != &spec.unk || spec.unk == kNoToken)) *id = found;
  }
  return {};
}

bool has_byte_level(const TokenizerSpec& spec) {
  return std::any_of(spec.pre_tokenizers.begin(), spec.pre_tokenizers.end(),
                     [](const PreTokenizerStep& step) { return step.kind == PreTokenizerKind::kByteLevel; });
}

}  // namespace

Result<TokenizerSpec> spec_from_tokenizer_json(const Json& tokenizer_json, const Json* tokenizer_config) {
  if (!tokenizer_json.is_object()) return spec_error("tokenizer.json is not an object");
  const Json* model = tokenizer_json.get("model");
  if (model == nullptr || !model->is_object()) return spec_error("tokenizer.json: no model");
  TokenizerSpec spec;
  TRY(read_model(*model, spec));
  TRY(read_added_tokens(tokenizer_json, tokenizer_config, spec));
  if (spec.kind == TokenizerKind::kUnigram) {
    // Added tokens past the vocabulary are never pieces of the model: any score above the least one will do.
    spec.scores.resize(spec.tokens.size(), 0.0);
  }
  spec.normalizers = TRY(read_normalizers(tokenizer_json.get("normalizer")));
  spec.pre_tokenizers = TRY(read_pre_tokenizers(tokenizer_json.get("pre_tokenizer")));
  spec.decoders = TRY(read_decoders(tokenizer_json.get("decoder")));
  TextFrame frame = TRY(read_post_processor(tokenizer_json.get("post_processor")));
  spec.prefix = std::move(frame.prefix);
  spec.suffix = std::move(frame.suffix);
  if (has_byte_level(spec)) {
    if (spec.kind != TokenizerKind::kBpe) return spec_error("unsupported pre_tokenizer \"ByteLevel\" without BPE");
    spec.kind = TokenizerKind::kByteBpe;
  }
  if (spec.model_unk == kNoToken && spec.kind != TokenizerKind::kUnigram) {
    spec.model_unk = find_piece(spec, TRY(string_member(*model, "unk_token", "")));
  }
  spec.unk = spec.model_unk;
  set_types(spec);
  TRY(check_tokens(spec));
  TRY(read_config(tokenizer_config, spec));
  TRY(finish_spec(spec));
  return spec;
}

Result<TokenizerSpec> spec_from_tokenizer_text(std::string_view tokenizer_text, std::string_view config_text) {
  if (tokenizer_text.size() > fixed_limit(LimitId::kTokenizerBytes)) {
    return spec_error(fmt::format("tokenizer.json is {} bytes, limit {}", tokenizer_text.size(),
                                  fixed_limit(LimitId::kTokenizerBytes)));
  }
  const auto read = [](std::string_view name, std::string_view text) -> Result<Json> {
    auto parsed = parse_json(text, {64, kMaxNodes});
    if (parsed.ok()) return parsed;
    return Error{ErrorCode::kBadFile, fmt::format("{}: {}", name, parsed.error().message), ""};
  };
  const Json file = TRY(read("tokenizer.json", tokenizer_text));
  if (config_text.empty()) return spec_from_tokenizer_json(file, nullptr);
  const Json config = TRY(read("tokenizer_config.json", config_text));
  return spec_from_tokenizer_json(file, &config);
}

}  // namespace millrace::text
