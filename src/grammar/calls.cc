#include "grammar/calls.h"

#include <fmt/core.h>

#include <string>
#include <utility>
#include <vector>

#include "base/macros.h"

namespace millrace::grammar {
namespace {

const std::string& text_of(const Json& object, std::string_view name) {
  const Json* value = object.get(name);
  CHECK(value != nullptr && value->is_string(), "calls without {}", name);
  return value->as_string();
}

bool is_true(const Json* value) { return value != nullptr && value->is_bool() && value->as_bool(); }

Result<RuleId> schema_rule(Rules& rules, const Json& schema, const std::string& path, const SchemaOptions& options) {
  if (is_true(&schema)) return add_json_object(rules, options.any_whitespace, options.space);
  Result<RuleId> read = add_schema(rules, schema, options);
  if (!read.ok()) return Error{read.error().code, fmt::format("{}: {}", path, read.error().message), path};
  return read;
}

// BEGIN arguments END of any of them, without the first bytes of BEGIN.
ExprId any_call(Rules& rules, const Json& spec, const std::vector<RuleId>& arguments, size_t cut) {
  std::vector<ExprId> calls;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const Json& call = spec.find("calls")->as_array()[i];
    std::string_view begin = std::string_view(text_of(call, "begin")).substr(cut);
    calls.push_back(rules.sequence({rules.text(begin), rules.rule(arguments[i]), rules.text(text_of(call, "end"))}));
  }
  return rules.choice(std::move(calls));
}

// A text that is no call without a tag: it begins with none of what such a call begins with.
ExprId no_call(Rules& rules) {
  ExprId first = rules.set(complement(normalised({{'{', '{'}, {'[', '['}, {' ', ' '}, {'\t', '\r'}})));
  ExprId any = rules.set({{0, kLastCharacter}});
  return rules.sequence({first, rules.repeat(any, 0, kUnbounded)});
}

}  // namespace

Result<RuleId> add_calls(Rules& rules, const Json& spec, const SchemaOptions& options) {
  std::vector<RuleId> arguments;
  for (const Json& call : spec.find("calls")->as_array()) {
    arguments.push_back(TRY(schema_rule(rules, *call.find("schema"), text_of(call, "path"), options)));
  }
  const std::string& mode = text_of(spec, "mode");
  const std::string& open = text_of(spec, "open");
  const std::string& trigger = text_of(spec, "trigger");
  bool many = is_true(spec.get("many"));
  bool tagged = mode == "tagged";
  // what the trigger has said already is not said again
  size_t cut_open = tagged && !open.empty() ? trigger.size() : 0;
  size_t cut_begin = tagged && open.empty() ? trigger.size() : static_cast<size_t>(spec.find("cut")->as_int());
  std::vector<ExprId> parts = {rules.text(std::string_view(open).substr(cut_open)),
                               any_call(rules, spec, arguments, cut_begin)};
  // without an outer tag, further calls of a tagged text come behind triggers of their own
  if (many && (!tagged || !open.empty())) {
    ExprId next = rules.sequence({rules.text(text_of(spec, "separator")), any_call(rules, spec, arguments, 0)});
    parts.push_back(rules.repeat(next, 0, kUnbounded));
  }
  parts.push_back(rules.text(text_of(spec, "close")));
  RuleId calls = rules.add_rule(rules.sequence(std::move(parts)));
  if (tagged) return rules.add_rule(rules.tags({{trigger, calls}}, {}, many && open.empty()));
  if (mode == "bare") return rules.add_rule(rules.choice({rules.rule(calls), no_call(rules)}));
  const Json* other = spec.get("or");
  if (other == nullptr) return calls;
  RuleId document = TRY(schema_rule(rules, *other, "response_format", options));
  return rules.add_rule(rules.choice({rules.rule(calls), rules.rule(document)}));
}

}  // namespace millrace::grammar
