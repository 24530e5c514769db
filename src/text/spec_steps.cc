// Step lists of tokenizer.json (field names as tokenizers 0.2x writes them).
#include "text/spec_steps.h"

#include <array>
#include <utility>

#include "base/macros.h"
#include "text/base64.h"

namespace millrace::text {
namespace {

template <class Step>
using ReadStep = Result<void> (*)(const std::string& type, const Json& json, std::vector<Step>& out);

// Depth is bounded by the JSON reader.
template <class Step>
Result<void> read_list(const Json& json, std::string_view what, std::string_view list_key, ReadStep<Step> read,
                       std::vector<Step>& out) {
  const std::string type = TRY(string_member(json, "type", ""));
  if (type != "Sequence") {
    TRY(read(type, json, out));
    return {};
  }
  const Json* list = json.get(list_key);
  if (list == nullptr || !list->is_array()) {
    return spec_error(fmt::format("{}: Sequence without a list \"{}\"", what, list_key));
  }
  for (const Json& entry : list->as_array()) TRY(read_list(entry, what, list_key, read, out));
  return {};
}

struct PatternText {
  std::string text;
  bool is_regex = false;
};

Result<PatternText> read_pattern(const Json& json, std::string_view what) {
  const Json* pattern = json.get("pattern");
  if (pattern != nullptr && pattern->is_string()) return PatternText{pattern->as_string(), false};
  for (const std::string_view key : {"String", "Regex"}) {
    const Json* text = pattern == nullptr ? nullptr : pattern->get(key);
    if (text != nullptr && text->is_string()) return PatternText{text->as_string(), key == "Regex"};
  }
  return spec_error(fmt::format("{}: pattern is neither a String nor a Regex", what));
}

template <class Enum, size_t N>
Result<Enum> read_name(const std::string& got, std::string_view what,
                       const std::array<std::pair<std::string_view, Enum>, N>& names) {
  for (const auto& [name, value] : names) {
    if (got == name) return value;
  }
  return spec_error(fmt::format("unsupported {} {}", what, quoted(got)));
}

Result<SplitBehavior> read_behavior(const Json& json) {
  static constexpr std::array<std::pair<std::string_view, SplitBehavior>, 5> kNames{
      {{"Isolated", SplitBehavior::kIsolated},
       {"Removed", SplitBehavior::kRemoved},
       {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
       {"MergedWithNext", SplitBehavior::kMergedWithNext},
       {"Contiguous", SplitBehavior::kContiguous}}};
  return read_name(TRY(string_member(json, "behavior", "Isolated")), "split behavior", kNames);
}

Result<PrependScheme> read_prepend(const Json& json) {
  static constexpr std::array<std::pair<std::string_view, PrependScheme>, 3> kNames{
      {{"never", PrependScheme::kNever}, {"first", PrependScheme::kFirst}, {"always", PrependScheme::kAlways}}};
  const bool old = TRY(bool_member(json, "add_prefix_space", true));
  return read_name(TRY(string_member(json, "prepend_scheme", old ? "always" : "never")), "prepend_scheme", kNames);
}

Result<void> read_normalizer(const std::string& type, const Json& json, std::vector<NormalizerStep>& out) {
  static constexpr std::array<std::pair<std::string_view, NormalizerKind>, 11> kNames{
      {{"NFC", NormalizerKind::kNfc},
       {"NFD", NormalizerKind::kNfd},
       {"NFKC", NormalizerKind::kNfkc},
       {"NFKD", NormalizerKind::kNfkd},
       {"Lowercase", NormalizerKind::kLowercase},
       {"StripAccents", NormalizerKind::kStripAccents},
       {"Replace", NormalizerKind::kReplace},
       {"Prepend", NormalizerKind::kPrepend},
       {"Strip", NormalizerKind::kStrip},
       {"BertNormalizer", NormalizerKind::kBert},
       {"Precompiled", NormalizerKind::kPrecompiled}}};
  NormalizerStep step;
  step.kind = TRY(read_name(type, "normalizer", kNames));
  if (step.kind == NormalizerKind::kReplace) {
    auto pattern = TRY(read_pattern(json, "normalizer Replace"));
    step.pattern = std::move(pattern.text);
    step.is_regex = pattern.is_regex;
    step.content = TRY(string_member(json, "content", ""));
  }
  if (step.kind == NormalizerKind::kPrepend) step.content = TRY(string_member(json, "prepend", ""));
  if (step.kind == NormalizerKind::kStrip) {
    step.left = TRY(bool_member(json, "strip_left", true));
    step.right = TRY(bool_member(json, "strip_right", true));
  }
  if (step.kind == NormalizerKind::kBert) {
    step.clean_text = TRY(bool_member(json, "clean_text", true));
    step.chinese_chars = TRY(bool_member(json, "handle_chinese_chars", true));
    step.lowercase = TRY(bool_member(json, "lowercase", true));
    step.strip_accents = TRY(bool_member(json, "strip_accents", step.lowercase));
  }
  if (step.kind == NormalizerKind::kPrecompiled) {
    const auto bytes = decode_base64(TRY(string_member(json, "precompiled_charsmap", "")));
    if (!bytes) return spec_error("precompiled_charsmap is not base64");
    if (bytes->empty()) return {};  // an identity table
    step.content = *bytes;
  }
  out.push_back(std::move(step));
  return {};
}

Result<void> read_pre_tokenizer(const std::string& type, const Json& json, std::vector<PreTokenizerStep>& out) {
  static constexpr std::array<std::pair<std::string_view, PreTokenizerKind>, 9> kNames{
      {{"ByteLevel", PreTokenizerKind::kByteLevel},
       {"Split", PreTokenizerKind::kSplit},
       {"CharDelimiterSplit", PreTokenizerKind::kSplit},
       {"Metaspace", PreTokenizerKind::kMetaspace},
       {"Whitespace", PreTokenizerKind::kWhitespace},
       {"WhitespaceSplit", PreTokenizerKind::kWhitespaceSplit},
       {"Digits", PreTokenizerKind::kDigits},
       {"Punctuation", PreTokenizerKind::kPunctuation},
       {"BertPreTokenizer", PreTokenizerKind::kBert}}};
  PreTokenizerStep step;
  step.kind = TRY(read_name(type, "pre_tokenizer", kNames));
  if (step.kind == PreTokenizerKind::kByteLevel) {
    step.add_prefix_space = TRY(bool_member(json, "add_prefix_space", true));
    step.use_regex = TRY(bool_member(json, "use_regex", true));
  }
  if (type == "Split") {
    auto pattern = TRY(read_pattern(json, "pre_tokenizer Split"));
    step.pattern = std::move(pattern.text);
    step.is_regex = pattern.is_regex;
    step.invert = TRY(bool_member(json, "invert", false));
    step.behavior = TRY(read_behavior(json));
  }
  if (type == "CharDelimiterSplit") {
    step.pattern = TRY(string_member(json, "delimiter", ""));
    step.behavior = SplitBehavior::kRemoved;
  }
  if (step.kind == PreTokenizerKind::kPunctuation) step.behavior = TRY(read_behavior(json));
  if (step.kind == PreTokenizerKind::kDigits) {
    step.individual_digits = TRY(bool_member(json, "individual_digits", false));
  }
  if (step.kind == PreTokenizerKind::kMetaspace) {
    step.replacement = TRY(string_member(json, "replacement", "\xE2\x96\x81"));
    step.prepend = TRY(read_prepend(json));
    step.split = TRY(bool_member(json, "split", true));
  }
  out.push_back(std::move(step));
  return {};
}

Result<void> read_decoder(const std::string& type, const Json& json, std::vector<DecoderStep>& out) {
  static constexpr std::array<std::pair<std::string_view, DecoderKind>, 7> kNames{
      {{"ByteLevel", DecoderKind::kByteLevel},
       {"ByteFallback", DecoderKind::kByteFallback},
       {"Fuse", DecoderKind::kFuse},
       {"Metaspace", DecoderKind::kMetaspace},
       {"Replace", DecoderKind::kReplace},
       {"Strip", DecoderKind::kStrip},
       {"WordPiece", DecoderKind::kWordPiece}}};
  DecoderStep step;
  step.kind = TRY(read_name(type, "decoder", kNames));
  if (step.kind == DecoderKind::kMetaspace) {
    step.pattern = TRY(string_member(json, "replacement", "\xE2\x96\x81"));
    step.prepend = TRY(read_prepend(json));
  }
  if (step.kind == DecoderKind::kReplace) {
    auto pattern = TRY(read_pattern(json, "decoder Replace"));
    if (pattern.is_regex) return spec_error("unsupported decoder \"Replace\" with a Regex pattern");
    step.pattern = std::move(pattern.text);
    step.content = TRY(string_member(json, "content", ""));
  }
  if (step.kind == DecoderKind::kStrip) {
    constexpr int64_t kMaxStrip = 1024;
    const int64_t start = TRY(int_member(json, "start", 0));
    const int64_t stop = TRY(int_member(json, "stop", 0));
    step.content = TRY(string_member(json, "content", " "));
    if (start < 0 || start > kMaxStrip || stop < 0 || stop > kMaxStrip || step.content.empty()) {
      return spec_error(fmt::format("decoder Strip: start {}, stop {}: must be 0..{}", start, stop, kMaxStrip));
    }
    step.start = static_cast<uint32_t>(start);
    step.stop = static_cast<uint32_t>(stop);
  }
  if (step.kind == DecoderKind::kWordPiece) {
    step.content = TRY(string_member(json, "prefix", "##"));
    step.cleanup = TRY(bool_member(json, "cleanup", true));
  }
  out.push_back(std::move(step));
  return {};
}

// Ids are checked against the vocabulary later.
Result<TokenId> read_id(const Json& json, std::string_view what) {
  if (!json.is_int() || json.as_int() < 0 || json.as_int() > INT32_MAX) {
    return spec_error(fmt::format("{}: token id {} is not an index", what, quoted(json.dump())));
  }
  return static_cast<TokenId>(json.as_int());
}

Result<void> read_template(const Json& json, TextFrame& frame) {
  const Json* single = json.get("single");
  if (single == nullptr || !single->is_array()) return spec_error("post_processor: single is not a list");
  bool seen = false;
  for (const Json& piece : single->as_array()) {
    if (piece.get("Sequence") != nullptr) {
      if (seen) return spec_error("unsupported post_processor template: the text twice");
      seen = true;
      continue;
    }
    const Json* special = piece.get("SpecialToken");
    const std::string name = special == nullptr ? "" : TRY(string_member(*special, "id", ""));
    const Json* table = json.get("special_tokens");
    const Json* entry = table == nullptr ? nullptr : table->get(name);
    const Json* ids = entry == nullptr ? nullptr : entry->get("ids");
    if (ids == nullptr || !ids->is_array()) {
      return spec_error(fmt::format("post_processor: special token {} has no ids", quoted(name)));
    }
    for (const Json& id : ids->as_array()) {
      (seen ? frame.suffix : frame.prefix).push_back(TRY(read_id(id, "post_processor")));
    }
  }
  if (!seen) return spec_error("unsupported post_processor template: without the text");
  return {};
}

Result<TokenId> read_pair_id(const Json& json, std::string_view key) {
  const Json* pair = json.get(key);
  if (pair == nullptr || !pair->is_array() || pair->size() != 2) {
    return spec_error(fmt::format("post_processor: \"{}\" is not [token, id]", key));
  }
  return read_id(pair->as_array()[1], "post_processor");
}

Result<void> read_processor(const std::string& type, const Json& json, std::vector<TextFrame>& out) {
  TextFrame frame;
  if (type == "TemplateProcessing") {
    TRY(read_template(json, frame));
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    frame.prefix.push_back(TRY(read_pair_id(json, "cls")));
    frame.suffix.push_back(TRY(read_pair_id(json, "sep")));
  } else if (type != "ByteLevel") {  // ByteLevel changes offsets only
    return spec_error(fmt::format("unsupported post_processor {}", quoted(type)));
  }
  out.push_back(std::move(frame));
  return {};
}

}  // namespace

Error spec_error(std::string message) { return {ErrorCode::kBadFile, "tokenizer: " + std::move(message), ""}; }

std::string quoted(std::string_view text) { return fmt::format("\"{}\"", quote_for_message(text)); }

Result<bool> bool_member(const Json& json, std::string_view key, bool fallback) {
  const Json* value = json.get(key);
  if (value == nullptr) return fallback;
  if (!value->is_bool()) return spec_error(fmt::format("\"{}\" must be true or false", key));
  return value->as_bool();
}

Result<int64_t> int_member(const Json& json, std::string_view key, int64_t fallback) {
  const Json* value = json.get(key);
  if (value == nullptr) return fallback;
  if (!value->is_int()) return spec_error(fmt::format("\"{}\" must be an integer", key));
  return value->as_int();
}

Result<std::string> string_member(const Json& json, std::string_view key, std::string_view fallback) {
  const Json* value = json.get(key);
  if (value == nullptr) return std::string(fallback);
  if (!value->is_string()) return spec_error(fmt::format("\"{}\" must be a string", key));
  return value->as_string();
}

Result<std::vector<NormalizerStep>> read_normalizers(const Json* json) {
  std::vector<NormalizerStep> out;
  if (json != nullptr) TRY(read_list<NormalizerStep>(*json, "normalizer", "normalizers", read_normalizer, out));
  return out;
}

Result<std::vector<PreTokenizerStep>> read_pre_tokenizers(const Json* json) {
  std::vector<PreTokenizerStep> out;
  if (json != nullptr) {
    TRY(read_list<PreTokenizerStep>(*json, "pre_tokenizer", "pretokenizers", read_pre_tokenizer, out));
  }
  return out;
}

Result<std::vector<DecoderStep>> read_decoders(const Json* json) {
  std::vector<DecoderStep> out;
  if (json != nullptr) TRY(read_list<DecoderStep>(*json, "decoder", "decoders", read_decoder, out));
  bool fused = false;
  for (const DecoderStep& step : out) {
    fused = fused || step.kind == DecoderKind::kFuse;
    if (fused && step.kind == DecoderKind::kStrip && step.stop > 0) {
      return spec_error("unsupported decoder \"Strip\" at the end of the text");
    }
  }
  return out;
}

Result<TextFrame> read_post_processor(const Json* json) {
  TextFrame out;
  if (json == nullptr) return out;
  std::vector<TextFrame> frames;
  TRY(read_list<TextFrame>(*json, "post_processor", "processors", read_processor, frames));
  for (const TextFrame& frame : frames) {
    out.prefix.insert(out.prefix.begin(), frame.prefix.begin(), frame.prefix.end());
    out.suffix.insert(out.suffix.end(), frame.suffix.begin(), frame.suffix.end());
  }
  return out;
}

}  // namespace millrace::text
