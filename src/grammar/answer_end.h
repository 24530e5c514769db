// AnswerEnd: the nearest end of one answer, in tokens: the text that completes it by the fewest bytes (shortest_end.h),
// written in as few tokens as it can be. Kept while the answer follows it, else found again.
//  1. The text is chosen byte by byte from where the parser is, so behind a beginning of it the rest of it is found:
//     whoever takes a token of the way stays as near to the end as was said.
//  2. What is said depends on the tokens before alone, not on what was asked for before.
// Thread: its matcher's.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "grammar/shortest_end.h"
#include "grammar/string_guard.h"

namespace millrace::grammar {

class TokenTable;

// Where a matcher is.
struct AnswerPlace {
  xgrammar::GrammarMatcher& parser;  // moved, and moved back
  const StringGuard& guard;
  std::string_view before;  // text that must come before what the parser follows
  size_t n_tokens = 0;      // accepted
  // The guard sees a byte that the parser is about to take.
  const std::function<void(StringGuard& guard, char byte)>& follow;
};

class AnswerEnd {
 public:
  // Both outlive this. bounded: strings have lengths that the guard counts.
  AnswerEnd(const TokenTable& tokens, const EndCosts& costs, bool bounded);

  // As flow::TokenMatcher::farthest_end(), of an answer before which n_before bytes must come.
  uint32_t farthest(size_t n_before) const;
  // As flow::TokenMatcher::ends_within() and keep_ending().
  bool within(uint32_t n_tokens, const AnswerPlace& place);
  void keep(std::span<uint32_t> mask, uint32_t n_tokens, const AnswerPlace& place);
  // The text of a token was accepted, with which there are n_tokens.
  void accepted(std::string_view text, size_t n_tokens);
  // There are n_tokens again, and the parser has so many rows.
  void taken_back(size_t n_tokens, int32_t n_rows);

 private:
  struct Way {
    std::string text;
    std::vector<uint32_t> n_tokens;                 // [text.size() + 1] the fewest for what is behind each byte
    std::vector<std::pair<size_t, size_t>> places;  // tokens accepted, bytes of text among them
    bool found = false;
  };
  struct Rest {
    const Way* way = nullptr;
    size_t at = 0;  // bytes of its text before the answer's end so far
  };

  Rest rest_of(const AnswerPlace& place);
  const Rest* known(size_t n_tokens);
  bool find_text(const AnswerPlace& place, std::string& text);
  void count_tokens(Way& way) const;
  bool usable(TokenId token) const;

  static constexpr size_t kNowhere = SIZE_MAX;

  const TokenTable& tokens_;
  const EndCosts& costs_;
  NearestEnd nearest_;
  bool bounded_;
  EndCost cost_;               // as NearestEnd says
  size_t cost_at_ = kNowhere;  // tokens accepted there
  Way ways_[2];                // the last one found first
  Rest rest_;
};

}  // namespace millrace::grammar
