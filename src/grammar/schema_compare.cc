// Values against shapes, and shapes against each other.
#include <algorithm>
#include <cmath>
#include <string_view>

#include "base/macros.h"
#include "grammar/characters.h"
#include "grammar/regex_match.h"
#include "grammar/schema_shape.h"

namespace millrace::grammar {
namespace {

constexpr int kMaxCompareDepth = 3;

TypeSet type_of(const Json& value) {
  switch (value.kind()) {
    case Json::Kind::kNull:
      return kNull;
    case Json::Kind::kBool:
      return kBoolean;
    case Json::Kind::kInt:
      return kInteger;
    case Json::Kind::kDouble:
      return value.as_double() == std::floor(value.as_double()) ? kInteger : kFraction;
    case Json::Kind::kString:
      return kString;
    case Json::Kind::kArray:
      return kArray;
    case Json::Kind::kObject:
      return kObject;
  }
  return 0;
}

bool inside(const NumberBounds& bounds, double value) {
  if (bounds.min && (value < *bounds.min || (bounds.min_open && value == *bounds.min))) return false;
  if (bounds.max && (value > *bounds.max || (bounds.max_open && value == *bounds.max))) return false;
  return std::ranges::all_of(bounds.factors, [&](double factor) {
    return factor == std::floor(factor) ? std::fmod(value, factor) == 0 : value / factor == std::floor(value / factor);
  });
}

uint64_t n_characters(std::string_view text) {
  uint64_t n = 0;
  for (size_t i = 0; i < text.size(); i += character_at(text, i).n_bytes) ++n;
  return n;
}

bool holds(const std::vector<const Json*>& values, const Json& value) {
  for (const Json* one : values) {
    if (*one == value) return true;
  }
  return false;
}

bool says_something(const ObjectShape& object) {
  return !object.properties.empty() || !object.required.empty() || !object.patterns.empty() || object.has_additional ||
         !object.names.empty() || object.min_properties > 0 || object.max_properties != UINT64_MAX;
}

bool says_something(const ArrayShape& array) {
  return !array.prefix.empty() || array.has_items || array.min_items > 0 || array.max_items != UINT64_MAX ||
         array.unique;
}

// Properties that are generated are all named.
bool closed(const ObjectShape& object) {
  if (!object.patterns.empty()) return false;
  return object.has_additional ? is_false(object.additional) : object.names_some();
}

bool ranges_apart(const NumberBounds& a, const NumberBounds& b) {
  auto below = [](const NumberBounds& x, const NumberBounds& y) {
    return x.max && y.min && (*x.max < *y.min || (*x.max == *y.min && (x.max_open || y.min_open)));
  };
  return below(a, b) || below(b, a);
}

Result<bool> all_disjoint(ShapeReader& reader, const Nodes& made, const Nodes& other, int depth) {
  std::vector<Shape> a = TRY(reader.shapes(made));
  std::vector<Shape> b = TRY(reader.shapes(other));
  for (const Shape& x : a) {
    for (const Shape& y : b) {
      if (!TRY(disjoint(reader, x, y, depth + 1))) return false;
    }
  }
  return true;
}

Result<bool> objects_disjoint(ShapeReader& reader, const ObjectShape& made, const ObjectShape& other, int depth) {
  for (const std::string& name : other.required) {
    bool required_too = made.find(name) != nullptr;
    for (const std::string& have : made.required) required_too |= have == name;
    if (!required_too && closed(made)) return true;
  }
  for (const std::string& name : made.required) {
    const Nodes* of_other = other.find(name);
    bool refused = of_other == nullptr && other.patterns.empty() && other.has_additional && is_false(other.additional);
    if (refused) return true;
    const Nodes* of_made = made.find(name);
    if (of_made == nullptr || of_other == nullptr || depth >= kMaxCompareDepth) continue;
    if (TRY(all_disjoint(reader, *of_made, *of_other, depth))) return true;
  }
  return false;
}

}  // namespace

Result<bool> has_shape(const Shape& shape, const Json& value) {
  TypeSet type = type_of(value);
  if ((shape.types & type) == 0 || holds(shape.refused_values, value)) return false;
  if (value.is_number()) return inside(shape.number, value.as_double());
  if (value.is_string()) {
    uint64_t n = n_characters(value.as_string());
    if (n < shape.string.min_length || n > shape.string.max_length) return false;
    for (const std::string& pattern : shape.string.patterns) {
      Result<bool> matched = matches_pattern(pattern, value.as_string());
      if (!matched.ok()) return schema_error(shape.pointer, matched.error().message);
      if (!*matched) return false;
    }
    return true;
  }
  bool more = (type == kObject && says_something(shape.object)) || (type == kArray && says_something(shape.array));
  if (more)
    return schema_error(shape.pointer, "an enum of objects or arrays beside keywords for them is not supported");
  return true;
}

Result<bool> disjoint(ShapeReader& reader, const Shape& made, const Shape& other, int depth) {
  TypeSet both = made.types & other.types;
  if (both == 0) return true;
  const Shape* listed = made.values ? &made : other.values ? &other : nullptr;
  if (listed != nullptr) {
    const Shape& against = listed == &made ? other : made;
    for (const Json* value : *listed->values) {
      Result<bool> own = has_shape(*listed, *value);
      if (own.ok() && !*own) continue;
      if (against.values && !holds(*against.values, *value)) continue;
      Result<bool> fits = has_shape(against, *value);
      if (!fits.ok() || *fits) return false;
    }
    return true;
  }
  constexpr TypeSet kNumbers = kInteger | kFraction;
  if ((both & (kNull | kBoolean)) != 0) return false;
  if ((both & kNumbers) != 0 && !ranges_apart(made.number, other.number)) return false;
  bool lengths_apart =
      made.string.max_length < other.string.min_length || other.string.max_length < made.string.min_length;
  if ((both & kString) != 0 && !lengths_apart) return false;
  bool counts_apart = made.array.max_items < other.array.min_items || other.array.max_items < made.array.min_items;
  if ((both & kArray) != 0 && !counts_apart) return false;
  if ((both & kObject) != 0) return objects_disjoint(reader, made.object, other.object, depth);
  return true;
}

}  // namespace millrace::grammar
