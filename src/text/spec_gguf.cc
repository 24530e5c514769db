// TokenizerSpec from the vocabulary keys of a GGUF file. What the file leaves out (normaliser, pre-tokenizer, decoder)
// follows the families' published tokenizer.json; defaults of missing flags follow ggml's gguf.md and llama.cpp.
#include <algorithm>
#include <array>
#include <utility>

#include "base/macros.h"
#include "text/gguf_pre_names.h"
#include "text/spec_check.h"
#include "text/spec_steps.h"
#include "text/tokenizer_spec.h"

namespace millrace::text {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

struct Families {
  std::string_view model;
  TokenizerKind kind;
};
constexpr std::array<Families, 6> kModels{{{"gpt2", TokenizerKind::kByteBpe},
                                           {"llama", TokenizerKind::kScoreBpe},
                                           {"gemma4", TokenizerKind::kBpe},
                                           {"t5", TokenizerKind::kUnigram},
                                           {"ugm", TokenizerKind::kUnigram},
                                           {"bert", TokenizerKind::kWordPiece}}};

Result<TokenizerKind> kind_of(const GgufVocab& vocab) {
  for (const auto& row : kModels) {
    if (row.model == vocab.model) return row.kind;
  }
  return spec_error(fmt::format("unsupported tokenizer.ggml.model {}: supported are gpt2, llama, gemma4, t5, bert",
                                quoted(vocab.model)));
}

Result<void> copy_tokens(const GgufVocab& vocab, TokenizerSpec& spec) {
  const size_t n = vocab.tokens.size();
  if (n == 0 || n > max_vocabulary()) {
    return spec_error(fmt::format("vocabulary of {} tokens: must be 1..{}", n, max_vocabulary()));
  }
  if (!vocab.types.empty() && vocab.types.size() != n) {
    return spec_error(fmt::format("token_type has {} entries, tokens has {}", vocab.types.size(), n));
  }
  const bool scored = spec.kind == TokenizerKind::kScoreBpe || spec.kind == TokenizerKind::kUnigram;
  if (scored && vocab.scores.size() != n) {
    return spec_error(fmt::format("scores has {} entries, tokens has {}", vocab.scores.size(), n));
  }
  spec.tokens = vocab.tokens;
  spec.types.assign(n, TokenType::kNormal);
  for (size_t i = 0; i < vocab.types.size(); ++i) {
    const int32_t type = vocab.types[i];
    const bool known =
        type >= static_cast<int32_t>(TokenType::kNormal) && type <= static_cast<int32_t>(TokenType::kByte);
    if (!known && type != 0) return spec_error(fmt::format("token {} has type {}: must be 0..6", i, type));
    if (known) spec.types[i] = static_cast<TokenType>(type);
  }
  if (scored) spec.scores.assign(vocab.scores.begin(), vocab.scores.end());
  PieceIds seen;
  seen.reserve(n);
  for (size_t i = 0; i < n; ++i) {
    if (spec.tokens[i].empty()) {
      spec.types[i] = TokenType::kUnused;
      continue;
    }
    const auto [at, fresh] = seen.emplace(spec.tokens[i], static_cast<TokenId>(i));
    if (!fresh) {
      return spec_error(fmt::format("token {} has ids {} and {}", quoted(spec.tokens[i]), at->second, i));
    }
  }
  return {};
}

Result<void> copy_merges(const GgufVocab& vocab, TokenizerSpec& spec) {
  if (vocab.merges.size() > max_merges()) {
    return spec_error(fmt::format("{} merges, limit {}", vocab.merges.size(), max_merges()));
  }
  PieceIds ids;
  ids.reserve(spec.tokens.size());
  for (size_t i = 0; i < spec.tokens.size(); ++i) ids.emplace(spec.tokens[i], static_cast<TokenId>(i));
  spec.merges.reserve(vocab.merges.size());
  for (const std::string& text : vocab.merges) {
    const size_t space = text.find(' ', 1);
    if (text.empty() || space == std::string::npos) {
      return spec_error(fmt::format("merge {}: {} is not two tokens", spec.merges.size(), quoted(text)));
    }
    const std::string_view view = text;
    spec.merges.push_back(TRY(find_merge(ids, spec.merges.size(), view.substr(0, space), view.substr(space + 1))));
  }
  return {};
}

Result<TokenId> special_id(int64_t id, size_t n_vocab, std::string_view name) {
  if (id < 0) return kNoToken;
  if (static_cast<uint64_t>(id) >= n_vocab) {
    return spec_error(fmt::format("{} {} outside vocabulary of {} tokens", name, id, n_vocab));
  }
  return static_cast<TokenId>(id);
}

Result<void> copy_ids(const GgufVocab& vocab, TokenizerSpec& spec) {
  const size_t n = spec.tokens.size();
  spec.bos = TRY(special_id(vocab.bos, n, "bos_token_id"));
  spec.eos = TRY(special_id(vocab.eos, n, "eos_token_id"));
  spec.eot = TRY(special_id(vocab.eot, n, "eot_token_id"));
  spec.pad = TRY(special_id(vocab.pad, n, "padding_token_id"));
  spec.unk = TRY(special_id(vocab.unk, n, "unknown_token_id"));
  spec.sep = TRY(special_id(vocab.sep, n, "seperator_token_id"));
  spec.cls = TRY(special_id(vocab.cls, n, "cls_token_id"));
  spec.mask = TRY(special_id(vocab.mask, n, "mask_token_id"));
  const TokenId eom = TRY(special_id(vocab.eom, n, "eom_token_id"));
  if (eom != kNoToken) spec.eog.push_back(eom);
  if (spec.kind == TokenizerKind::kScoreBpe || spec.kind == TokenizerKind::kUnigram) {
    const auto unknown = std::find(spec.types.begin(), spec.types.end(), TokenType::kUnknown);
    if (spec.unk == kNoToken && unknown != spec.types.end()) {
      spec.unk = static_cast<TokenId>(unknown - spec.types.begin());
    }
  }
  // A byte-level vocabulary that lacks a byte drops it, whatever unknown_token_id says (as its tokenizer.json would).
  if (spec.kind != TokenizerKind::kByteBpe) spec.model_unk = spec.unk;
  return {};
}

// Control and user-defined tokens are matched whole in the text; but runs of U+2581 are made by merging.
void collect_added(TokenizerSpec& spec) {
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    const TokenType type = spec.types[i];
    const bool special =
        type == TokenType::kControl || (type == TokenType::kUnknown && spec.kind != TokenizerKind::kByteBpe);
    if (!special && type != TokenType::kUserDefined) continue;
    if (!special && spec.kind == TokenizerKind::kScoreBpe && spec.tokens[i].starts_with(kSpaceMark)) continue;
    AddedToken token;
    token.content = spec.tokens[i];
    token.id = static_cast<TokenId>(i);
    token.special = special;
    if (!token.content.empty()) spec.added.push_back(std::move(token));
  }
}

