// Pre-tokenizers, each as the tokenizers library defines it (tokenizers/src/pre_tokenizers, Split behaviours in
// tokenizer/normalizer.rs).
#include "text/pre_tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/macros.h"
#include "text/byte_alphabet.h"
#include "text/rune_class.h"
#include "text/utf8.h"

namespace millrace::text {
namespace {

// GPT-2's pattern (openai/gpt-2 encoder.py).
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// Cuts pieces at their matches, by behaviour. The parts of a piece come in order; empty ones are left out.
class Splitter {
 public:
  Splitter(SplitBehavior behavior, std::vector<TextSpan>& out) : behavior_(behavior), out_(out) {}
  void begin_piece() {
    first_ = out_.size();
    previous_ = false;
  }
  void add(TextSpan part, bool is_match) {
    bool begun = out_.size() > first_;
    bool joins = false;
    switch (behavior_) {
      case SplitBehavior::kIsolated:
        break;
      case SplitBehavior::kRemoved:
        if (is_match) return;
        break;
      case SplitBehavior::kContiguous:
        joins = is_match == previous_;
        break;
      case SplitBehavior::kMergedWithPrevious:
        joins = is_match && !previous_;
        break;
      case SplitBehavior::kMergedWithNext:
        joins = !is_match && previous_;
        break;
    }
    previous_ = is_match;
    if (begun && joins) {
      out_.back().end = part.end;
    } else if (part.end > part.begin) {
      out_.push_back(part);
    }
  }

