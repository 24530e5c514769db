#include "grammar/schema.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/macros.h"
#include "grammar/schema_builder.h"
#include "grammar/schema_merge.h"

namespace millrace::grammar {
namespace {

constexpr size_t kMaxSharedBytes = 1024;  // of a schema's text: longer ones are hardly the same

}  // namespace

ExprId SchemaBuilder::rule_for(const Nodes& nodes) {
  std::vector<NodeId> key;
  for (const Node& node : nodes) {
    bool anything =
        node.schema->is_bool() ? node.schema->as_bool() : node.schema->is_object() && node.schema->size() == 0;
    if (!anything || node.sense != Sense::kHolds) key.push_back(node.id());
  }
  if (key.empty()) return json_.value();
  if (key.size() == 1 && nodes[0].sense == Sense::kHolds) {
    // schemas that say the same share a rule: wide documents repeat a few
    const Json*& schema = std::get<0>(key[0]);
    std::string text = schema->dump();
    if (text.size() <= kMaxSharedBytes && text.find("Ref\"") == std::string::npos &&
        text.find("\"$ref\"") == std::string::npos) {
      auto [same, is_first] = by_text_.try_emplace(std::move(text), schema);
      if (!is_first) schema = same->second;
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
    if (static_cast<int64_t>(rules_.n_rules()) > options_.max_rules) {
      return schema_error("#", fmt::format("more than {} rules", options_.max_rules));
    }
  }
  if (!rules_.left_out) rules_.left_out = reader_.left_out();
  return top;
}

Result<void> SchemaBuilder::build_rule(RuleId rule, const Nodes& nodes) {
  std::vector<Shape> shapes = TRY(reader_.shapes(nodes));
  join_strings(shapes);
  open_bounds_.clear();
  std::vector<ExprId> parts;
  for (const Shape& shape : shapes) parts.push_back(TRY(shape_expr(shape)));
  if (parts.empty()) parts.push_back(rules_.set({}));
  rules_.set_body(rule, rules_.choice(std::move(parts)));
  return {};
}

// Lengths are counted beside the core, which cannot tell which of several strings is meant: those without a pattern
// become one, whose bounds take in the others' where they touch.
void SchemaBuilder::join_strings(std::vector<Shape>& shapes) {
  Shape* first = nullptr;
  for (Shape& shape : shapes) {
    bool plain = (shape.types & kString) != 0 && !shape.values && shape.string.patterns.empty() &&
                 shape.string.format.empty() && shape.string.min_length <= shape.string.max_length &&
                 std::ranges::none_of(shape.refused_values, [](const Json* value) { return value->is_string(); });
    if (!plain) continue;
    if (first == nullptr) {
      first = &shape;
      continue;
    }
    StringBounds& all = first->string;
    bool apart = shape.string.min_length > 0 && shape.string.min_length - 1 > all.max_length;
    apart = apart || (all.min_length > 0 && all.min_length - 1 > shape.string.max_length);
    if (!apart) {
      all.min_length = std::min(all.min_length, shape.string.min_length);
      all.max_length = std::max(all.max_length, shape.string.max_length);
    }
    shape.types &= static_cast<TypeSet>(~kString);
  }
}

Result<ExprId> SchemaBuilder::values_expr(const Shape& shape) {
  std::vector<ExprId> parts;
  for (const Json* value : *shape.values) {
    if (TRY(has_shape(shape, *value))) parts.push_back(json_.literal(*value));
  }
  if (parts.empty()) return rules_.set({});
  return rules_.choice(std::move(parts));
}

Result<ExprId> SchemaBuilder::shape_expr(const Shape& whole) {
  if (whole.values) return values_expr(whole);
  std::vector<ExprId> parts;
  Shape shape = whole;
  std::vector<double> numbers;
  std::vector<std::string> strings;
  for (const Json* value : whole.refused_values) TRY(refuse_value(shape, *value, numbers, strings, parts));
  if ((shape.types & kObject) != 0) parts.push_back(TRY(object_expr(shape.object, shape.pointer)));
  if ((shape.types & kArray) != 0) parts.push_back(TRY(array_expr(shape.array, shape.pointer)));
  if ((shape.types & kString) != 0) parts.push_back(TRY(string_expr(shape.string, shape.pointer, strings)));
  if ((shape.types & (kInteger | kFraction)) != 0) {
    std::ranges::sort(numbers);
    Shape below = shape;  // what lies below the next refused one
    for (double number : numbers) {
      tighten(below.number, number, false, true);
      parts.push_back(TRY(number_expr(below)));
      below.number = shape.number;
      tighten(below.number, number, true, true);
    }
    parts.push_back(TRY(number_expr(below)));
  }
  if ((shape.types & kBoolean) != 0) {
    parts.push_back(rules_.text("true"));
    parts.push_back(rules_.text("false"));
  }
  if ((shape.types & kNull) != 0) parts.push_back(rules_.text("null"));
  if (parts.empty()) return rules_.set({});
  return rules_.choice(std::move(parts));
}

// Takes one value out of a shape, or notes it for those who write its type. `parts` gets what is left of booleans.
Result<void> SchemaBuilder::refuse_value(Shape& shape, const Json& value, std::vector<double>& numbers,
                                         std::vector<std::string>& strings, std::vector<ExprId>& parts) {
  auto drop = [&](TypeSet type) { shape.types &= static_cast<TypeSet>(~type); };
  if (value.is_null()) drop(kNull);
  if (value.is_number()) numbers.push_back(value.as_double());
  if (value.is_string()) strings.push_back(value.as_string());
  if (value.is_bool() && (shape.types & kBoolean) != 0) {
    drop(kBoolean);
    bool none = std::ranges::any_of(shape.refused_values, [&](const Json* other) {
      return other->is_bool() && other->as_bool() != value.as_bool();
    });
    if (!none) parts.push_back(rules_.text(value.as_bool() ? "false" : "true"));
  }
  if (value.is_object() && value.size() == 0) {
    shape.object.min_properties = std::max<uint64_t>(shape.object.min_properties, 1);
  } else if (value.is_array() && value.size() == 0) {
    shape.array.min_items = std::max<uint64_t>(shape.array.min_items, 1);
  } else if (value.is_object() || value.is_array()) {
    TypeSet type = value.is_object() ? kObject : kArray;
    if ((shape.types & type) != 0 && shape.types == type) {
      return schema_error(shape.pointer, "\"not\" of an object or an array with content is not supported");
    }
    drop(type);
  }
  return {};
}

Result<RuleId> add_schema(Rules& rules, const Json& schema, const SchemaOptions& options) {
  ShapeReader reader = TRY(ShapeReader::create(schema, options.limits));
  return SchemaBuilder(rules, std::move(reader), options).build(schema);
}

RuleId add_json_object(Rules& rules, bool any_whitespace, std::optional<RuleId> space) {
  JsonRules json(rules, any_whitespace, space);
  return rules.add_rule(json.object());
}

}  // namespace millrace::grammar
