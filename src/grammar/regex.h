// A regular expression as rules. The language is what ECMA-262 and Python's re agree on, without what no automaton has:
// look-around, back-references, flags and \p{...} are refused by name. Where the two differ on a class (\d, \s, \w
// beyond ASCII, and their complements) only characters on which they agree are generated. Thread: any. Nesting is
// bounded before anything recurses.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "grammar/rules.h"

namespace millrace::grammar {

struct RegexOptions {
  bool json_string = false;  // the characters stand inside a JSON string: what JSON escapes is written escaped
  bool search = false;       // the pattern may match anywhere unless anchored (JSON schema); false: the whole text
  int64_t max_bytes = 4096;
  int64_t max_nesting = 64;
};

// kInvalidRegex with the byte offset: "regex at 3: nothing to repeat".
Result<ExprId> add_regex(Rules& rules, std::string_view pattern, const RegexOptions& options);

// One character of the set as it is written inside a JSON string.
ExprId json_characters(Rules& rules, const CharSet& set);

}  // namespace millrace::grammar
