// What transformers' BertTokenizer makes of the same two files.
#include "text/spec_vocab_txt.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "base/macros.h"
#include "text/spec_check.h"
#include "text/spec_steps.h"

namespace millrace::text {
namespace {

bool flag_of(const Json* config, std::string_view name, bool fallback) {
  const Json* value = config == nullptr ? nullptr : config->get(name);
  return value != nullptr && value->is_bool() ? value->as_bool() : fallback;
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    out.emplace_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

}  // namespace

Result<TokenizerSpec> spec_from_vocab_txt(std::string_view vocab, const Json* tokenizer_config) {
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kWordPiece;
  spec.tokens = lines_of(vocab);
  spec.types.assign(spec.tokens.size(), TokenType::kNormal);
  spec.continuing_prefix = "##";
  std::unordered_map<std::string_view, TokenId> ids;
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    if (!ids.emplace(spec.tokens[i], static_cast<TokenId>(i)).second) {
      return spec_error(fmt::format("vocab.txt: line {}: token {} repeats another", i + 1, quoted(spec.tokens[i])));
    }
  }
  constexpr std::pair<std::string_view, TokenId TokenizerSpec::*> kSpecial[] = {{"[PAD]", &TokenizerSpec::pad},
                                                                                {"[UNK]", &TokenizerSpec::unk},
                                                                                {"[CLS]", &TokenizerSpec::cls},
                                                                                {"[SEP]", &TokenizerSpec::sep},
                                                                                {"[MASK]", &TokenizerSpec::mask}};
  for (const auto& [name, field] : kSpecial) {
    auto found = ids.find(name);
    if (found == ids.end()) return spec_error(fmt::format("vocab.txt: token {} is missing", quoted(name)));
    spec.*field = found->second;
    spec.types[static_cast<size_t>(found->second)] = TokenType::kControl;
    AddedToken token;
    token.content = name;
    token.id = found->second;
    token.special = true;
    spec.added.push_back(std::move(token));
  }
  std::sort(spec.added.begin(), spec.added.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  spec.model_unk = spec.unk;
  spec.prefix = {spec.cls};
  spec.suffix = {spec.sep};
  NormalizerStep normalizer;
  normalizer.kind = NormalizerKind::kBert;
  normalizer.lowercase = flag_of(tokenizer_config, "do_lower_case", true);
  normalizer.strip_accents = flag_of(tokenizer_config, "strip_accents", normalizer.lowercase);
  normalizer.chinese_chars = flag_of(tokenizer_config, "tokenize_chinese_chars", true);
  spec.normalizers.push_back(std::move(normalizer));
  PreTokenizerStep words;
  words.kind = PreTokenizerKind::kBert;
  spec.pre_tokenizers.push_back(std::move(words));
  DecoderStep decoder;
  decoder.kind = DecoderKind::kWordPiece;
  decoder.content = "##";
  decoder.cleanup = true;
  spec.decoders.push_back(std::move(decoder));
  TRY(check_tokens(spec));
  TRY(finish_spec(spec));
  return spec;
}

}  // namespace millrace::text
