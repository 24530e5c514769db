#include "grammar/schema.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/macros.h"
#include "grammar/schema_builder.h"

namespace millrace::grammar {
namespace {

constexpr size_t kMaxSharedBytes = 1024;  // of a schema's text: longer ones are hardly the same

}  // namespace

ExprId SchemaBuilder::rule_for(const Nodes& nodes) {
  std::vector<const Json*> key;
  for (const Node& node : nodes) {
    bool anything =
        node.schema->is_bool() ? node.schema->as_bool() : node.schema->is_object() && node.schema->size() == 0;
    if (!anything) key.push_back(node.schema);
  }
  if (key.empty()) return json_.value();
  if (key.size() == 1) {
    // schemas that say the same share a rule: wide documents repeat a few
    std::string text = key[0]->dump();
    if (text.size() <= kMaxSharedBytes && text.find("\"$ref\"") == std::string::npos) {
      auto [same, is_first] = by_text_.try_emplace(std::move(text), key[0]);
      if (!is_first) key[0] = same->second;
    }
  }
  std::ranges::sort(key);
  auto [entry, is_new] = known_.try_emplace(std::move(key), 0);
  if (is_new) {
    entry->second = rules_.add_rule();
    queue_.emplace_back(entry->second, nodes);
  }
  return rules_.rule(entry->second);
}

Result<RuleId> SchemaBuilder::build(const Json& root) {
  RuleId top = rules_.add_rule(rule_for({{&root, "#"}}));
  while (!queue_.empty()) {
    auto [rule, nodes] = std::move(queue_.front());
    queue_.pop_front();
    TRY(build_rule(rule, nodes));
  }
  return top;
}

Result<void> SchemaBuilder::build_rule(RuleId rule, const Nodes& nodes) {
  std::vector<Shape> shapes = TRY(reader_.shapes(nodes));
  std::vector<ExprId> parts;
  for (const Shape& shape : shapes) parts.push_back(TRY(shape_expr(shape)));
  if (parts.empty()) parts.push_back(rules_.set({}));
  rules_.set_body(rule, rules_.choice(std::move(parts)));
  return {};
}

Result<ExprId> SchemaBuilder::values_expr(const Shape& shape) {
  std::vector<ExprId> parts;
  for (const Json* value : *shape.values) {
    if (TRY(has_shape(shape, *value))) parts.push_back(json_.literal(*value));
  }
  if (parts.empty()) return rules_.set({});
  return rules_.choice(std::move(parts));
}

Result<ExprId> SchemaBuilder::shape_expr(const Shape& shape) {
  if (shape.values) return values_expr(shape);
  if (!shape.refused_values.empty()) {
    return schema_error(shape.pointer, "\"not\" of an enum or a const is supported beside an enum only");
  }
  std::vector<ExprId> parts;
  if ((shape.types & kObject) != 0) parts.push_back(TRY(object_expr(shape.object, shape.pointer)));
  if ((shape.types & kArray) != 0) parts.push_back(TRY(array_expr(shape.array, shape.pointer)));
  if ((shape.types & kString) != 0) parts.push_back(TRY(string_expr(shape.string, shape.pointer)));
  if ((shape.types & (kInteger | kFraction)) != 0) parts.push_back(TRY(number_expr(shape)));
  if ((shape.types & kBoolean) != 0) {
    parts.push_back(rules_.text("true"));
    parts.push_back(rules_.text("false"));
  }
  if ((shape.types & kNull) != 0) parts.push_back(rules_.text("null"));
  return rules_.choice(std::move(parts));
}

Result<RuleId> add_schema(Rules& rules, const Json& schema, const SchemaOptions& options) {
  ShapeReader reader = TRY(ShapeReader::create(schema, options.limits));
  return SchemaBuilder(rules, reader, options).build(schema);
}

RuleId add_json_object(Rules& rules, bool any_whitespace) {
  JsonRules json(rules, any_whitespace);
  return rules.add_rule(json.object());
}

}  // namespace millrace::grammar