NormalizerStep normalizer(NormalizerKind kind) {
  NormalizerStep step;
  step.kind = kind;
  return step;
}

void replace_spaces(TokenizerSpec& spec, bool prefix) {
  if (prefix) {
    NormalizerStep prepend = normalizer(NormalizerKind::kPrepend);
    prepend.content = kSpaceMark;
    spec.normalizers.push_back(std::move(prepend));
  }
  NormalizerStep replace = normalizer(NormalizerKind::kReplace);
  replace.pattern = " ";
  replace.content = kSpaceMark;
  spec.normalizers.push_back(std::move(replace));
  DecoderStep back;
  back.kind = DecoderKind::kReplace;
  back.pattern = kSpaceMark;
  back.content = " ";
  spec.decoders.push_back(std::move(back));
  for (const DecoderKind kind : {DecoderKind::kByteFallback, DecoderKind::kFuse}) {
    DecoderStep step;
    step.kind = kind;
    spec.decoders.push_back(step);
  }
  if (prefix) {
    DecoderStep strip;
    strip.kind = DecoderKind::kStrip;
    strip.content = " ";
    strip.start = 1;
    spec.decoders.push_back(std::move(strip));
  }
}

// Runs of spaces are user-defined pieces spelled with plain spaces (Gemma): in the text they are U+2581 by then.
void respell_spaces(TokenizerSpec& spec) {
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    std::string& piece = spec.tokens[i];
    if (spec.types[i] != TokenType::kUserDefined || piece.find_first_not_of(' ') != std::string::npos) continue;
    const size_t n_spaces = piece.size();
    piece.clear();
    for (size_t k = 0; k < n_spaces; ++k) piece += kSpaceMark;
  }
}

Result<void> finish_byte_bpe(const GgufVocab& vocab, TokenizerSpec& spec) {
  auto pre = find_gguf_pre(vocab.pre);
  if (!pre) {
    std::string known;
    for (const auto name : known_gguf_pre_names()) known.append(known.empty() ? "" : ", ").append(name);
    return spec_error(fmt::format("unsupported tokenizer.ggml.pre {}: supported are {}", quoted(vocab.pre), known));
  }
  spec.normalizers = std::move(pre->normalizers);
  spec.pre_tokenizers = std::move(pre->pre_tokenizers);
  spec.ignore_merges = pre->ignore_merges;
  spec.add_bos = pre->add_bos;
  spec.decoders.emplace_back();  // kByteLevel
  collect_added(spec);
  return copy_merges(vocab, spec);
}

