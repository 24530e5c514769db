// Encoding: added tokens in the raw text, normaliser, added tokens in the normal text, pre-tokenizer, model, in the
// order of tokenizers' TokenizerImpl::encode.
#include "text/tokenizer.h"

#include <algorithm>
#include <array>
#include <limits>
#include <unordered_map>
#include <utility>
#include <variant>

#include "base/macros.h"
#include "text/added_tokens.h"
#include "text/bpe_model.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/unigram_model.h"
#include "text/utf8.h"
#include "text/vocabulary.h"
#include "text/wordpiece_model.h"

namespace millrace::text {
namespace {

using Model = std::variant<BpeModel, UnigramModel, WordPieceModel>;

Model make_model(const TokenizerSpec& spec, const Vocabulary& vocabulary) {
  switch (spec.kind) {
    case TokenizerKind::kByteBpe:
    case TokenizerKind::kBpe:
    case TokenizerKind::kScoreBpe:
      return BpeModel(spec, vocabulary);
    case TokenizerKind::kUnigram:
      return UnigramModel(spec, vocabulary);
    case TokenizerKind::kWordPiece:
      return WordPieceModel(spec, vocabulary);
  }
  return BpeModel(spec, vocabulary);
}

struct Matchers {
  AddedTokenMatcher raw;     // added tokens that are matched before normalising
  AddedTokenMatcher normal;  // the others, in normal form
  // With literal ranges every special token is matched in the raw text, whose offsets the ranges have.
  AddedTokenMatcher raw_literal;
  AddedTokenMatcher normal_literal;
  std::vector<std::string> texts;  // by added token: what it is matched as
};

Result<Matchers> make_matchers(const TokenizerSpec& spec, const Normalizer& normalizer) {
  Matchers out;
  for (const AddedToken& token : spec.added) {
    const std::string normal = token.normalized ? TRY(normalizer.apply(token.content)) : token.content;
    (token.normalized ? out.normal : out.raw).add(token, normal);
    out.texts.push_back(normal);
    const bool late = token.normalized && !token.special;
    (late ? out.normal_literal : out.raw_literal).add(token, late ? std::string_view(normal) : token.content);
  }
  return out;
}

bool keeps_every_byte(const PreTokenizerStep& step) {
  switch (step.kind) {
    case PreTokenizerKind::kByteLevel:
    case PreTokenizerKind::kMetaspace:
    case PreTokenizerKind::kDigits:
      return true;
    case PreTokenizerKind::kSplit:
    case PreTokenizerKind::kPunctuation:
      return step.behavior != SplitBehavior::kRemoved;
    default:
      return false;
  }
}

bool keeps_every_byte(const NormalizerStep& step) {
  if (step.kind == NormalizerKind::kPrepend) return true;
  return step.kind == NormalizerKind::kReplace && !step.is_regex && step.content.size() >= step.pattern.size();
}

// Bytes of text that one token stands for at most; 0 when there is no such number.
size_t longest_token(const TokenizerSpec& spec, const Vocabulary& vocabulary) {
  const bool fallback = spec.kind == TokenizerKind::kBpe || spec.kind == TokenizerKind::kScoreBpe;
  const bool any_byte = fallback && spec.byte_fallback && vocabulary.all_bytes;
  if (spec.kind != TokenizerKind::kByteBpe && !any_byte) return 0;
  if (!std::ranges::all_of(spec.normalizers, [](const NormalizerStep& step) { return keeps_every_byte(step); }))
    return 0;
  if (!std::ranges::all_of(spec.pre_tokenizers, [](const PreTokenizerStep& step) { return keeps_every_byte(step); })) {
    return 0;
  }
  size_t longest = 1;
  for (const std::string& piece : vocabulary.pieces) longest = std::max(longest, piece.size());
  for (const AddedToken& token : spec.added) longest = std::max(longest, token.content.size());
  return longest;
}

// The bytes that are in the tokens of every text that has them: not those without a token, and not whitespace, which
// an added token may take.
std::array<bool, 256> lasting_bytes(const TokenizerSpec& spec, const Vocabulary& vocabulary) {
  const bool strips =
      std::ranges::any_of(spec.added, [](const AddedToken& token) { return token.lstrip || token.rstrip; });
  std::array<bool, 256> lasting{};
  for (size_t byte = 0; byte < lasting.size(); ++byte) {
    const bool kept = !strips || (byte > ' ' && byte < 0x7F);
    lasting[byte] = kept && vocabulary.byte_ids[byte] != kNoToken;
  }
  return lasting;
}

}  // namespace

struct Tokenizer::State {
  TokenizerSpec spec;
  Vocabulary vocabulary;
  DecodeTable decode;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  Matchers matchers;
  std::unordered_map<std::string_view, TokenId> contents;  // pieces and added contents, special ones too
  Model model;
  size_t longest;                 // bytes of one token, 0: any number
  std::array<bool, 256> lasting;  // by byte

  State(TokenizerSpec from, Normalizer normal, PreTokenizer pre, Matchers match)
      : spec(std::move(from)),
        vocabulary(make_vocabulary(spec)),
        decode(spec, match.texts),
        normalizer(std::move(normal)),
        pre_tokenizer(std::move(pre)),
        matchers(std::move(match)),
        model(make_model(spec, vocabulary)),
        longest(longest_token(spec, vocabulary)),
        lasting(lasting_bytes(spec, vocabulary)) {
    for (const AddedToken& token : spec.added) contents.emplace(token.content, token.id);
    for (size_t i = 0; i < spec.tokens.size(); ++i) contents.emplace(spec.tokens[i], static_cast<TokenId>(i));
  }

