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

constexpr RuleId kTextBegin = 0;  // with RegexOptions::places
constexpr RuleId kTextEnd = 1;
constexpr RuleId kFirstGroup = 2;

struct RegexOptions {
  bool json_string = false;  // the characters stand inside a JSON string: what JSON escapes is written escaped
  bool search = false;       // the pattern may match anywhere unless anchored (JSON schema); false: the whole text
  // To look for texts, not to make them: classes hold all characters that they name, rule 0 stands for the beginning
  // and rule 1 for the end of the text (anchors), further ones for groups as they open.
  bool places = false;
  int64_t max_bytes = 4096;
  int64_t max_nesting = 64;
};

// kInvalidRegex with the byte offset: "regex at 3: nothing to repeat".
Result<ExprId> add_regex(Rules& rules, std::string_view pattern, const RegexOptions& options);

// One character of the set as it is written inside a JSON string.
ExprId json_characters(Rules& rules, const CharSet& set);

}  // namespace millrace::grammar
