#include "grammar/structural_tag.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/macros.h"

namespace millrace::grammar {
namespace {

struct Tag {
  std::string begin;
  RuleId content = 0;
  std::string end;
};

struct Tags {
  std::vector<Tag> tags;
  std::vector<std::string> triggers;
  bool at_least_one = false;
  bool stop_after_first = false;
};

Error wrong(std::string_view path, std::string_view what) {
  return {ErrorCode::kInvalidSchema, fmt::format("{} {}", path, what), ""};
}

Result<std::string> text_of(const Json& object, std::string_view name, const std::string& path, bool may_be_empty) {
  const Json* value = object.get(name);
  bool good = value != nullptr && value->is_string() && (may_be_empty || !value->as_string().empty());
  if (!good) return wrong(path + "." + std::string(name), "must be a string");
  return value->as_string();
}

Result<bool> flag_of(const Json& object, std::string_view name) {
  const Json* value = object.get(name);
  if (value == nullptr) return false;
  if (!value->is_bool()) return wrong(name, "must be a boolean");
  return value->as_bool();
}

class Reader {
 public:
  Reader(Rules& rules, const SchemaOptions& options) : rules_(rules), options_(options) {}

  Result<Tags> read(const Json& tag) {
    const Json* format = tag.get("format");
    if (format == nullptr) return read_tags(tag, "structures", "");
    const Json* type = format->get("type");
    bool known = type != nullptr && type->is_string() && type->as_string() == "triggered_tags";
    if (!known) return wrong("format.type", "is supported as triggered_tags");
    Tags out = TRY(read_tags(*format, "tags", "format."));
    out.at_least_one = TRY(flag_of(*format, "at_least_one"));
    out.stop_after_first = TRY(flag_of(*format, "stop_after_first"));
    return out;
  }

 private:
  Result<Tags> read_tags(const Json& object, std::string_view name, std::string_view prefix) {
    Tags out;
    std::string at = fmt::format("{}{}", prefix, name);
    const Json* list = object.get(name);
    if (list == nullptr || !list->is_array() || list->size() == 0) return wrong(at, "must be a non-empty array");
    if (static_cast<int64_t>(list->size()) > options_.limits.alternatives) {
      return wrong(at, fmt::format("has {} entries, limit {}", list->size(), options_.limits.alternatives));
    }
    for (const Json& one : list->as_array()) {
      out.tags.push_back(TRY(read_tag(one, fmt::format("{}[{}]", at, out.tags.size()))));
    }
    const Json* triggers = object.get("triggers");
    std::string of = fmt::format("{}triggers", prefix);
    if (triggers == nullptr || !triggers->is_array() || triggers->size() == 0) {
      return wrong(of, "must be a non-empty array of strings");
    }
    for (const Json& one : triggers->as_array()) {
      if (!one.is_string() || one.as_string().empty()) return wrong(of, "must be a non-empty array of strings");
      out.triggers.push_back(one.as_string());
    }
    for (size_t i = 0; i < out.tags.size(); ++i) {
      bool begun = std::ranges::any_of(out.triggers, [&](const auto& t) { return out.tags[i].begin.starts_with(t); });
      if (!begun) return wrong(fmt::format("{}[{}].begin", at, i), "must begin with one of the triggers");
    }
    return out;
  }

  Result<Tag> read_tag(const Json& one, const std::string& path) {
    if (!one.is_object()) return wrong(path, "must be an object");
    Tag tag;
    tag.begin = TRY(text_of(one, "begin", path, false));
    tag.end = TRY(text_of(one, "end", path, true));
    const Json* schema = one.get("schema");
    if (const Json* content = one.get("content")) {
      const Json* type = content->get("type");
      bool json = type != nullptr && type->is_string() && type->as_string() == "json_schema";
      if (!json) return wrong(path + ".content.type", "is supported as json_schema");
      schema = content->get("json_schema");
    }
    if (schema == nullptr) return wrong(path, "needs a schema");
    Result<RuleId> read = add_schema(rules_, *schema, options_);
    if (!read.ok()) return wrong(path + ".schema", read.error().message);
    tag.content = *read;
    return tag;
  }

  Rules& rules_;
  const SchemaOptions& options_;
};

}  // namespace

Result<RuleId> add_structural_tag(Rules& rules, const Json& tag, const SchemaOptions& options) {
  if (!tag.is_object()) return wrong("structural_tag", "must be an object");
  Tags read = TRY(Reader(rules, options).read(tag));
  std::vector<std::pair<std::string, RuleId>> by_trigger;
  std::vector<ExprId> whole;
  for (const Tag& one : read.tags) {
    whole.push_back(rules.sequence({rules.text(one.begin), rules.rule(one.content), rules.text(one.end)}));
  }
  for (const std::string& trigger : read.triggers) {
    std::vector<ExprId> parts;
    for (const Tag& one : read.tags) {
      if (!one.begin.starts_with(trigger)) continue;
      parts.push_back(
          rules.sequence({rules.text(one.begin.substr(trigger.size())), rules.rule(one.content), rules.text(one.end)}));
    }
    if (!parts.empty()) by_trigger.emplace_back(trigger, rules.add_rule(rules.choice(std::move(parts))));
  }
  if (by_trigger.empty()) return wrong("triggers", "none of them begins a tag");
  ExprId first = rules.choice(whole);
  if (read.at_least_one && read.stop_after_first) return rules.add_rule(first);
  // a text of this kind is a whole rule of its own
  RuleId free = rules.add_rule(rules.tags(std::move(by_trigger), {}, !read.stop_after_first));
  if (!read.at_least_one) return free;
  return rules.add_rule(rules.sequence({first, rules.rule(free)}));
}

}  // namespace millrace::grammar