// BERT pieces in GGUF: a word starts with U+2581, a continuation has no mark; here it is the other way round. The file
// does not say whether the model is cased: text is lowercased, as llama.cpp does.
void finish_wordpiece(TokenizerSpec& spec) {
  spec.continuing_prefix = "##";
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    std::string& piece = spec.tokens[i];
    if (spec.types[i] != TokenType::kNormal) continue;
    if (piece.starts_with(kSpaceMark)) {
      piece.erase(0, kSpaceMark.size());
    } else {
      piece.insert(0, spec.continuing_prefix);
    }
  }
  spec.normalizers.push_back(normalizer(NormalizerKind::kBert));
  spec.normalizers.back().strip_accents = true;
  spec.pre_tokenizers.emplace_back().kind = PreTokenizerKind::kBert;
  DecoderStep decoder;
  decoder.kind = DecoderKind::kWordPiece;
  decoder.content = spec.continuing_prefix;
  decoder.cleanup = true;
  spec.decoders.push_back(std::move(decoder));
  collect_added(spec);
}

void finish_unigram(const GgufVocab& vocab, TokenizerSpec& spec) {
  if (vocab.charsmap.size() > sizeof(uint32_t)) {
    spec.normalizers.push_back(normalizer(NormalizerKind::kPrecompiled));
    spec.normalizers.back().content = vocab.charsmap;
  }
  if (vocab.remove_extra_whitespaces != 0) {
    spec.pre_tokenizers.emplace_back().kind = PreTokenizerKind::kWhitespaceSplit;
  }
  PreTokenizerStep mark;
  mark.kind = PreTokenizerKind::kMetaspace;
  mark.replacement = kSpaceMark;
  mark.prepend = vocab.add_space_prefix == 0 ? PrependScheme::kNever : PrependScheme::kAlways;
  spec.pre_tokenizers.push_back(mark);
  DecoderStep decoder;
  decoder.kind = DecoderKind::kMetaspace;
  decoder.pattern = kSpaceMark;
  decoder.prepend = mark.prepend;
  spec.decoders.push_back(std::move(decoder));
  spec.fuse_unk = true;
  collect_added(spec);
}

void set_frame(const GgufVocab& vocab, TokenizerSpec& spec) {
  const auto flag = [](int value, bool fallback) { return value < 0 ? fallback : value != 0; };
  const bool word_piece = spec.kind == TokenizerKind::kWordPiece;
  const bool add_bos = flag(vocab.add_bos, spec.add_bos || word_piece || spec.kind == TokenizerKind::kScoreBpe);
  const bool add_eos = flag(vocab.add_eos, spec.kind == TokenizerKind::kUnigram);
  const bool add_sep = flag(vocab.add_sep, word_piece);
  if (word_piece && spec.bos == kNoToken) spec.bos = spec.cls;
  if (add_bos && spec.bos != kNoToken) spec.prefix.push_back(spec.bos);
  if (add_eos && spec.eos != kNoToken) spec.suffix.push_back(spec.eos);
  if (add_sep && spec.sep != kNoToken) spec.suffix.push_back(spec.sep);
}

}  // namespace

Result<TokenizerSpec> spec_from_gguf(const GgufVocab& vocab) {
  TokenizerSpec spec;
  spec.kind = TRY(kind_of(vocab));
  spec.pre_name = vocab.pre;
  TRY(copy_tokens(vocab, spec));
  TRY(copy_ids(vocab, spec));
  switch (spec.kind) {
    case TokenizerKind::kByteBpe:
      TRY(finish_byte_bpe(vocab, spec));
      break;
    case TokenizerKind::kWordPiece:
      finish_wordpiece(spec);
      break;
    case TokenizerKind::kUnigram:
      finish_unigram(vocab, spec);
      break;
    case TokenizerKind::kBpe:
    case TokenizerKind::kScoreBpe:
      respell_spaces(spec);
      collect_added(spec);
      spec.byte_fallback = true;
      spec.fuse_unk = true;
      replace_spaces(spec, spec.kind == TokenizerKind::kScoreBpe && vocab.add_space_prefix != 0);
      if (spec.kind == TokenizerKind::kBpe) TRY(copy_merges(vocab, spec));
      break;
  }
  TRY(check_tokens(spec));
  set_frame(vocab, spec);
  TRY(finish_spec(spec));
  return spec;
}

}  // namespace millrace::text
