// PreTokenizer: the pre-tokenizer list of a tokenizer, compiled: a normalised text to pre-tokens.
// Byte-level lists give pre-tokens as raw bytes. Linear for the patterns this program knows. Thread: any.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "text/split_pattern.h"
#include "text/tokenizer_spec.h"

namespace millrace::text {

// Pre-tokens: pieces of `text` in order.
struct PreTokens {
  std::string text;
  std::vector<TextSpan> pieces;
};

class PreTokenizer {
 public:
  static Result<PreTokenizer> create(const std::vector<PreTokenizerStep>& steps, uint32_t match_steps);
  // at_start: the text is the beginning of the whole input (Metaspace "first").
  Result<PreTokens> apply(std::string text, bool at_start) const;

 private:
  struct Step {
    PreTokenizerStep spec;
    std::optional<SplitPattern> pattern;  // kSplit, and kByteLevel with use_regex
  };
  Result<void> apply_step(const Step& step, bool is_last, bool at_start, PreTokens& tokens) const;
  std::vector<Step> steps_;
  bool mapped_ = false;  // a step after ByteLevel works on the byte alphabet: map back at the end
};

}  // namespace millrace::text
