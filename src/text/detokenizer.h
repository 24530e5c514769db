// Detokenizer: token ids of one stream to text, as they come. Invariants:
//  1. the joined results of push() and finish() = Tokenizer::decode of all ids;
//  2. each result is valid UTF-8; at most 3 bytes of an unfinished character are held back;
//  3. bytes that are not UTF-8 become U+FFFD, one per maximal invalid part.
// Thread: one at a time. The tokenizer must outlive it.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "text/decode_table.h"
#include "text/tokenizer.h"

namespace millrace::text {

class Detokenizer {
 public:
  Detokenizer(const Tokenizer& tokenizer, bool skip_special);
  // Special tokens that are text all the same: sorted, they outlive it.
  void keep(std::span<const TokenId> ids) { kept_ = ids; }

  // The text that this token completes; may be empty. Ids outside the vocabulary add nothing.
  std::string push(TokenId id);
  // An unfinished character is held back.
  bool holds_bytes() const { return !held_.empty(); }
  // What was held back; the next push starts a new text.
  std::string finish();
  // As if the ids had been pushed and their text dropped: for answers that go on after a prompt.
  void prime(std::span<const TokenId> ids);

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::span<const TokenId> kept_;
  DecodeCursor cursor_;
  std::string held_;  // the last, unfinished character (<= 3 bytes)
};

}  // namespace millrace::text
