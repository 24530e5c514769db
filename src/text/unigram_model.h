// UnigramModel: the best segmentation of a pre-token by the sum of piece scores (Viterbi over a trie), as
// tokenizers' Unigram::encode_optimized. O(bytes x longest piece), no recursion. Thread: any.
#pragma once

#include <string_view>
#include <vector>

#include "base/ids.h"
#include "text/byte_trie.h"
#include "text/vocabulary.h"

namespace millrace::text {

class UnigramModel {
 public:
  // The vocabulary must outlive the model.
  UnigramModel(const TokenizerSpec& spec, const Vocabulary& vocabulary);
  void encode(std::string_view piece, std::vector<TokenId>& out) const;

 private:
  const Vocabulary* vocabulary_;
  bool byte_fallback_;
  std::vector<double> scores_;  // [n_vocab]
  double unk_score_ = 0.0;
  ByteTrie trie_;
};

}  // namespace millrace::text
