// JSON schema validation straight from the specification, for tests of what src/grammar generates: no code is shared
// with it. Patterns are matched by PCRE2. Handles the keywords that the corpus uses; a keyword it does not know fails
// the test. Thread: any.
#pragma once

#include <pcre2.h>  // with PCRE2_CODE_UNIT_WIDTH=8 from the build

#include <cmath>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/macros.h"

namespace millrace::testing {

// PCRE2 in Unicode mode, or over bytes; `whole`: the entire text must match.
inline bool pcre_matches(const std::string& pattern, std::string_view text, bool whole, bool utf = true) {
  std::string full = whole ? "^(?:" + pattern + ")\\z" : pattern;
  int code = 0;
  size_t at = 0;
  uint32_t options = (utf ? PCRE2_UTF : 0) | PCRE2_DOLLAR_ENDONLY | PCRE2_ALT_BSUX;
  pcre2_code* compiled =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(full.c_str()), full.size(), options, &code, &at, nullptr);
  CHECK(compiled != nullptr, "pattern {} at {}", full, at);
  pcre2_match_data* data = pcre2_match_data_create_from_pattern(compiled, nullptr);
  int found = pcre2_match(compiled, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0, data, nullptr);
  pcre2_match_data_free(data);
  pcre2_code_free(compiled);
  return found >= 0;
}

class SchemaValidator {
 public:
  explicit SchemaValidator(const Json& root) : root_(&root) {}
  // Empty, or the keyword that the value breaks.
  std::string broken(const Json& value) const { return broken(*root_, value); }

 private:
  static bool is_whole(const Json& value) {
    return value.is_int() || (value.is_number() && value.as_double() == std::floor(value.as_double()));
  }
  static bool has_type(const std::string& type, const Json& value) {
    if (type == "null") return value.is_null();
    if (type == "boolean") return value.is_bool();
    if (type == "integer") return is_whole(value);
    if (type == "number") return value.is_number();
    if (type == "string") return value.is_string();
    if (type == "array") return value.is_array();
    return type == "object" && value.is_object();
  }
  static uint64_t length(const std::string& text) {
    uint64_t n = 0;
    for (char c : text) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1u : 0u;
    return n;
  }

  std::string broken(const Json& schema, const Json& value) const {
    if (schema.is_bool()) return schema.as_bool() ? "" : "false";
    for (const auto& [name, rule] : schema.as_object().members) {
      if (!holds(schema, name, rule, value)) return name;
    }
    return "";
  }

  bool holds(const Json& schema, const std::string& name, const Json& rule, const Json& value) const {
    if (name == "type") {
      if (rule.is_string()) return has_type(rule.as_string(), value);
      for (const Json& one : rule.as_array()) {
        if (has_type(one.as_string(), value)) return true;
      }
      return false;
    }
    if (name == "const") return rule == value;
    if (name == "enum") {
      for (const Json& one : rule.as_array()) {
        if (one == value) return true;
      }
      return false;
    }
    if (name == "anyOf" || name == "oneOf" || name == "allOf") {
      size_t n = 0;
      for (const Json& one : rule.as_array()) n += broken(one, value).empty() ? 1u : 0u;
      return name == "anyOf" ? n > 0 : name == "oneOf" ? n == 1 : n == rule.size();
    }
    if (name == "not") return !broken(rule, value).empty();
    if (name == "if") {
      const Json* next = schema.find(broken(rule, value).empty() ? "then" : "else");
      return next == nullptr || broken(*next, value).empty();
    }
    if (name == "$ref") {
      const Json* at = root_;
      std::string_view rest = std::string_view(rule.as_string()).substr(1);
      while (!rest.empty()) {
        rest.remove_prefix(1);
        std::string_view part = rest.substr(0, rest.find('/'));
        rest.remove_prefix(part.size());
        at = at->find(part);
        CHECK(at != nullptr);
      }
      return broken(*at, value).empty();
    }
    if (value.is_number()) return number_holds(name, rule, value.as_double());
    if (value.is_string()) return string_holds(name, rule, value.as_string());
    if (value.is_array()) return array_holds(schema, name, rule, value.as_array());
    if (value.is_object()) return object_holds(schema, name, rule, value);
    return true;
  }

