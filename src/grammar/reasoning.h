// A constraint around another one, for models that think before they answer: inside a reasoning block everything is
// allowed but the end of the answer, until a budget forces the block's end; what comes behind obeys the inner
// constraint. An answer may also begin without a block. Thread: any; a matcher one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "flow/constraint.h"

namespace millrace::text {
class Tokenizer;
}

namespace millrace::grammar {

struct ReasoningBlock {
  TokenId open = kNoToken;          // begins a block, as the first token of an answer; kNoToken: none can begin
  std::string close;                // its end, as text
  std::vector<TokenId> close_ids;   // and as the tokens that are forced; >= 1
  bool inside = false;              // the answer begins inside a block
  std::optional<uint32_t> budget;   // tokens of a block before its end is forced
  std::vector<TokenId> end_tokens;  // of answers
  size_t n_vocab = 0;               // of the mask
};

// inner: null allows everything behind the block. The tokenizer outlives the constraint.
std::shared_ptr<const flow::Constraint> behind_reasoning(std::shared_ptr<const flow::Constraint> inner,
                                                         ReasoningBlock block, const text::Tokenizer& tokenizer);

}  // namespace millrace::grammar
