// WordPieceModel: greedy longest match from the left; a word that cannot be covered is one unknown token.
// Source: BERT tokenization.py, WordpieceTokenizer. O(word length squared), words capped at
// max_word_chars. Thread: any.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "text/vocabulary.h"

namespace millrace::text {

class WordPieceModel {
 public:
  // The vocabulary must outlive the model.
  WordPieceModel(const TokenizerSpec& spec, const Vocabulary& vocabulary);
  void encode(std::string_view word, std::vector<TokenId>& out) const;

 private:
  const Vocabulary* vocabulary_;
  std::string prefix_;
  uint32_t max_chars_;
};

}  // namespace millrace::text
