// The parts of JSON that every schema shares, made when first asked for. Thread: any.
#pragma once

#include <optional>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "grammar/regex.h"
#include "grammar/rules.h"

namespace millrace::grammar {

class JsonRules {
 public:
  // space: what any white space is, instead of our own choice.
  JsonRules(Rules& rules, bool any_whitespace, std::optional<RuleId> space = {})
      : rules_(&rules), any_whitespace_(any_whitespace), space_(space) {}

  // Nothing, one space, or a line end with an indent: no white space goes on for ever.
  ExprId space();
  // One character of a string, escaped or not.
  ExprId string_character();
  // A character without \u escapes, so that bounded strings are counted by their bytes.
  ExprId counted_character();
  ExprId string();  // any
  ExprId value();   // any
  ExprId object();  // any
  ExprId array();   // any
  ExprId literal(const Json& value);
  ExprId text(std::string_view utf8) { return rules_->text(utf8); }
  // open space part (, space part)* space close, with min..max parts.
  ExprId list(char open, char close, ExprId part, uint32_t min, uint32_t max);

 private:
  ExprId named_escape();
  ExprId as_rule(std::optional<RuleId>& rule, ExprId body);
  Rules* rules_;
  bool any_whitespace_;
  std::optional<RuleId> space_;
  std::optional<RuleId> string_;
  std::optional<RuleId> value_;
  std::optional<RuleId> object_;
  std::optional<RuleId> array_;
};

// The white space that a regular expression matches, without characters that are none in JSON. kInvalidRegex.
Result<RuleId> add_space(Rules& rules, std::string_view pattern, const RegexOptions& options);

}  // namespace millrace::grammar
