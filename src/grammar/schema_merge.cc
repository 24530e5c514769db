#include "grammar/schema_merge.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <span>
#include <unordered_set>
#include <utility>

#include "base/macros.h"
#include "grammar/regex_match.h"
#include "grammar/schema_keywords.h"

namespace millrace::grammar {
namespace {

constexpr int kMaxDoublings = 20;  // of the parts that a multipleOf is made of: exact in binary

struct TypeName {
  std::string_view name;
  TypeSet types;
};
constexpr TypeName kTypeNames[] = {
    {"null", kNull},     {"boolean", kBoolean}, {"integer", kInteger}, {"number", kInteger | kFraction},
    {"string", kString}, {"array", kArray},     {"object", kObject}};

}  // namespace

Result<TypeSet> read_types(const Json& value, const std::string& pointer) {
  Error bad = schema_error(pointer, "must be null, boolean, integer, number, string, array, object, or a list of them");
  auto one = [](const Json& name) -> TypeSet {
    if (!name.is_string()) return 0;
    for (const TypeName& row : kTypeNames) {
      if (name.as_string() == row.name) return row.types;
    }
    return 0;
  };
  TypeSet types = 0;
  if (value.is_array()) {
    for (const Json& name : value.as_array()) {
      TypeSet add = one(name);
      if (add == 0) return bad;
      types |= add;
    }
  } else {
    types = one(value);
  }
  if (types == 0) return bad;
  return types;
}

Result<uint64_t> read_count(const Json& value, const std::string& pointer) {
  bool whole = value.is_number() && value.as_double() >= 0 && value.as_double() < 9e15 &&
               value.as_double() == std::floor(value.as_double());
  if (!whole) return schema_error(pointer, "must be a whole number in 0..9e15");
  return static_cast<uint64_t>(value.as_double());
}

namespace {

void append(Nodes& to, const Nodes& more) {
  for (const Node& node : more) {
    bool known = std::ranges::any_of(to, [&](const Node& have) { return have.id() == node.id(); });
    if (!known) to.push_back(node);
  }
}

// What one schema says of arrays and objects, before it is merged.
struct Own {
  ArrayShape array;
  ObjectShape object;
};

Result<bool> of_a_pattern(const ObjectShape& object, const std::string& name, const std::string& pointer) {
  for (const auto& row : object.patterns) {
    Result<bool> matched = matches_pattern(row.first, name);
    if (!matched.ok()) return schema_error(pointer_to(pointer, "patternProperties"), matched.error().message);
    if (*matched) return true;
  }
  return false;
}

}  // namespace

void merge_arrays(ArrayShape& into, const ArrayShape& own) {
  size_t n = std::max(into.prefix.size(), own.prefix.size());
  std::vector<Nodes> prefix(n);
  for (size_t i = 0; i < n; ++i) {
    for (const ArrayShape* one : {static_cast<const ArrayShape*>(&into), &own}) {
      if (i < one->prefix.size()) {
        append(prefix[i], one->prefix[i]);
      } else if (one->has_items) {
        append(prefix[i], one->items);
      }
    }
  }
  into.prefix = std::move(prefix);
  append(into.items, own.items);
  into.has_items |= own.has_items;
}

// What only one side names, as a property or by a pattern, is an additional one of the other.
Result<void> merge_objects(ObjectShape& into, const ObjectShape& own, const std::string& pointer) {
  for (auto& [name, nodes] : into.properties) {
    if (!own.has_additional || own.find(name) != nullptr) continue;
    if (!TRY(of_a_pattern(own, name, pointer))) append(nodes, own.additional);
  }
  size_t n_before = into.properties.size();  // names of one schema are distinct: those that come are not looked at
  auto same_before = [&](const std::string& name) {
    auto before = std::span(into.properties).first(n_before);
    auto same = std::ranges::find_if(before, [&](const auto& row) { return row.first == name; });
    return same == before.end() ? nullptr : &same->second;
  };
  for (const auto& [name, nodes] : own.properties) {
    if (Nodes* have = same_before(name)) {
      append(*have, nodes);
      continue;
    }
    Nodes all = nodes;
    if (into.has_additional && !TRY(of_a_pattern(into, name, pointer))) append(all, into.additional);
    into.properties.emplace_back(name, std::move(all));
  }
  std::unordered_set<std::string> required(into.required.begin(), into.required.end());
  for (const std::string& name : own.required) {
    if (required.insert(name).second) into.required.push_back(name);
  }
  auto same_in = [](ObjectShape& object, const std::string& pattern) {
    return std::ranges::find_if(object.patterns, [&](const auto& row) { return row.first == pattern; });
  };
  ObjectShape more = own;
  for (auto& [pattern, nodes] : into.patterns) {
    if (own.has_additional && same_in(more, pattern) == more.patterns.end()) append(nodes, own.additional);
  }
  for (auto& [pattern, nodes] : more.patterns) {
    auto same = same_in(into, pattern);
    if (same != into.patterns.end()) {
      append(same->second, nodes);
      continue;
    }
    if (into.has_additional) append(nodes, into.additional);
    into.patterns.emplace_back(pattern, std::move(nodes));
  }
  append(into.additional, own.additional);
  into.has_additional |= own.has_additional;
  append(into.names, own.names);
  return {};
}

void tighten(NumberBounds& bounds, double limit, bool is_min, bool open) {
  std::optional<double>& have = is_min ? bounds.min : bounds.max;
  bool& have_open = is_min ? bounds.min_open : bounds.max_open;
  bool tighter = !have || (is_min ? limit > *have : limit < *have);
  if (tighter) {
    have = limit;
    have_open = open;
  } else if (limit == *have) {
    have_open |= open;
  }
}

bool is_combined(const Json& schema) {
  constexpr std::string_view kNames[] = {
      "allOf",       "anyOf", "oneOf", "not", "if", "$ref", "$dynamicRef", "$recursiveRef", "dependentSchemas",
      "dependencies"};
  return std::ranges::any_of(kNames, [&](std::string_view name) { return schema.find(name) != nullptr; });
}

namespace {

// Reads the keywords of one node, each by its own function.
class KeywordReader {
 public:
  KeywordReader(Shape& shape, const Node& node) : shape_(shape), node_(node) {}

