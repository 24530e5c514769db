// tokenizer.json and tokenizer_config.json from a spec; field names and order as tokenizers 0.2x writes them.
#include "text/tokenizer_writer.h"

#include <array>
#include <utility>

#include "base/json.h"
#include "base/macros.h"
#include "text/base64.h"
#include "text/bpe_model.h"
#include "text/vocabulary.h"

namespace millrace::text {
namespace {

// Deduced from brace lists: {"key", value} pairs in order.
Json object(const std::vector<std::pair<std::string, Json>>& members) {
  Json out = Json::object();
  for (const auto& [key, value] : members) out.set(key, value);
  return out;
}

Json pattern(const std::string& text, bool is_regex) { return object({{is_regex ? "Regex" : "String", text}}); }

std::string_view name_of(SplitBehavior behavior) {
  switch (behavior) {
    case SplitBehavior::kRemoved:
      return "Removed";
    case SplitBehavior::kIsolated:
      return "Isolated";
    case SplitBehavior::kMergedWithPrevious:
      return "MergedWithPrevious";
    case SplitBehavior::kMergedWithNext:
      return "MergedWithNext";
    case SplitBehavior::kContiguous:
      return "Contiguous";
  }
  return "Isolated";
}

std::string_view name_of(PrependScheme scheme) {
  switch (scheme) {
    case PrependScheme::kNever:
      return "never";
    case PrependScheme::kFirst:
      return "first";
    case PrependScheme::kAlways:
      return "always";
  }
  return "never";
}

Json write(const NormalizerStep& step) {
  switch (step.kind) {
    case NormalizerKind::kNfc:
      return object({{"type", "NFC"}});
    case NormalizerKind::kNfd:
      return object({{"type", "NFD"}});
    case NormalizerKind::kNfkc:
      return object({{"type", "NFKC"}});
    case NormalizerKind::kNfkd:
      return object({{"type", "NFKD"}});
    case NormalizerKind::kLowercase:
      return object({{"type", "Lowercase"}});
    case NormalizerKind::kStripAccents:
      return object({{"type", "StripAccents"}});
    case NormalizerKind::kReplace:
      return object(
          {{"type", "Replace"}, {"pattern", pattern(step.pattern, step.is_regex)}, {"content", step.content}});
    case NormalizerKind::kPrepend:
      return object({{"type", "Prepend"}, {"prepend", step.content}});
    case NormalizerKind::kStrip:
      return object({{"type", "Strip"}, {"strip_left", step.left}, {"strip_right", step.right}});
    case NormalizerKind::kBert:
      return object({{"type", "BertNormalizer"},
                     {"clean_text", step.clean_text},
                     {"handle_chinese_chars", step.chinese_chars},
                     {"strip_accents", step.strip_accents},
                     {"lowercase", step.lowercase}});
    case NormalizerKind::kPrecompiled:
      return object({{"type", "Precompiled"}, {"precompiled_charsmap", encode_base64(step.content)}});
  }
  return {};
}

Json write(const PreTokenizerStep& step) {
  switch (step.kind) {
    case PreTokenizerKind::kByteLevel:
      return object({{"type", "ByteLevel"},
                     {"add_prefix_space", step.add_prefix_space},
                     {"trim_offsets", true},
                     {"use_regex", step.use_regex}});
    case PreTokenizerKind::kSplit:
      return object({{"type", "Split"},
                     {"pattern", pattern(step.pattern, step.is_regex)},
                     {"behavior", name_of(step.behavior)},
                     {"invert", step.invert}});
    case PreTokenizerKind::kMetaspace:
      return object({{"type", "Metaspace"},
                     {"replacement", step.replacement},
                     {"prepend_scheme", name_of(step.prepend)},
                     {"split", step.split}});
    case PreTokenizerKind::kWhitespace:
      return object({{"type", "Whitespace"}});
    case PreTokenizerKind::kWhitespaceSplit:
      return object({{"type", "WhitespaceSplit"}});
    case PreTokenizerKind::kDigits:
      return object({{"type", "Digits"}, {"individual_digits", step.individual_digits}});
    case PreTokenizerKind::kPunctuation:
      return object({{"type", "Punctuation"}, {"behavior", name_of(step.behavior)}});
    case PreTokenizerKind::kBert:
      return object({{"type", "BertPreTokenizer"}});
  }
  return {};
}

Json write(const DecoderStep& step) {
  switch (step.kind) {
    case DecoderKind::kByteLevel:
      return object({{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}});
    case DecoderKind::kByteFallback:
      return object({{"type", "ByteFallback"}});
    case DecoderKind::kFuse:
      return object({{"type", "Fuse"}});
    case DecoderKind::kMetaspace:
      return object({{"type", "Metaspace"},
                     {"replacement", step.pattern},
                     {"prepend_scheme", name_of(step.prepend)},
                     {"split", true}});
    case DecoderKind::kReplace:
      return object({{"type", "Replace"}, {"pattern", pattern(step.pattern, false)}, {"content", step.content}});
    case DecoderKind::kStrip:
      return object(
          {{"type", "Strip"}, {"content", step.content}, {"start", int64_t{step.start}}, {"stop", int64_t{step.stop}}});
    case DecoderKind::kWordPiece:
      return object({{"type", "WordPiece"}, {"prefix", step.content}, {"cleanup", step.cleanup}});
  }
  return {};
}

template <class Step>
Json write_list(const std::vector<Step>& steps, const char* list_key) {
  if (steps.empty()) return {};
  if (steps.size() == 1) return write(steps[0]);
  Json list = Json::array();
  for (const Step& step : steps) list.push_back(write(step));
  return object({{"type", "Sequence"}, {list_key, std::move(list)}});
}

const std::string& content_of(const TokenizerSpec& spec, TokenId id) { return spec.tokens[static_cast<size_t>(id)]; }

Json write_template(const TokenizerSpec& spec, bool pair) {
  Json list = Json::array();
  const auto special = [&](TokenId id, int type) {
    list.push_back(object({{"SpecialToken", object({{"id", content_of(spec, id)}, {"type_id", type}})}}));
  };
  for (int type = 0; type < (pair ? 2 : 1); ++type) {
    for (const TokenId id : spec.prefix) special(id, type);
    list.push_back(object({{"Sequence", object({{"id", type == 0 ? "A" : "B"}, {"type_id", type}})}}));
    for (const TokenId id : spec.suffix) special(id, type);
  }
  return list;
}

Json write_post_processor(const TokenizerSpec& spec) {
  if (spec.prefix.empty() && spec.suffix.empty()) return {};
  Json table = Json::object();
  for (const auto* ids : {&spec.prefix, &spec.suffix}) {
    for (const TokenId id : *ids) {
      const std::string& name = content_of(spec, id);
      table.set(name, object({{"id", name}, {"ids", JsonArray{int64_t{id}}}, {"tokens", JsonArray{name}}}));
    }
  }
  return object({{"type", "TemplateProcessing"},
                 {"single", write_template(spec, false)},
                 {"pair", write_template(spec, true)},
                 {"special_tokens", std::move(table)}});
}

Json write_vocabulary(const TokenizerSpec& spec) {
  if (spec.kind == TokenizerKind::kUnigram) {
    Json list = Json::array();
    for (size_t i = 0; i < spec.tokens.size(); ++i) list.push_back(JsonArray{spec.tokens[i], spec.scores[i]});
    return list;
  }
  JsonObject out;
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    if (!spec.tokens[i].empty()) out.members.emplace_back(spec.tokens[i], Json(static_cast<int64_t>(i)));
  }
  return out;
}

Json write_model(const TokenizerSpec& spec) {
  const Json unk = spec.model_unk == kNoToken ? Json() : Json(content_of(spec, spec.model_unk));
  if (spec.kind == TokenizerKind::kUnigram) {
    return object({{"type", "Unigram"},
                   {"unk_id", spec.model_unk == kNoToken ? Json() : Json(int64_t{spec.model_unk})},
                   {"vocab", write_vocabulary(spec)},
                   {"byte_fallback", spec.byte_fallback}});
  }
  if (spec.kind == TokenizerKind::kWordPiece) {
    return object({{"type", "WordPiece"},
                   {"unk_token", unk},
                   {"continuing_subword_prefix", spec.continuing_prefix},
                   {"max_input_chars_per_word", int64_t{spec.max_word_chars}},
                   {"vocab", write_vocabulary(spec)}});
  }
  const auto implied =
      spec.kind == TokenizerKind::kScoreBpe ? merges_of_scores(spec, make_vocabulary(spec)) : std::vector<Merge>();
  Json merges = Json::array();
  for (const Merge& merge : spec.kind == TokenizerKind::kScoreBpe ? implied : spec.merges) {
    merges.push_back(JsonArray{content_of(spec, merge.left), content_of(spec, merge.right)});
  }
  return object({{"type", "BPE"},
                 {"dropout", Json()},
                 {"unk_token", unk},
                 {"continuing_subword_prefix", Json()},
                 {"end_of_word_suffix", Json()},
                 {"fuse_unk", spec.fuse_unk},
                 {"byte_fallback", spec.byte_fallback},
                 {"ignore_merges", spec.ignore_merges},
                 {"vocab", write_vocabulary(spec)},
                 {"merges", std::move(merges)}});
}

Json write_added(const AddedToken& token) {
  return object({{"id", int64_t{token.id}},
                 {"content", token.content},
                 {"single_word", token.single_word},
                 {"lstrip", token.lstrip},
                 {"rstrip", token.rstrip},
                 {"normalized", token.normalized},
                 {"special", token.special}});
}

}  // namespace

