// Spelling: in which tokens an answer will write text that is fixed. The tokenizer's own way is the first guess; a
// model may leave it (a space as a token of its own, say) and then goes on so, hence what an answer did before comes
// first. A guess only: proposals are checked by sampling. Thread: one at a time.
#pragma once

#include <bitset>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"

namespace millrace::grammar {

class TokenTable;

class Spelling {
 public:
  // tokens outlives the spelling.
  explicit Spelling(const TokenTable& tokens) : tokens_(tokens) {}

  // `token` was sampled where `text` had to come next, which begins with it.
  void learn(std::string_view text, TokenId token);
  // The tokens of text, at most n of them. whole: all that is fixed; otherwise it goes on, and its last token may be
  // another. Empty when the text cannot be written.
  std::vector<TokenId> write(std::string_view text, size_t n, bool whole) const;

 private:
  const TokenTable& tokens_;
  std::unordered_map<std::string, TokenId> written_;  // by what comes next, at most kKeyBytes of it
  std::bitset<256> bare_;                             // bytes that last began fixed text as tokens of their own
};

}  // namespace millrace::grammar