  Result<bool> read() {
    for (const auto& [name, value] : node_.schema->as_object().members) {
      const Keyword* keyword = find_keyword(name);
      if (keyword == nullptr || keyword->use == KeywordUse::kAnnotation) continue;
      std::string at = pointer_to(node_.pointer, name);
      if (keyword->use == KeywordUse::kUnsupported) {
        return schema_error(at, fmt::format("\"{}\" is not supported", name));
      }
      TRY(read_value(name, value, at));
      if (possible_) TRY(read_bound(name, value, at));
      if (possible_) TRY(read_array(name, value, at));
      if (possible_) TRY(read_object(name, value, at));
      if (!possible_) return false;
    }
    if (array_) merge_arrays(shape_.array, own_.array);
    if (object_) TRY(merge_objects(shape_.object, own_.object, node_.pointer));
    return true;
  }

 private:
  Result<void> read_value(const std::string& name, const Json& value, const std::string& at) {
    if (name == "type") {
      shape_.types &= TRY(read_types(value, at));
      possible_ = shape_.types != 0;
    } else if (name == "const") {
      keep_values({&value});
    } else if (name == "enum") {
      if (!value.is_array() || value.size() == 0) return schema_error(at, "must be a non-empty array");
      std::vector<const Json*> values;
      for (const Json& one : value.as_array()) values.push_back(&one);
      keep_values(std::move(values));
    }
    return {};
  }

  void keep_values(std::vector<const Json*> values) {
    if (shape_.values) {
      std::erase_if(values, [&](const Json* value) {
        return std::ranges::none_of(*shape_.values, [&](const Json* have) { return *have == *value; });
      });
    }
    possible_ = !values.empty();
    shape_.values = std::move(values);
  }

  Result<void> read_limit(const Json& value, const std::string& at, bool is_min, bool open) {
    if (!value.is_number()) return schema_error(at, "must be a number");
    tighten(shape_.number, value.as_double(), is_min, open);
    return {};
  }

