// From the text of a constraint to rules.
#include <fmt/core.h>

#include <utility>

#include "base/json.h"
#include "base/macros.h"
#include "grammar/calls.h"
#include "grammar/compiler.h"
#include "grammar/ebnf.h"
#include "grammar/json_rules.h"
#include "grammar/regex.h"
#include "grammar/schema.h"
#include "grammar/structural_tag.h"

namespace millrace::grammar {
namespace {

RegexOptions regex_options(const Limits& limits) {
  return {.max_bytes = limits[LimitId::kRegexBytes], .max_nesting = limits[LimitId::kRegexNesting]};
}

Result<SchemaOptions> schema_options(const flow::ConstraintSpec& spec, const Limits& limits, Rules& rules) {
  SchemaOptions options;
  options.limits = {.bytes = limits[LimitId::kSchemaBytes],
                    .depth = limits[LimitId::kSchemaDepth],
                    .enum_values = limits[LimitId::kSchemaEnum],
                    .alternatives = limits[LimitId::kSchemaAlternatives],
                    .properties = limits[LimitId::kSchemaProperties],
                    .refs = limits[LimitId::kSchemaRefs]};
  options.regex_bytes = limits[LimitId::kRegexBytes];
  options.regex_nesting = limits[LimitId::kRegexNesting];
  options.max_rules = limits[LimitId::kGrammarRules];
  options.any_whitespace = spec.any_whitespace;
  if (spec.whitespace.empty()) return options;
  Result<RuleId> space = add_space(rules, spec.whitespace, regex_options(limits));
  if (!space.ok()) return Error{space.error().code, "whitespace_pattern: " + space.error().message, ""};
  options.space = *space;
  return options;
}

Result<Json> read_json(std::string_view text, const Limits& limits) {
  int64_t depth = limits[LimitId::kJsonDepth] + 2 * limits[LimitId::kSchemaDepth];  // a level of schemas is at most two
  return parse_json(
      text, {.depth = static_cast<uint32_t>(depth), .nodes = static_cast<uint32_t>(limits[LimitId::kJsonNodes])});
}

Result<void> read_schema(const flow::ConstraintSpec& spec, const Limits& limits, Rules& rules) {
  if (static_cast<int64_t>(spec.text.size()) > limits[LimitId::kSchemaBytes]) {
    return Error{ErrorCode::kInvalidSchema,
                 fmt::format("schema of {} bytes, limit {}", spec.text.size(), limits[LimitId::kSchemaBytes]), ""};
  }
  Json schema = TRY(read_json(spec.text, limits));
  const SchemaOptions options = TRY(schema_options(spec, limits, rules));
  rules.root = TRY(add_schema(rules, schema, options));
  return {};
}

Result<void> read_choice(const flow::ConstraintSpec& spec, const Limits& limits, Rules& rules) {
  Json list = TRY(read_json(spec.text, limits));
  if (!list.is_array() || list.size() == 0) {
    return Error{ErrorCode::kInvalidValue, "must be a non-empty array of strings", ""};
  }
  auto n = static_cast<int64_t>(list.size());
  if (n > limits[LimitId::kSchemaEnum]) {
    return Error{ErrorCode::kInvalidValue, fmt::format("{} entries, limit {}", n, limits[LimitId::kSchemaEnum]), ""};
  }
  std::vector<ExprId> parts;
  for (const Json& one : list.as_array()) {
    if (!one.is_string() || one.as_string().empty()) {
      return Error{ErrorCode::kInvalidValue, "must be a non-empty array of non-empty strings", ""};
    }
    parts.push_back(rules.text(one.as_string()));
  }
  rules.root = rules.add_rule(rules.choice(std::move(parts)));
  return {};
}

Result<void> read_source(const flow::ConstraintSpec& spec, const Limits& limits, Rules& rules) {
  switch (spec.kind) {
    case flow::ConstraintKind::kNone:
      return Error{ErrorCode::kInternal, "no constraint to compile", ""};
    case flow::ConstraintKind::kJsonObject: {
      const SchemaOptions options = TRY(schema_options(spec, limits, rules));
      rules.root = add_json_object(rules, options.any_whitespace, options.space);
      return {};
    }
    case flow::ConstraintKind::kJsonSchema:
      return read_schema(spec, limits, rules);
    case flow::ConstraintKind::kRegex: {
      if (spec.text.empty()) return Error{ErrorCode::kInvalidRegex, "must not be empty", ""};
      rules.root = rules.add_rule(TRY(add_regex(rules, spec.text, regex_options(limits))));
      return {};
    }
    case flow::ConstraintKind::kGrammar:
      rules = TRY(read_ebnf(spec.text, {.bytes = limits[LimitId::kGrammarBytes],
                                        .nesting = limits[LimitId::kGrammarNesting],
                                        .rules = limits[LimitId::kGrammarRules]}));
      return {};
    case flow::ConstraintKind::kChoice:
      return read_choice(spec, limits, rules);
    case flow::ConstraintKind::kCalls: {
      Json calls = TRY(read_json(spec.text, limits));
      SchemaOptions options = TRY(schema_options(spec, limits, rules));
      options.count_aside = *calls.find("mode") == Json("must");  // else quotes of free text would be taken for strings
      rules.root = TRY(add_calls(rules, calls, options));
      return {};
    }
    case flow::ConstraintKind::kTags: {
      Json tag = TRY(read_json(spec.text, limits));
      SchemaOptions options = TRY(schema_options(spec, limits, rules));
      options.count_aside = false;  // quotes of the free text would be taken for strings
      rules.root = TRY(add_structural_tag(rules, tag, options));
      return {};
    }
  }
  return {};
}

// Codes of a part that was wrong become those of the whole.
ErrorCode code_of(flow::ConstraintKind kind, ErrorCode code) {
  bool schema = kind == flow::ConstraintKind::kJsonSchema || kind == flow::ConstraintKind::kTags ||
                kind == flow::ConstraintKind::kCalls;
  bool inside = code == ErrorCode::kInvalidGrammar || code == ErrorCode::kInvalidRegex ||
                code == ErrorCode::kInvalidJson || code == ErrorCode::kDuplicateKey;
  if (schema && inside) return ErrorCode::kInvalidSchema;
  if (kind == flow::ConstraintKind::kRegex && code == ErrorCode::kInvalidGrammar) return ErrorCode::kInvalidRegex;
  return code;
}

}  // namespace

Result<Rules> read_constraint(const flow::ConstraintSpec& spec, const Limits& limits) {
  Rules rules;
  auto wrong = [&](Error error) {
    error.code = code_of(spec.kind, error.code);
    bool names_path = spec.kind == flow::ConstraintKind::kCalls && !error.param.empty();
    if (names_path) return error;
    error.message = spec.param.empty() ? error.message : fmt::format("{}: {}", spec.param, error.message);
    error.param = spec.param;
    return error;
  };
  Result<void> read = read_source(spec, limits, rules);
  if (!read.ok()) return wrong(read.take_error());
  RuleLimits rule_limits;
  rule_limits.rules = static_cast<uint64_t>(limits[LimitId::kGrammarRules]);
  rule_limits.states = static_cast<uint64_t>(limits[LimitId::kGrammarStates]);
  Result<void> checked = check_rules(rules, rule_limits);
  if (!checked.ok()) return wrong(checked.take_error());
  return rules;
}

}  // namespace millrace::grammar
