#include "weights/config_reader.h"

#include <fmt/core.h>

#include "weights/name_check.h"

namespace millrace::weights {
namespace {

std::string_view kind_name(const Json& value) {
  switch (value.kind()) {
    case Json::Kind::kNull:
      return "null";
    case Json::Kind::kBool:
      return "a boolean";
    case Json::Kind::kInt:
      return "an integer";
    case Json::Kind::kDouble:
      return "a number";
    case Json::Kind::kString:
      return "a string";
    case Json::Kind::kArray:
      return "an array";
    case Json::Kind::kObject:
      return "an object";
  }
  return "";
}

}  // namespace

Error ConfigReader::bad(std::string_view key, std::string_view what) const {
  return {ErrorCode::kBadFile, fmt::format("{}: {}{}{}", file_, path_, show_name(key), what), std::string(key)};
}

Result<int64_t> ConfigReader::get_int(std::string_view key, IntRange range, std::optional<int64_t> fallback) const {
  const Json* value = find(key);
  if (value == nullptr) {
    if (fallback) return *fallback;
    return bad(key, " is missing");
  }
  if (!value->is_int()) return bad(key, fmt::format(" is {}, want an integer", kind_name(*value)));
  if (value->as_int() >= range.min && value->as_int() <= range.max) return value->as_int();
  return bad(key, fmt::format(" = {}: must be {}..{}", value->as_int(), range.min, range.max));
}

Result<double> ConfigReader::get_float(std::string_view key, FloatRange range, std::optional<double> fallback) const {
  const Json* value = find(key);
  if (value == nullptr) {
    if (fallback) return *fallback;
    return bad(key, " is missing");
  }
  if (!value->is_number()) return bad(key, fmt::format(" is {}, want a number", kind_name(*value)));
  double number = value->as_double();
  if (number >= range.min && number <= range.max) return number;
  return bad(key, fmt::format(" = {}: must be {}..{}", number, range.min, range.max));
}

Result<bool> ConfigReader::get_bool(std::string_view key, bool fallback) const {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_bool()) return bad(key, fmt::format(" is {}, want a boolean", kind_name(*value)));
  return value->as_bool();
}

Result<std::string> ConfigReader::get_string(std::string_view key, std::optional<std::string> fallback) const {
  const Json* value = find(key);
  if (value == nullptr) {
    if (fallback) return *fallback;
    return bad(key, " is missing");
  }
  if (!value->is_string()) return bad(key, fmt::format(" is {}, want a string", kind_name(*value)));
  return value->as_string();
}

Result<std::optional<ConfigReader>> ConfigReader::get_object(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::optional<ConfigReader>();
  if (!value->is_object()) return bad(key, fmt::format(" is {}, want an object", kind_name(*value)));
  return std::optional<ConfigReader>(ConfigReader(*value, file_, fmt::format("{}{}.", path_, key)));
}

}  // namespace millrace::weights
