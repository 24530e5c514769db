// AddedTokenMatcher: finds added tokens in a text: leftmost, then longest, with the strip and single-word rules of
// tokenizers' AddedVocabulary. O(text x longest content). Thread: any.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "text/byte_trie.h"
#include "text/split_pattern.h"
#include "text/tokenizer.h"

namespace millrace::text {

// A piece of a text: an added token, or plain text (id = kNoToken).
struct TextSegment {
  TextSpan span;
  TokenId id = kNoToken;
};

struct AddedMatchRules {
  bool parse_special = true;
  std::span<const ByteRange> literal;  // sorted: special tokens that touch one are text
};

class AddedTokenMatcher {
 public:
  // pattern: what is looked for (the content, or its normal form).
  void add(const AddedToken& token, std::string_view pattern);
  bool empty() const { return trie_.empty(); }
  std::vector<TextSegment> split(std::string_view text, const AddedMatchRules& rules) const;

 private:
  struct Match {
    size_t end = 0;
    const AddedToken* token = nullptr;
  };
  Match longest_at(std::string_view text, size_t at, const AddedMatchRules& rules, size_t literal_idx) const;

  ByteTrie trie_;  // values: index into tokens_
  std::vector<AddedToken> tokens_;
};

}  // namespace millrace::text
