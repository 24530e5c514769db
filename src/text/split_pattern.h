// SplitPattern: a regex or literal from a tokenizer file, compiled once, matched over a text with bounded work.
//  1. Refused at load: more than 4 KiB, back-references, recursion, callouts, look-behind over 255, depth over 64.
//  2. Matching never recurses on our stack: PCRE2 JIT with its own stack (<= 16 MiB), or its heap interpreter.
//  3. Invalid UTF-8 never matches: each valid run is a subject of its own.
// Oniguruma's \s and \w are rewritten to the classes it gives them (PCRE2's differ in U+180E and marks).
// Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace::text {

// Bytes [begin, end) of a text of less than 2 GiB; a long text has millions of them.
struct TextSpan {
  TextSpan() = default;
  TextSpan(size_t from, size_t to) : begin(static_cast<uint32_t>(from)), end(static_cast<uint32_t>(to)) {}
  uint32_t begin = 0;
  uint32_t end = 0;
};

class SplitPattern {
 public:
  // match_steps bounds one match (limit match_steps), on top of some steps per byte of the text; all matches of a text
  // together are bounded in time.
  static Result<SplitPattern> compile_regex(std::string_view pattern, uint32_t match_steps);
  static SplitPattern literal(std::string text);
  SplitPattern(SplitPattern&&) noexcept;
  SplitPattern& operator=(SplitPattern&&) noexcept;
  ~SplitPattern();

  // The non-empty matches inside each of the spans (each span is matched as a text of its own), in order, as offsets
  // of text. kTokenizerLimit when a bound is passed.
  Result<std::vector<TextSpan>> find_all(std::string_view text, std::span<const TextSpan> spans) const;

 private:
  struct Compiled;
  SplitPattern();
  std::unique_ptr<Compiled> compiled_;  // null: literal
  std::string literal_;
};

}  // namespace millrace::text
