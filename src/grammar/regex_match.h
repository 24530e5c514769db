// Whether a text matches rules none of which comes back to itself: for property names against patterns, at compile
// time. Thread: any.
#pragma once

#include <string_view>

#include "base/result.h"
#include "grammar/rules.h"

namespace millrace::grammar {

// The whole text, which is UTF-8. Steps grow with the text times the size of the expression; no recursion deeper than
// it.
bool matches(const Rules& rules, ExprId expr, std::string_view text);

// A JSON schema `pattern` against a text: searches unless anchored. kInvalidRegex as add_regex().
Result<bool> matches_pattern(std::string_view pattern, std::string_view text);

}  // namespace millrace::grammar
