// How large a schema is, before anything is made of it; and where its pointers lead.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/macros.h"
#include "grammar/schema_merge.h"

namespace millrace::grammar {
namespace {

struct Open {
  const Json* value = nullptr;
  std::string pointer;
  int64_t depth = 0;
  bool holds_schemas = false;  // a map or list of schemas, no level of its own
};

// Keywords whose value is a map or a list of schemas. Levels are those of schemas, so that an object of 40 levels is
// 40 deep whatever its JSON is; values under other keywords count as they are written.
bool holds_schemas(std::string_view keyword) {
  constexpr std::array<std::string_view, 11> kHolders = {
      "properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies", "allOf", "anyOf",
      "oneOf",      "prefixItems",       "items"};
  return std::ranges::find(kHolders, keyword) != kHolders.end();
}

Result<void> check_count(const std::string& pointer, std::string_view name, size_t n, int64_t limit) {
  if (static_cast<int64_t>(n) <= limit) return {};
  return schema_error(pointer_to(pointer, name), fmt::format("{} entries, limit {}", n, limit));
}

}  // namespace

Result<void> check_schema_size(const Json& root, const SchemaLimits& limits) {
  if (!root.is_object() && !root.is_bool()) return schema_error("#", "must be an object or a boolean");
  std::vector<Open> open{{&root, "#", 1}};
  int64_t n_properties = 0;
  int64_t n_enum = 0;
  int64_t n_refs = 0;
  while (!open.empty()) {
    Open at = std::move(open.back());
    open.pop_back();
    if (at.depth > limits.depth) {
      return schema_error(at.pointer, fmt::format("schema nesting deeper than {}", limits.depth));
    }
    auto look_into = [&](const Json& value, std::string pointer, bool holder = false) {
      if (!value.is_object() && !value.is_array()) return;
      open.push_back({&value, std::move(pointer), at.depth + (holder ? 0 : 1), holder});
    };
    if (at.value->is_array()) {
      for (size_t i = 0; i < at.value->size(); ++i) look_into(at.value->as_array()[i], pointer_to(at.pointer, i));
      continue;
    }
    if (!at.value->is_object()) continue;
    for (const auto& [name, value] : at.value->as_object().members) {
      if (name == "enum" && value.is_array()) n_enum += static_cast<int64_t>(value.size());
      if (name == "properties" && value.is_object()) n_properties += static_cast<int64_t>(value.size());
      if (name == "$ref") ++n_refs;
      if (n_enum > limits.enum_values)
        TRY(check_count(at.pointer, name, static_cast<size_t>(n_enum), limits.enum_values));
      if (n_properties > limits.properties) {
        TRY(check_count(at.pointer, name, static_cast<size_t>(n_properties), limits.properties));
      }
      if (n_refs > limits.refs) TRY(check_count(at.pointer, name, static_cast<size_t>(n_refs), limits.refs));
      bool choice = name == "anyOf" || name == "oneOf" || name == "allOf" || name == "prefixItems";
      if (choice) TRY(check_count(at.pointer, name, value.size(), limits.alternatives));
      // `items` as one schema is a level
      bool holder = !at.holds_schemas && holds_schemas(name) && (name != "items" || value.is_array());
      look_into(value, pointer_to(at.pointer, name), holder);
    }
  }
  return {};
}

const Json* find_by_pointer(const Json& at, std::string_view part) {
  std::string name;
  auto hex = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  for (size_t i = 0; i < part.size(); ++i) {
    char c = part[i];
    if (c == '%' && i + 2 < part.size() && hex(part[i + 1]) >= 0 && hex(part[i + 2]) >= 0) {
      c = static_cast<char>(hex(part[i + 1]) * 16 + hex(part[i + 2]));
      i += 2;
    }
    bool escaped = c == '~' && i + 1 < part.size() && (part[i + 1] == '0' || part[i + 1] == '1');
    name += escaped ? (part[++i] == '0' ? '~' : '/') : c;
  }
  if (at.is_object()) return at.find(name);
  if (!at.is_array()) return nullptr;
  size_t index = 0;
  auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
  bool whole = error == std::errc() && end == name.data() + name.size() && index < at.size();
  return whole ? &at.as_array()[index] : nullptr;
}

}  // namespace millrace::grammar
