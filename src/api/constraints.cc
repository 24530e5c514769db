#include "api/constraints.h"

#include <fmt/core.h>

#include <string>
#include <utility>

#include "api/bad_value.h"
#include "base/macros.h"

namespace millrace::api {
namespace {

using flow::ConstraintKind;

std::string quoted(std::string_view text) { return fmt::format("\"{}\"", quote_for_message(text)); }

Result<void> set(CommonParams& common, ConstraintKind kind, std::string text, std::string path) {
  flow::ConstraintSpec& spec = common.constraint;
  if (spec.kind != ConstraintKind::kNone) {
    return Error{ErrorCode::kConflictingConstraints,
                 fmt::format("{} and {} both constrain the answer: at most one is allowed", spec.param, path), path};
  }
  spec.kind = kind;
  spec.text = std::move(text);
  spec.param = std::move(path);
  return {};
}

// A schema, as JSON or as a string that holds it.
Result<void> set_schema(CommonParams& common, const Json& value, std::string path) {
  if (value.is_string() && !value.as_string().empty()) {
    return set(common, ConstraintKind::kJsonSchema, value.as_string(), std::move(path));
  }
  if (!value.is_object() && !value.is_bool()) return bad(std::move(path), "must be a JSON schema");
  return set(common, ConstraintKind::kJsonSchema, value.dump(), std::move(path));
}

Result<void> set_text(CommonParams& common, ConstraintKind kind, const Json& value, std::string path) {
  if (!value.is_string()) return bad(std::move(path), "must be a string");
  if (value.as_string().empty()) return bad(std::move(path), "must not be empty");
  return set(common, kind, value.as_string(), std::move(path));
}

Result<void> set_choice(CommonParams& common, const Json& value, std::string path) {
  if (!value.is_array() || value.size() == 0) return bad(std::move(path), "must be a non-empty array of strings");
  for (const Json& one : value.as_array()) {
    if (!one.is_string()) return bad(std::move(path), "must be a non-empty array of strings");
  }
  return set(common, ConstraintKind::kChoice, value.dump(), std::move(path));
}

Result<void> set_tags(CommonParams& common, const Json& value, std::string path) {
  if (value.is_string()) return set_text(common, ConstraintKind::kTags, value, std::move(path));
  if (!value.is_object()) return bad(std::move(path), "must be an object");
  return set(common, ConstraintKind::kTags, value.dump(), std::move(path));
}

// {"name", "description", "schema", "strict"}: what is asked for is always kept to, so strict says nothing more.
Result<void> read_named_schema(const Json& value, const std::string& path, CommonParams& common) {
  if (!value.is_object()) return bad(path, "must be an object");
  const Json* name = value.get("name");
  if (name != nullptr && !name->is_string()) return bad(path + ".name", "must be a string");
  const Json* strict = value.get("strict");
  if (strict != nullptr && !strict->is_bool()) return bad(path + ".strict", "must be a boolean");
  const Json* schema = value.get("schema");
  std::string at = path + ".schema";
  if (schema == nullptr) return Error{ErrorCode::kMissingField, at + " is required", at};
  return set_schema(common, *schema, std::move(at));
}

Result<void> read_response_format(const Json& value, CommonParams& common) {
  const std::string path = "response_format";
  if (!value.is_object()) return bad(path, "must be an object");
  const Json* type = value.get("type");
  if (type == nullptr || !type->is_string()) {
    return bad(path + ".type", "must be text, json_object, json_schema or structural_tag");
  }
  const std::string& name = type->as_string();
  if (name == "text") return {};
  if (name == "json_object") {
    const Json* schema = value.get("schema");
    if (schema != nullptr) return set_schema(common, *schema, path + ".schema");
    return set(common, ConstraintKind::kJsonObject, "", path);
  }
  if (name == "json_schema") {
    if (const Json* named = value.get("json_schema")) return read_named_schema(*named, path + ".json_schema", common);
    const Json* schema = value.get("schema");
    if (schema == nullptr) {
      return Error{ErrorCode::kMissingField, path + ".json_schema is required", path + ".json_schema"};
    }
    return set_schema(common, *schema, path + ".schema");
  }
  if (name == "structural_tag") return set(common, ConstraintKind::kTags, value.dump(), path);
  return bad(path + ".type", "must be text, json_object, json_schema or structural_tag, not " + quoted(name));
}

Result<void> read_structured_outputs(const Json& value, CommonParams& common) {
  const std::string path = "structured_outputs";
  if (!value.is_object()) return bad(path, "must be an object");
  for (const auto& [name, member] : value.as_object().members) {
    if (member.is_null()) continue;
    std::string at = path;
    at.append(".").append(name);
    bool flag = name == "json_object" || name == "disable_any_whitespace" || name == "disable_additional_properties" ||
                name == "disable_fallback";
    if (flag && !member.is_bool()) return bad(at, "must be a boolean");
    if (name == "json") {
      TRY(set_schema(common, member, at));
    } else if (name == "regex") {
      TRY(set_text(common, ConstraintKind::kRegex, member, at));
    } else if (name == "choice") {
      TRY(set_choice(common, member, at));
    } else if (name == "grammar") {
      TRY(set_text(common, ConstraintKind::kGrammar, member, at));
    } else if (name == "structural_tag") {
      TRY(set_tags(common, member, at));
    } else if (name == "json_object") {
      if (member.as_bool()) TRY(set(common, ConstraintKind::kJsonObject, "", at));
    } else if (name == "disable_any_whitespace") {
      common.constraint.any_whitespace = !member.as_bool();
    } else if (name == "whitespace_pattern") {
      if (!member.is_string()) return bad(at, "must be a string");
      common.constraint.whitespace = member.as_string();
      if (!member.as_string().empty()) common.constraint.any_whitespace = true;
    } else if (!flag) {
      return Error{ErrorCode::kUnknownField, fmt::format("unknown field {}.{}", path, quote_for_message(name)), path};
    }
  }
  if (common.constraint.kind == ConstraintKind::kNone) return bad(path, "names no constraint");
  const Json* none = value.get("disable_any_whitespace");
  if (none != nullptr && none->as_bool() && !common.constraint.whitespace.empty()) {
    return bad(path + ".whitespace_pattern", "and disable_any_whitespace exclude each other");
  }
  return {};
}

struct Row {
  std::string_view name;
  ConstraintKind kind = ConstraintKind::kNone;  // kNone: one of the two objects above
};
constexpr Row kRows[] = {{"response_format"},
                         {"structured_outputs"},
                         {"guided_json", ConstraintKind::kJsonSchema},
                         {"guided_regex", ConstraintKind::kRegex},
                         {"guided_choice", ConstraintKind::kChoice},
                         {"guided_grammar", ConstraintKind::kGrammar},
                         {"grammar", ConstraintKind::kGrammar},
                         {"json_schema", ConstraintKind::kJsonSchema},
                         {"regex", ConstraintKind::kRegex},
                         {"ebnf", ConstraintKind::kGrammar},
                         {"structural_tag", ConstraintKind::kTags}};

}  // namespace

bool is_constraint_field(std::string_view name) {
  for (const Row& row : kRows) {
    if (row.name == name) return true;
  }
  return false;
}

Result<std::vector<flow::Trigger>> read_triggers(const Json& value, const Limits& limits, int64_t n_vocab) {
  constexpr flow::TriggerKind kKinds[] = {flow::TriggerKind::kToken, flow::TriggerKind::kWord,
                                          flow::TriggerKind::kPattern, flow::TriggerKind::kWholePattern};
  std::vector<flow::Trigger> out;
  for (const Json& one : value.as_array()) {
    const std::string path = fmt::format("grammar_triggers[{}]", out.size());
    auto member = [&](std::string_view name) { return one.is_object() ? one.get(name) : nullptr; };
    const Json* type = member("type");
    const bool known = type != nullptr && type->is_int() && type->as_int() >= 0 && type->as_int() <= 3;
    if (!known) return bad(path + ".type", "must be 0 (token), 1 (word), 2 (pattern) or 3 (pattern of the whole text)");
    flow::Trigger trigger{.kind = kKinds[type->as_int()]};
    if (trigger.kind == flow::TriggerKind::kToken) {
      const Json* token = member("token");
      const bool good = token != nullptr && token->is_int() && token->as_int() >= 0 && token->as_int() < n_vocab;
      if (!good) return bad(path + ".token", fmt::format("must be a token id in 0..{}", n_vocab - 1));
      trigger.token = static_cast<TokenId>(token->as_int());
    } else {
      const bool word = trigger.kind == flow::TriggerKind::kWord;
      const int64_t most = limits[word ? LimitId::kStopBytes : LimitId::kRegexBytes];
      const Json* text = member("value");
      const bool good = text != nullptr && text->is_string() && !text->as_string().empty() &&
                        static_cast<int64_t>(text->as_string().size()) <= most;
      if (!good) return bad(path + ".value", fmt::format("must be a string of 1..{} bytes", most));
      trigger.text = text->as_string();
    }
    out.push_back(std::move(trigger));
  }
  return out;
}

Result<void> read_constraint_field(std::string_view name, const Json& value, CommonParams& common) {
  if (name == "response_format") return read_response_format(value, common);
  if (name == "structured_outputs") return read_structured_outputs(value, common);
  std::string path(name);
  // some clients send what they do not use as "" or []
  bool unused = (value.is_string() && value.as_string().empty()) || (value.is_array() && value.size() == 0);
  if (unused) return {};
  for (const Row& row : kRows) {
    if (row.name != name) continue;
    if (row.kind == ConstraintKind::kJsonSchema) return set_schema(common, value, std::move(path));
    if (row.kind == ConstraintKind::kChoice) return set_choice(common, value, std::move(path));
    if (row.kind == ConstraintKind::kTags) return set_tags(common, value, std::move(path));
    return set_text(common, row.kind, value, std::move(path));
  }
  return {};
}

}  // namespace millrace::api