Result<std::string> to_tokenizer_json(const TokenizerSpec& spec) {
  if (spec.kind == TokenizerKind::kByteBpe && spec.byte_fallback) {
    return Error{ErrorCode::kNotSupported, "tokenizer.json: byte fallback in a byte-level vocabulary", ""};
  }
  Json added = Json::array();
  for (const AddedToken& token : spec.added) added.push_back(write_added(token));
  return object({{"version", "1.0"},
                 {"truncation", Json()},
                 {"padding", Json()},
                 {"added_tokens", std::move(added)},
                 {"normalizer", write_list(spec.normalizers, "normalizers")},
                 {"pre_tokenizer", write_list(spec.pre_tokenizers, "pretokenizers")},
                 {"post_processor", write_post_processor(spec)},
                 {"decoder", write_list(spec.decoders, "decoders")},
                 {"model", write_model(spec)}})
      .dump();
}

std::string to_tokenizer_config(const TokenizerSpec& spec, std::string_view chat_template, int64_t max_length) {
  Json out = object({{"tokenizer_class", "PreTrainedTokenizerFast"},
                     {"clean_up_tokenization_spaces", false},
                     {"model_max_length", max_length}});
  const std::array<std::pair<const char*, TokenId>, 7> ids{{{"bos_token", spec.bos},
                                                            {"eos_token", spec.eos},
                                                            {"pad_token", spec.pad},
                                                            {"unk_token", spec.unk},
                                                            {"sep_token", spec.sep},
                                                            {"cls_token", spec.cls},
                                                            {"mask_token", spec.mask}}};
  for (const auto& [key, id] : ids) {
    if (id != kNoToken) out.set(key, content_of(spec, id));
  }
  if (!chat_template.empty()) out.set("chat_template", chat_template);
  return out.dump();
}

}  // namespace millrace::text
