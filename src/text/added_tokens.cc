// Added tokens in text.
#include "text/added_tokens.h"

#include <algorithm>

#include "text/rune_class.h"
#include "text/utf8.h"

namespace millrace::text {
namespace {

// The character that ends at byte `end` (> 0).
Rune rune_before(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && end - at < 4 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
  const Rune rune = rune_at(text, at);
  return at + rune.n_bytes == end ? rune : Rune{0xFFFD, 1, false};
}

bool word_touches(std::string_view text, size_t begin, size_t end) {
  if (begin > 0) {
    const Rune before = rune_before(text, begin);
    if (before.valid && is_word_rune(before.code)) return true;
  }
  if (end < text.size()) {
    const Rune after = rune_at(text, end);
    if (after.valid && is_word_rune(after.code)) return true;
  }
  return false;
}

size_t spaces_begin(std::string_view text, size_t begin, size_t floor) {
  while (begin > floor) {
    const Rune before = rune_before(text, begin);
    if (!before.valid || !is_space_rune(before.code)) break;
    begin -= before.n_bytes;
  }
  return std::max(begin, floor);
}

size_t spaces_end(std::string_view text, size_t end) {
  while (end < text.size()) {
    const Rune after = rune_at(text, end);
    if (!after.valid || !is_space_rune(after.code)) break;
    end += after.n_bytes;
  }
  return end;
}

}  // namespace

void AddedTokenMatcher::add(const AddedToken& token, std::string_view pattern) {
  if (pattern.empty()) return;
  trie_.add(pattern, static_cast<TokenId>(tokens_.size()));
  tokens_.push_back(token);
}

AddedTokenMatcher::Match AddedTokenMatcher::longest_at(std::string_view text, size_t at, const AddedMatchRules& rules,
                                                       size_t literal_idx) const {
  Match best;
  uint32_t node = ByteTrie::kRoot;
  for (size_t end = at; end < text.size();) {
    node = trie_.child(node, text[end++]);
    if (node == ByteTrie::kNone) break;
    const TokenId index = trie_.value(node);
    if (index == kNoToken) continue;
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    if (token.special) {
      if (!rules.parse_special) continue;
      const bool touches = literal_idx < rules.literal.size() && rules.literal[literal_idx].begin < end;
      if (touches) break;  // longer ones touch it too; non-special ones were tried on the way
    }
    best = {end, &token};
  }
  return best;
}

std::vector<TextSegment> AddedTokenMatcher::split(std::string_view text, const AddedMatchRules& rules) const {
  std::vector<TextSegment> out;
  size_t plain = 0;  // start of the text not yet put out
  size_t literal_idx = 0;
  for (size_t at = 0; at < text.size() && !empty();) {
    while (literal_idx < rules.literal.size() && rules.literal[literal_idx].end <= at) ++literal_idx;
    const Match match = longest_at(text, at, rules, literal_idx);
    if (match.token == nullptr) {
      ++at;
      continue;
    }
    if (match.token->single_word && word_touches(text, at, match.end)) {
      at = match.end;
      continue;
    }
    const size_t begin = match.token->lstrip ? spaces_begin(text, at, plain) : at;
    const size_t end = match.token->rstrip ? spaces_end(text, match.end) : match.end;
    if (begin > plain) out.push_back({{plain, begin}, kNoToken});
    out.push_back({{begin, end}, match.token->id});
    plain = end;
    at = end;
  }
  if (plain < text.size()) out.push_back({{plain, text.size()}, kNoToken});
  return out;
}

}  // namespace millrace::text
