// RFC 8259.
#include "grammar/json_rules.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/macros.h"
#include "grammar/numbers.h"

namespace millrace::grammar {
namespace {

constexpr uint32_t kMaxIndent = 20;

// The same expression of JSON's white space alone. Nested as deep as the regular expression is.
ExprId only_space(Rules& rules, ExprId id) {
  const CharSet space = {{'\t', '\n'}, {'\r', '\r'}, {' ', ' '}};
  const Expr expr = rules.at(id);  // a copy: there will be more of them
  std::vector<ExprId> parts;
  for (ExprId part : expr.parts) parts.push_back(only_space(rules, part));
  switch (expr.kind) {
    case ExprKind::kText: {
      const bool all = std::ranges::all_of(expr.text, [&](unsigned char c) { return contains(space, c); });
      return all ? id : rules.set({});
    }
    case ExprKind::kSet:
      return rules.set(intersection(expr.set, space));
    case ExprKind::kSequence:
      return rules.sequence(std::move(parts));
    case ExprKind::kChoice:
      return rules.choice(std::move(parts));
    case ExprKind::kRepeat:
      return rules.repeat(parts.front(), expr.min, expr.max);
    case ExprKind::kRule:
      return only_space(rules, rules.body(expr.rule));
    case ExprKind::kTags:
      break;
  }
  return id;
}

bool matches_some(const Rules& rules, ExprId id) {
  const Expr& expr = rules.at(id);
  auto some = [&](ExprId part) { return matches_some(rules, part); };
  if (expr.kind == ExprKind::kSet) return !expr.set.empty();
  if (expr.kind == ExprKind::kChoice) return std::ranges::any_of(expr.parts, some);
  return (expr.kind == ExprKind::kRepeat && expr.min == 0) || std::ranges::all_of(expr.parts, some);
}

}  // namespace

ExprId JsonRules::as_rule(std::optional<RuleId>& rule, ExprId body) {
  if (!rule) rule = rules_->add_rule(body);
  return rules_->rule(*rule);
}

ExprId JsonRules::space() {
  if (!any_whitespace_) return rules_->text("");
  if (space_) return rules_->rule(*space_);
  ExprId indent = rules_->repeat(rules_->set({{'\t', '\t'}, {' ', ' '}}), 0, kMaxIndent);
  return as_rule(space_, rules_->choice({text(""), text(" "), rules_->sequence({text("\n"), indent})}));
}

// Written out in each string, not as a rule: the core then knows inside the string's own automaton what a token does.
// Escaped surrogates never come.
ExprId JsonRules::string_character() {
  ExprId plain = rules_->set({{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0xD7FF}, {0xE000, kLastCharacter}});
  ExprId hex = rules_->set({{'0', '9'}, {'A', 'F'}, {'a', 'f'}});
  ExprId not_d = rules_->set({{'0', '9'}, {'A', 'C'}, {'E', 'F'}, {'a', 'c'}, {'e', 'f'}});
  ExprId coded = rules_->sequence({text("\\u"), not_d, hex, hex, hex});
  return rules_->choice({plain, named_escape(), coded});
}

ExprId JsonRules::named_escape() {
  CharSet letters = {{'"', '"'}, {'/', '/'}, {'\\', '\\'}, {'b', 'b'}, {'f', 'f'}, {'n', 'n'}, {'r', 'r'}, {'t', 't'}};
  return rules_->sequence({text("\\"), rules_->set(std::move(letters))});
}

ExprId JsonRules::counted_character() {
  ExprId plain = rules_->set({{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0xD7FF}, {0xE000, kLastCharacter}});
  return rules_->choice({plain, named_escape()});
}

ExprId JsonRules::string() {
  if (string_) return rules_->rule(*string_);
  ExprId characters = rules_->repeat(string_character(), 0, kUnbounded);
  return as_rule(string_, rules_->sequence({text("\""), characters, text("\"")}));
}

ExprId JsonRules::list(char open, char close, ExprId part, uint32_t min, uint32_t max) {
  std::string first(1, open);
  std::string last(1, close);
  if (max == 0) return rules_->sequence({text(first), space(), text(last)});
  ExprId next = rules_->sequence({text(","), space(), part});
  uint32_t more_max = max == kUnbounded ? kUnbounded : max - 1;
  std::vector<ExprId> parts{part};
  if (more_max > 0) parts.push_back(rules_->repeat(next, min == 0 ? 0 : min - 1, more_max));
  parts.push_back(space());
  ExprId filled = rules_->sequence(std::move(parts));
  if (min == 0) filled = rules_->optional(filled);
  return rules_->sequence({text(first), space(), filled, text(last)});
}

ExprId JsonRules::object() {
  if (object_) return rules_->rule(*object_);
  object_ = rules_->add_rule();
  ExprId entry = rules_->sequence({string(), text(":"), space(), value()});
  rules_->set_body(*object_, list('{', '}', entry, 0, kUnbounded));
  return rules_->rule(*object_);
}

ExprId JsonRules::array() {
  if (array_) return rules_->rule(*array_);
  array_ = rules_->add_rule();
  rules_->set_body(*array_, list('[', ']', value(), 0, kUnbounded));
  return rules_->rule(*array_);
}

ExprId JsonRules::value() {
  if (value_) return rules_->rule(*value_);
  value_ = rules_->add_rule();
  std::vector<ExprId> parts{object(),     array(),       string(),    any_number(*rules_),
                            text("true"), text("false"), text("null")};
  rules_->set_body(*value_, rules_->choice(std::move(parts)));
  return rules_->rule(*value_);
}

ExprId JsonRules::literal(const Json& value) { return text(value.dump()); }

Result<RuleId> add_space(Rules& rules, std::string_view pattern, const RegexOptions& options) {
  const ExprId any = TRY(add_regex(rules, pattern, options));
  const ExprId space = only_space(rules, any);
  if (!matches_some(rules, space)) return Error{ErrorCode::kInvalidRegex, "matches no white space of JSON", ""};
  return rules.add_rule(space);
}

}  // namespace millrace::grammar
