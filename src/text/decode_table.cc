// Decoders, each as the tokenizers library defines it (tokenizers/src/decoders), per token.
#include "text/decode_table.h"

#include <algorithm>
#include <array>
#include <utility>

#include "text/byte_alphabet.h"
#include "text/vocabulary.h"

namespace millrace::text {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty()) return;
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

// tokenizers decoders/wordpiece.rs, cleanup().
std::string cleanup(std::string text) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kRules{{{" .", "."},
                                                                                  {" ?", "?"},
                                                                                  {" !", "!"},
                                                                                  {" ,", ","},
                                                                                  {" ' ", "'"},
                                                                                  {" n't", "n't"},
                                                                                  {" 'm", "'m"},
                                                                                  {" do not", " don't"},
                                                                                  {" 's", "'s"},
                                                                                  {" 've", "'ve"},
                                                                                  {" 're", "'re"}}};
  for (const auto& [from, to] : kRules) replace_all(text, from, to);
  return text;
}

std::string strip_token(std::string text, const DecoderStep& step) {
  for (uint32_t i = 0; i < step.start && text.starts_with(step.content); ++i) text.erase(0, step.content.size());
  for (uint32_t i = 0; i < step.stop && text.ends_with(step.content); ++i) {
    text.resize(text.size() - step.content.size());
  }
  return text;
}

struct Place {
  bool first = false;
  bool added = false;
};

std::string apply_step(const DecoderStep& step, std::string text, Place place) {
  switch (step.kind) {
    case DecoderKind::kByteLevel:
      return place.added ? text : from_byte_alphabet(text).value_or(text);
    case DecoderKind::kByteFallback: {
      const auto byte = byte_of_piece(text);
      return byte ? std::string(1, static_cast<char>(*byte)) : text;
    }
    case DecoderKind::kFuse:
      return text;
    case DecoderKind::kMetaspace:
      replace_all(text, step.pattern, place.first && step.prepend != PrependScheme::kNever ? "" : " ");
      return text;
    case DecoderKind::kReplace:
      replace_all(text, step.pattern, step.content);
      return text;
    case DecoderKind::kStrip:
      return strip_token(std::move(text), step);
    case DecoderKind::kWordPiece:
      if (!place.first) {
        if (text.starts_with(step.content)) {
          text.erase(0, step.content.size());
        } else {
          text.insert(0, " ");
        }
      }
      return step.cleanup ? cleanup(std::move(text)) : text;
  }
  return text;
}

}  // namespace

DecodeTable::DecodeTable(const TokenizerSpec& spec, const std::vector<std::string>& added_texts) {
  const size_t n = spec.tokens.size();
  std::vector<bool> added(n, false);
  special_.assign(n, false);
  std::vector<const std::string*> content(n);
  for (size_t i = 0; i < n; ++i) {
    content[i] = &spec.tokens[i];
    special_[i] = spec.types[i] == TokenType::kControl;
  }
  for (size_t i = 0; i < spec.added.size(); ++i) {
    const AddedToken& token = spec.added[i];
    const auto id = static_cast<size_t>(token.id);
    added[id] = true;
    content[id] = &added_texts[i];
    special_[id] = special_[id] || token.special;
  }
  bool fused = false;
  bool first_differs = spec.decoders.empty();
  std::vector<DecoderStep> steps;
  for (const DecoderStep& step : spec.decoders) {
    fused = fused || step.kind == DecoderKind::kFuse;
    if (step.kind == DecoderKind::kStrip && fused) {
      strip_text_ = step.content;
      strip_count_ = step.start;
      continue;
    }
    first_differs = first_differs || step.kind == DecoderKind::kWordPiece ||
                    (step.kind == DecoderKind::kMetaspace && step.prepend != PrependScheme::kNever);
    steps.push_back(step);
  }
  const auto decode = [&](size_t i, bool first) {
    std::string text = *content[i];
    // Without a decoder the tokenizers library joins tokens by spaces.
    if (spec.decoders.empty() && !first) text.insert(0, " ");
    for (const DecoderStep& step : steps) text = apply_step(step, std::move(text), {first, added[i]});
    return text;
  };
  middle_.resize(n);
  if (first_differs) first_.resize(n);
  for (size_t i = 0; i < n; ++i) {
    middle_[i] = decode(i, false);
    if (first_differs) first_[i] = decode(i, true);
  }
}

std::string_view DecodeTable::middle(TokenId id) const {
  return inside(id) ? std::string_view(middle_[static_cast<size_t>(id)]) : std::string_view();
}

bool DecodeTable::is_special(TokenId id) const { return inside(id) && special_[static_cast<size_t>(id)]; }

void DecodeTable::append(TokenId id, bool skip_special, DecodeCursor& cursor, std::string& out) const {
  if (!inside(id) || (skip_special && is_special(id))) return;
  const auto at = static_cast<size_t>(id);
  std::string_view text = cursor.first && !first_.empty() ? first_[at] : middle_[at];
  cursor.first = false;
  while (!cursor.strip_done && !text.empty()) {
    if (cursor.n_stripped >= strip_count_ || !text.starts_with(strip_text_)) {
      cursor.strip_done = true;
      break;
    }
    text.remove_prefix(strip_text_.size());
    ++cursor.n_stripped;
  }
  out += text;
}

}  // namespace millrace::text