  Result<void> read_multiple(const Json& value, const std::string& at) {
    if (!value.is_number() || value.as_double() <= 0) return schema_error(at, "must be a number above 0");
    double factor = value.as_double();
    shape_.number.factors.push_back(factor);
    double parts = 1 / factor;
    if (factor < 1 && std::abs(parts - std::round(parts)) <= 1e-9 * parts) {
      factor = 1;  // a half, a tenth, a hundredth
    } else {
      for (int n = 0; n < kMaxDoublings && factor != std::floor(factor); ++n) factor *= 2;  // 1.5: multiples of 3
    }
    if (factor != std::floor(factor) || factor > 1e9) {
      return schema_error(at, "multipleOf is supported for whole numbers up to 1e9, halves and so on, and parts of 1");
    }
    uint64_t whole = static_cast<uint64_t>(factor);
    whole = std::lcm(uint64_t{std::max(shape_.number.multiple_of, 1u)}, whole);
    if (whole > 1'000'000'000) return schema_error(at, "multipleOf beside another one is not supported");
    shape_.number.multiple_of = static_cast<uint32_t>(whole);
    return {};
  }

  Result<void> read_bound(const std::string& name, const Json& value, const std::string& at) {
    const Json* old_min = node_.schema->find("exclusiveMinimum");  // draft 4: a flag beside minimum
    const Json* old_max = node_.schema->find("exclusiveMaximum");
    auto flag = [](const Json* json) { return json != nullptr && json->is_bool() && json->as_bool(); };
    StringBounds& string = shape_.string;
    if (name == "minimum") return read_limit(value, at, true, flag(old_min));
    if (name == "maximum") return read_limit(value, at, false, flag(old_max));
    if (name == "exclusiveMinimum") return value.is_bool() ? Result<void>() : read_limit(value, at, true, true);
    if (name == "exclusiveMaximum") return value.is_bool() ? Result<void>() : read_limit(value, at, false, true);
    if (name == "multipleOf") return read_multiple(value, at);
    if (name == "minLength") string.min_length = std::max(string.min_length, TRY(read_count(value, at)));
    if (name == "maxLength") string.max_length = std::min(string.max_length, TRY(read_count(value, at)));
    if (name == "pattern" || name == "format") {
      if (!value.is_string()) return schema_error(at, "must be a string");
      if (name == "format") {
        bool second = !string.format.empty() && string.format != value.as_string();
        if (second && !format_patterns(string.format).empty() && !format_patterns(value.as_string()).empty()) {
          return schema_error(at, "several formats at once are not supported");
        }
        if (string.format.empty() || !format_patterns(value.as_string()).empty()) string.format = value.as_string();
      } else if (std::ranges::find(string.patterns, value.as_string()) == string.patterns.end()) {
        string.patterns.push_back(value.as_string());
      }
    }
    return {};
  }

  Result<void> read_array(const std::string& name, const Json& value, const std::string& at) {
    ArrayShape& own = own_.array;
    auto rest = [&](const Json& schema) {
      own.items = {node_.part(schema, at)};
      own.has_items = true;
    };
    bool list = name == "prefixItems" || (name == "items" && value.is_array());
    if (list) {
      if (!value.is_array()) return schema_error(at, "must be an array");
      for (size_t i = 0; i < value.size(); ++i) {
        own.prefix.push_back({node_.part(value.as_array()[i], pointer_to(at, i))});
      }
      array_ = true;
    } else if (name == "items") {
      rest(value);
      array_ = true;
    } else if (name == "additionalItems") {
      const Json* items = node_.schema->find("items");
      if (items != nullptr && items->is_array()) rest(value);
      array_ = true;
    } else if (name == "unevaluatedItems") {
      bool here = node_.schema->find("items") == nullptr && !is_combined(*node_.schema);
      if (here) rest(value);
      array_ = true;
    } else if (name == "minItems") {
      shape_.array.min_items = std::max(shape_.array.min_items, TRY(read_count(value, at)));
    } else if (name == "maxItems") {
      shape_.array.max_items = std::min(shape_.array.max_items, TRY(read_count(value, at)));
    } else if (name == "contains") {
      Contained contained{.node = node_.part(value, at)};
      const Json* min = node_.schema->find("minContains");
      const Json* max = node_.schema->find("maxContains");
      if (min != nullptr) contained.min = TRY(read_count(*min, pointer_to(node_.pointer, "minContains")));
      if (max != nullptr) contained.max = TRY(read_count(*max, pointer_to(node_.pointer, "maxContains")));
      shape_.array.contained.push_back(std::move(contained));
    } else if (name == "uniqueItems") {
      if (!value.is_bool()) return schema_error(at, "must be a boolean");
      shape_.array.unique |= value.as_bool();
    }
    return {};
  }

  Result<void> read_object(const std::string& name, const Json& value, const std::string& at) {
    ObjectShape& own = own_.object;
    bool members = name == "properties" || name == "patternProperties";
    if (members) {
      if (!value.is_object()) return schema_error(at, "must be an object");
      for (const auto& [key, schema] : value.as_object().members) {
        auto& list = name == "properties" ? own.properties : own.patterns;
        list.emplace_back(key, Nodes{node_.part(schema, pointer_to(at, key))});
      }
      object_ = true;
    } else if (name == "required") {
      if (!value.is_array()) return value.is_bool() ? Result<void>() : schema_error(at, "must be an array of strings");
      for (const Json& key : value.as_array()) {
        if (!key.is_string()) return schema_error(at, "must be an array of strings");
        own.required.push_back(key.as_string());
      }
      object_ = true;
    } else if (name == "additionalProperties" ||
               (name == "unevaluatedProperties" && node_.schema->find("additionalProperties") == nullptr &&
                !is_combined(*node_.schema))) {
      own.additional = {node_.part(value, at)};
      own.has_additional = true;
      object_ = true;
    } else if (name == "propertyNames") {
      own.names = {node_.part(value, at)};
      object_ = true;
    } else if (name == "minProperties") {
      shape_.object.min_properties = std::max(shape_.object.min_properties, TRY(read_count(value, at)));
    } else if (name == "maxProperties") {
      shape_.object.max_properties = std::min(shape_.object.max_properties, TRY(read_count(value, at)));
    }
    return {};
  }

  Shape& shape_;
  const Node& node_;
  Own own_;
  bool array_ = false;
  bool object_ = false;
  bool possible_ = true;
};

}  // namespace

Result<bool> merge_keywords(Shape& shape, const Node& node) {
  if (shape.pointer.empty()) shape.pointer = node.pointer;
  return KeywordReader(shape, node).read();
}

}  // namespace millrace::grammar