 private:
  SplitBehavior behavior_;
  std::vector<TextSpan>& out_;
  size_t first_ = 0;  // in out_: begin of this piece
  bool previous_ = false;
};

// Cuts every piece at `matches` (in order, inside the pieces).
void split_pieces(PreTokens& tokens, const std::vector<TextSpan>& matches, bool invert, SplitBehavior behavior) {
  std::vector<TextSpan> out;
  out.reserve(tokens.pieces.size() + matches.size());
  Splitter splitter(behavior, out);
  size_t next = 0;
  for (const TextSpan& piece : tokens.pieces) {
    splitter.begin_piece();
    size_t at = piece.begin;
    for (; next < matches.size() && matches[next].begin < piece.end; ++next) {
      if (matches[next].begin > at) splitter.add({at, matches[next].begin}, invert);
      splitter.add(matches[next], !invert);
      at = matches[next].end;
    }
    if (at < piece.end) splitter.add({at, piece.end}, invert);
  }
  tokens.pieces = std::move(out);
}

// Every character for which f holds is a match.
template <class F>
std::vector<TextSpan> rune_matches(const PreTokens& tokens, F f) {
  std::vector<TextSpan> out;
  for (const TextSpan& piece : tokens.pieces) {
    for (size_t at = piece.begin; at < piece.end;) {
      const Rune rune = rune_at(std::string_view(tokens.text).substr(0, piece.end), at);
      if (rune.valid && f(rune.code)) out.push_back({at, at + rune.n_bytes});
      at += rune.n_bytes;
    }
  }
  return out;
}

// \w+|[^\w\s]+ : the runs of one class; spaces are dropped.
void split_words(PreTokens& tokens) {
  std::vector<TextSpan> out;
  for (const TextSpan& piece : tokens.pieces) {
    int previous = 0;  // 0 space, 1 word, 2 other
    for (size_t at = piece.begin; at < piece.end;) {
      const Rune rune = rune_at(std::string_view(tokens.text).substr(0, piece.end), at);
      const int kind = !rune.valid ? 2 : is_space_rune(rune.code) ? 0 : is_word_rune(rune.code) ? 1 : 2;
      if (kind != 0 && kind == previous) {
        out.back() = {out.back().begin, at + rune.n_bytes};
      } else if (kind != 0) {
        out.push_back({at, at + rune.n_bytes});
      }
      previous = kind;
      at += rune.n_bytes;
    }
  }
  tokens.pieces = std::move(out);
}

// f(piece text, index, out): rewrites each piece.
template <class F>
void rewrite_pieces(PreTokens& tokens, F f) {
  PreTokens out;
  out.text.reserve(tokens.text.size() + tokens.pieces.size());
  for (size_t i = 0; i < tokens.pieces.size(); ++i) {
    const TextSpan piece = tokens.pieces[i];
    const size_t begin = out.text.size();
    f(std::string_view(tokens.text).substr(piece.begin, piece.end - piece.begin), piece, out.text);
    if (out.text.size() > begin) out.pieces.push_back({begin, out.text.size()});
  }
  tokens = std::move(out);
}

Result<void> metaspace(const PreTokenizerStep& step, bool at_start, PreTokens& tokens) {
  rewrite_pieces(tokens, [&](std::string_view piece, TextSpan where, std::string& out) {
    const bool wanted = step.prepend == PrependScheme::kAlways ||
                        (step.prepend == PrependScheme::kFirst && at_start && where.begin == 0);
    if (wanted && !piece.starts_with(step.replacement) && !piece.starts_with(' ')) out += step.replacement;
    for (const char byte : piece) {
      if (byte == ' ') {
        out += step.replacement;
      } else {
        out += byte;
      }
    }
  });
  if (!step.split) return {};
  const auto matches = TRY(SplitPattern::literal(step.replacement).find_all(tokens.text, tokens.pieces));
  split_pieces(tokens, matches, false, SplitBehavior::kMergedWithNext);
  return {};
}

}  // namespace

Result<PreTokenizer> PreTokenizer::create(const std::vector<PreTokenizerStep>& steps, uint32_t match_steps) {
  PreTokenizer out;
  for (const PreTokenizerStep& spec : steps) {
    Step step{spec, std::nullopt};
    if (spec.kind == PreTokenizerKind::kSplit) {
      step.pattern = spec.is_regex ? TRY(SplitPattern::compile_regex(spec.pattern, match_steps))
                                   : SplitPattern::literal(spec.pattern);
    }
    if (spec.kind == PreTokenizerKind::kByteLevel && spec.use_regex) {
      step.pattern = TRY(SplitPattern::compile_regex(kGpt2Pattern, match_steps));
    }
    if (spec.kind == PreTokenizerKind::kByteLevel && &spec != &steps.back()) out.mapped_ = true;
    out.steps_.push_back(std::move(step));
  }
  return out;
}

Result<void> PreTokenizer::apply_step(const Step& step, bool is_last, bool at_start, PreTokens& tokens) const {
  const PreTokenizerStep& spec = step.spec;
  const auto space = [](uint32_t code) { return is_space_rune(code); };
  switch (spec.kind) {
    case PreTokenizerKind::kByteLevel: {
      if (spec.add_prefix_space) {
        rewrite_pieces(tokens, [](std::string_view piece, TextSpan, std::string& out) {
          if (!piece.starts_with(' ')) out += ' ';
          out += piece;
        });
      }
      if (step.pattern) {
        const auto matches = TRY(step.pattern->find_all(tokens.text, tokens.pieces));
        split_pieces(tokens, matches, false, SplitBehavior::kIsolated);
      }
      if (!is_last) {
        rewrite_pieces(tokens,
                       [](std::string_view piece, TextSpan, std::string& out) { out += to_byte_alphabet(piece); });
      }
      return {};
    }
    case PreTokenizerKind::kSplit: {
      const auto matches = TRY(step.pattern->find_all(tokens.text, tokens.pieces));
      split_pieces(tokens, matches, spec.invert, spec.behavior);
      return {};
    }
    case PreTokenizerKind::kMetaspace:
      return metaspace(spec, at_start, tokens);
    case PreTokenizerKind::kWhitespace:
      split_words(tokens);
      return {};
    case PreTokenizerKind::kWhitespaceSplit:
      split_pieces(tokens, rune_matches(tokens, space), false, SplitBehavior::kRemoved);
      return {};
    case PreTokenizerKind::kDigits:
      split_pieces(tokens, rune_matches(tokens, [](uint32_t code) { return is_number_rune(code); }), false,
                   spec.individual_digits ? SplitBehavior::kIsolated : SplitBehavior::kContiguous);
      return {};
    case PreTokenizerKind::kPunctuation:
      split_pieces(tokens, rune_matches(tokens, [](uint32_t code) { return is_punctuation_rune(code); }), false,
                   spec.behavior);
      return {};
    case PreTokenizerKind::kBert:
      split_pieces(tokens, rune_matches(tokens, space), false, SplitBehavior::kRemoved);
      split_pieces(tokens, rune_matches(tokens, [](uint32_t code) { return is_punctuation_rune(code); }), false,
                   SplitBehavior::kIsolated);
      return {};
  }
  return {};
}

Result<PreTokens> PreTokenizer::apply(std::string text, bool at_start) const {
  PreTokens tokens;
  tokens.text = std::move(text);
  if (!tokens.text.empty()) tokens.pieces.push_back({0, tokens.text.size()});
  for (const Step& step : steps_) TRY(apply_step(step, &step == &steps_.back(), at_start, tokens));
  if (mapped_) {
    rewrite_pieces(tokens, [](std::string_view piece, TextSpan, std::string& out) {
      out += from_byte_alphabet(piece).value_or(std::string(piece));
    });
  }
  return tokens;
}

}  // namespace millrace::text
