// Single keywords that must fail, and members that must be there or not. A keyword fails only for values of its own
// type: each of these also says what the type is.
#include <algorithm>
#include <string>

#include "base/macros.h"
#include "grammar/schema_merge.h"

namespace millrace::grammar {
namespace {

constexpr std::string_view kCanFail[] = {
    "type",      "const",     "enum",          "minimum",          "maximum",
    "minLength", "maxLength", "minItems",      "maxItems",         "exclusiveMinimum",
    "contains",  "required",  "minProperties", "exclusiveMaximum", "maxProperties"};

constexpr TypeSet kNumbers = kInteger | kFraction;

// Fewer than the minimum, or more than the maximum, of what is counted.
Result<bool> pass_count(uint64_t& min, uint64_t& max, const Json& value, const Node& node) {
  uint64_t n = TRY(read_count(value, node.pointer));
  if (node.key.starts_with("max")) {
    min = std::max(min, n + 1);
  } else {
    if (n == 0) return false;
    max = std::min(max, n - 1);
  }
  return true;
}

Result<bool> fail_keyword(Shape& shape, const Node& node) {
  const Json& value = *node.schema->find(node.key);
  auto is = [&](std::string_view name) { return node.key == name; };
  auto keep = [&](TypeSet types) { shape.types &= types; };
  if (is("type")) {
    shape.types &= static_cast<TypeSet>(kAnyType & ~TRY(read_types(value, node.pointer)));
  } else if (is("const")) {
    shape.refused_values.push_back(&value);
  } else if (is("enum")) {
    if (!value.is_array()) return schema_error(node.pointer, "must be an array");
    for (const Json& one : value.as_array()) shape.refused_values.push_back(&one);
  } else if (is("minimum") || is("exclusiveMinimum") || is("maximum") || is("exclusiveMaximum")) {
    if (!value.is_number()) return schema_error(node.pointer, "must be a number");
    keep(kNumbers);
    tighten(shape.number, value.as_double(), node.key.ends_with("aximum"), !node.key.starts_with("exclusive"));
  } else if (is("minLength") || is("maxLength")) {
    keep(kString);
    return pass_count(shape.string.min_length, shape.string.max_length, value, node);
  } else if (is("minItems") || is("maxItems")) {
    keep(kArray);
    return pass_count(shape.array.min_items, shape.array.max_items, value, node);
  } else if (is("minProperties") || is("maxProperties")) {
    keep(kObject);
    return pass_count(shape.object.min_properties, shape.object.max_properties, value, node);
  } else if (is("contains")) {
    keep(kArray);
    ArrayShape own;
    own.items = {node.failing(value, node.pointer)};
    own.has_items = true;
    merge_arrays(shape.unmet, own);
  }
  return shape.types != 0;
}

void fail_item(Shape& shape, const Node& node) {
  shape.types &= kArray;
  shape.array.min_items = std::max<uint64_t>(shape.array.min_items, node.index + 1);
  ArrayShape own;
  own.prefix.resize(node.index);
  own.prefix.push_back({node.failing(*node.schema, node.pointer)});
  own.has_items = true;  // any
  merge_arrays(shape.unmet, own);
}

}  // namespace

bool can_fail(const Json& schema, std::string_view keyword) {
  if (std::ranges::find(kCanFail, keyword) == std::end(kCanFail)) return false;
  auto flag = [&](const char* name) { return schema.find(name) != nullptr && schema.find(name)->is_bool(); };
  auto has = [&](const char* name) { return schema.find(name) != nullptr; };
  if (keyword.ends_with("imum") && (flag("exclusiveMinimum") || flag("exclusiveMaximum"))) return false;  // draft 4
  if (keyword == "contains") return !has("minContains") && !has("maxContains");
  return true;
}

Result<bool> merge_part(Shape& shape, const Node& node) {
  if (shape.pointer.empty()) shape.pointer = node.pointer;
  ObjectShape own;
  switch (node.sense) {
    case Sense::kNever:
      return false;
    case Sense::kKeywordFails:
      return fail_keyword(shape, node);
    case Sense::kItemFails:
      fail_item(shape, node);
      return shape.types != 0;
    case Sense::kMemberFails:
      shape.types &= kObject;
      own.properties = {{std::string(node.key), {node.failing(*node.schema, node.pointer)}}};
      own.required = {std::string(node.key)};
      break;
    case Sense::kWithout:
      shape.types &= kObject;
      own.properties = {{std::string(node.key), {node.part(*node.schema, node.pointer, Sense::kNever)}}};
      break;
    case Sense::kWith:
      own.required = {std::string(node.key)};
      for (const Json& name : node.schema->is_array() ? node.schema->as_array() : JsonArray()) {
        if (!name.is_string()) return schema_error(node.pointer, "must be an array of strings");
        own.required.push_back(name.as_string());
      }
      break;
    case Sense::kHolds:
    case Sense::kFails:
      CHECK(false, "a whole schema as a part");
  }
  TRY(merge_objects(shape.object, own, node.pointer));
  return shape.types != 0;
}

}  // namespace millrace::grammar