  Result<void> encode_plain(std::string text, bool at_start, std::vector<TokenId>& out) const {
    const PreTokens tokens = TRY(pre_tokenizer.apply(std::move(text), at_start));
    const std::string_view all = tokens.text;
    std::visit(
        [&](const auto& chosen) {
          for (const TextSpan& piece : tokens.pieces) {
            chosen.encode(all.substr(piece.begin, piece.end - piece.begin), out);
          }
        },
        model);
    return {};
  }
};

Tokenizer::Tokenizer(std::unique_ptr<const State> state) : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::create(TokenizerSpec spec, uint32_t match_steps) {
  CHECK(spec.types.size() == spec.tokens.size(), "types {} tokens {}", spec.types.size(), spec.tokens.size());
  Normalizer normalizer = TRY(Normalizer::create(spec.normalizers, match_steps));
  PreTokenizer pre_tokenizer = TRY(PreTokenizer::create(spec.pre_tokenizers, match_steps));
  Matchers matchers = TRY(make_matchers(spec, normalizer));
  return Tokenizer(std::make_unique<const State>(std::move(spec), std::move(normalizer), std::move(pre_tokenizer),
                                                 std::move(matchers)));
}

Result<std::vector<TokenId>> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  const State& state = *state_;
  if (text.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return Error{ErrorCode::kTokenizerLimit, fmt::format("text of {} bytes, limit 2147483647", text.size()), ""};
  }
  std::vector<TokenId> out;
  out.reserve(text.size() / 3 + 8);
  if (options.add_special) out.insert(out.end(), state.spec.prefix.begin(), state.spec.prefix.end());
  const bool literal = !options.literal.empty();
  const Matchers& matchers = state.matchers;
  const AddedTokenMatcher& raw = literal ? matchers.raw_literal : matchers.raw;
  const AddedTokenMatcher& normal = literal ? matchers.normal_literal : matchers.normal;
  for (const TextSegment& segment : raw.split(text, {options.parse_special, options.literal})) {
    if (segment.id != kNoToken) {
      out.push_back(segment.id);
      continue;
    }
    std::string plain(text.substr(segment.span.begin, segment.span.end - segment.span.begin));
    plain = TRY(state.normalizer.apply(std::move(plain)));
    if (normal.empty()) {
      TRY(state.encode_plain(std::move(plain), segment.span.begin == 0, out));
      continue;
    }
    for (const TextSegment& part : normal.split(plain, {options.parse_special, {}})) {
      if (part.id != kNoToken) {
        out.push_back(part.id);
      } else {
        const bool at_start = segment.span.begin == 0 && part.span.begin == 0;
        TRY(state.encode_plain(plain.substr(part.span.begin, part.span.end - part.span.begin), at_start, out));
      }
    }
  }
  if (options.add_special) out.insert(out.end(), state.spec.suffix.begin(), state.spec.suffix.end());
  return out;
}

size_t Tokenizer::fewest_tokens(std::string_view text) const {
  if (state_->longest == 0) return 0;
  const auto lasts = [&](char byte) { return state_->lasting[static_cast<uint8_t>(byte)]; };
  return static_cast<size_t>(std::ranges::count_if(text, lasts)) / state_->longest;
}

std::string Tokenizer::decode_bytes(std::span<const TokenId> ids, bool skip_special) const {
  std::string out;
  DecodeCursor cursor;
  for (const TokenId id : ids) state_->decode.append(id, skip_special, cursor, out);
  return out;
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special) const {
  return repair_utf8(decode_bytes(ids, skip_special));
}

void Tokenizer::append_bytes(TokenId id, bool skip_special, DecodeCursor& cursor, std::string& out) const {
  state_->decode.append(id, skip_special, cursor, out);
}

size_t Tokenizer::n_vocab() const { return state_->spec.tokens.size(); }
std::string_view Tokenizer::token_bytes(TokenId id) const { return state_->decode.middle(id); }
std::string Tokenizer::token_text(TokenId id) const { return repair_utf8(token_bytes(id)); }
bool Tokenizer::is_special(TokenId id) const { return state_->decode.is_special(id); }

bool Tokenizer::is_eog(TokenId id) const {
  return std::binary_search(state_->spec.eog.begin(), state_->spec.eog.end(), id);
}

std::optional<TokenId> Tokenizer::find(std::string_view content) const {
  const auto found = state_->contents.find(content);
  if (found == state_->contents.end()) return std::nullopt;
  return found->second;
}

const std::vector<TokenId>& Tokenizer::eog_ids() const { return state_->spec.eog; }
TokenId Tokenizer::bos() const { return state_->spec.bos; }
TokenId Tokenizer::eos() const { return state_->spec.eos; }
TokenId Tokenizer::pad() const { return state_->spec.pad; }
TokenId Tokenizer::unk() const { return state_->spec.unk; }
const TokenizerSpec& Tokenizer::spec() const { return state_->spec; }

}  // namespace millrace::text
