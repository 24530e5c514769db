// DecodeTable: the decoder list of a tokenizer, applied to every token once, so that decoding is concatenation.
// What depends on the place in the text: the first token may differ (WordPiece, Metaspace), and some leading
// characters are cut (Strip after Fuse). Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "text/tokenizer_spec.h"

namespace millrace::text {

// Where a text being decoded stands.
struct DecodeCursor {
  bool first = true;        // no token yet
  uint32_t n_stripped = 0;  // leading characters cut so far
  bool strip_done = false;
};

class DecodeTable {
 public:
  // added_texts: [spec.added.size()] what each added token stands for in the normal text.
  DecodeTable(const TokenizerSpec& spec, const std::vector<std::string>& added_texts);

  std::string_view middle(TokenId id) const;
  bool is_special(TokenId id) const;
  // Appends the bytes of one token; ids outside the vocabulary add nothing.
  void append(TokenId id, bool skip_special, DecodeCursor& cursor, std::string& out) const;

 private:
  bool inside(TokenId id) const { return id >= 0 && static_cast<size_t>(id) < middle_.size(); }
  std::vector<std::string> middle_;  // [n_vocab] bytes in the middle of a text
  std::vector<std::string> first_;   // [n_vocab] bytes at the start, or empty when the same
  std::vector<bool> special_;        // [n_vocab]
  std::string strip_text_;           // character cut at the start
  uint32_t strip_count_ = 0;         // at most so many times
};

}  // namespace millrace::text