  static bool number_holds(const std::string& name, const Json& rule, double value) {
    if (name == "minimum") return value >= rule.as_double();
    if (name == "maximum") return value <= rule.as_double();
    if (name == "exclusiveMinimum") return value > rule.as_double();
    if (name == "exclusiveMaximum") return value < rule.as_double();
    if (name == "multipleOf") return std::fmod(value, rule.as_double()) == 0;
    return true;
  }

  static bool string_holds(const std::string& name, const Json& rule, const std::string& value) {
    if (name == "minLength") return length(value) >= static_cast<uint64_t>(rule.as_int());
    if (name == "maxLength") return length(value) <= static_cast<uint64_t>(rule.as_int());
    if (name == "pattern") return pcre_matches(rule.as_string(), value, false);
    return true;
  }

  bool array_holds(const Json& schema, const std::string& name, const Json& rule, const JsonArray& value) const {
    if (name == "minItems") return value.size() >= static_cast<size_t>(rule.as_int());
    if (name == "maxItems") return value.size() <= static_cast<size_t>(rule.as_int());
    if (name == "contains") {
      size_t n = 0;
      for (const Json& one : value) n += broken(rule, one).empty() ? 1u : 0u;
      const Json* min = schema.find("minContains");
      const Json* max = schema.find("maxContains");
      bool enough = n >= (min == nullptr ? 1u : static_cast<size_t>(min->as_int()));
      return enough && (max == nullptr || n <= static_cast<size_t>(max->as_int()));
    }
    if (name == "uniqueItems" && rule.as_bool()) {
      for (size_t i = 0; i < value.size(); ++i) {
        for (size_t k = 0; k < i; ++k) {
          if (value[i] == value[k]) return false;
        }
      }
    }
    const Json* prefix = schema.find("prefixItems");
    size_t n_prefix = prefix == nullptr ? 0 : prefix->size();
    for (size_t i = 0; i < value.size(); ++i) {
      if (name == "prefixItems" && i < n_prefix && !broken(rule.as_array()[i], value[i]).empty()) return false;
      if (name == "items" && i >= n_prefix && !broken(rule, value[i]).empty()) return false;
    }
    return true;
  }

  bool object_holds(const Json& schema, const std::string& name, const Json& rule, const Json& value) const {
    if (name == "minProperties") return value.size() >= static_cast<size_t>(rule.as_int());
    if (name == "maxProperties") return value.size() <= static_cast<size_t>(rule.as_int());
    if (name == "required") {
      for (const Json& key : rule.as_array()) {
        if (value.find(key.as_string()) == nullptr) return false;
      }
      return true;
    }
    if (name == "dependentRequired" || name == "dependentSchemas") {
      for (const auto& [key, asked] : rule.as_object().members) {
        if (value.find(key) == nullptr) continue;
        if (!asked.is_array() && !broken(asked, value).empty()) return false;
        for (size_t i = 0; asked.is_array() && i < asked.size(); ++i) {
          if (value.find(asked.as_array()[i].as_string()) == nullptr) return false;
        }
      }
    }
    const Json* properties = schema.find("properties");
    const Json* patterns = schema.find("patternProperties");
    for (const auto& [key, member] : value.as_object().members) {
      bool named = properties != nullptr && properties->find(key) != nullptr;
      bool matched = false;
      for (size_t i = 0; patterns != nullptr && i < patterns->size(); ++i) {
        const auto& [pattern, of_pattern] = patterns->as_object().members[i];
        if (!pcre_matches(pattern, key, false)) continue;
        matched = true;
        if (name == "patternProperties" && !broken(of_pattern, member).empty()) return false;
      }
      if (name == "properties" && named && !broken(*properties->find(key), member).empty()) return false;
      if (name == "additionalProperties" && !named && !matched && !broken(rule, member).empty()) return false;
      if (name == "propertyNames" && !broken(rule, Json(key)).empty()) return false;
    }
    return true;
  }

  const Json* root_;
};

}  // namespace millrace::testing
