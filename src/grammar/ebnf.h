// A grammar text as rules. Reads llama.cpp's GBNF and the W3C-style EBNF of xgrammar, which agree on all they share:
// name ::= alternatives, "text", [class], . (any character), ( ), | and * + ? {m} {m,} {m,n}, # comments. A rule ends
// where the next `name ::=` begins. Not read, and refused by name: token literals <...>, look-ahead (=...) and macros.
// Thread: any. Nesting is bounded before anything recurses.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "grammar/rules.h"

namespace millrace::grammar {

struct EbnfLimits {
  int64_t bytes = 256 * 1024;
  int64_t nesting = 256;
  int64_t rules = 20'000;
};

// The rules, with `root` as the root. kInvalidGrammar with the line: "grammar line 2: rule \"x\" is not defined".
Result<Rules> read_ebnf(std::string_view text, const EbnfLimits& limits);

}  // namespace millrace::grammar
