// The typed getters of GgufFile.
#include <fmt/core.h>

#include <cstring>
#include <limits>
#include <utility>

#include "base/byte_reader.h"
#include "base/macros.h"
#include "weights/gguf.h"
#include "weights/gguf_part.h"
#include "weights/name_check.h"

namespace millrace::weights {
namespace {

template <class T>
T load(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

Error bad(const std::string& file, std::string_view key, std::string_view what) {
  return {ErrorCode::kBadFile, fmt::format("{}: {}{}", file, show_name(key), what), std::string(key)};
}
Error missing(const std::string& file, std::string_view key) { return bad(file, key, " is missing"); }
Error wrong_type(const std::string& file, const GgufValue& value, std::string_view wanted) {
  std::string type(gguf_type_name(value.type));
  if (value.type == GgufType::kArray) type += fmt::format(" of {}", gguf_type_name(value.element));
  return bad(file, value.key, fmt::format(" has type {}, want {} (at byte {})", type, wanted, value.offset));
}

bool is_integer(GgufType type) {
  return type <= GgufType::kInt32 || type == GgufType::kUint64 || type == GgufType::kInt64;
}

}  // namespace

Result<int64_t> GgufFile::get_int(std::string_view key, IntRange range, std::optional<int64_t> fallback) const {
  const GgufValue* value = find(key);
  if (value == nullptr) {
    if (fallback) return *fallback;
    return missing(name(), key);
  }
  if (!is_integer(value->type)) return wrong_type(name(), *value, "an integer");
  std::optional<int64_t> number = gguf_integer(value->type, value->bytes.data());
  if (number && *number >= range.min && *number <= range.max) return *number;
  std::string shown = number ? fmt::format("{}", *number) : fmt::format("{}", load<uint64_t>(value->bytes.data()));
  return bad(name(), key,
             fmt::format(" = {}: must be {}..{} (at byte {})", shown, range.min, range.max, value->offset));
}

Result<double> GgufFile::get_float(std::string_view key, FloatRange range, std::optional<double> fallback) const {
  const GgufValue* value = find(key);
  if (value == nullptr) {
    if (fallback) return *fallback;
    return missing(name(), key);
  }
  double number = 0.0;
  if (value->type == GgufType::kFloat32) {
    number = double{load<float>(value->bytes.data())};
  } else if (value->type == GgufType::kFloat64) {
    number = load<double>(value->bytes.data());
  } else if (is_integer(value->type)) {
    number = static_cast<double>(
        gguf_integer(value->type, value->bytes.data()).value_or(std::numeric_limits<int64_t>::max()));
  } else {
    return wrong_type(name(), *value, "a number");
  }
  if (number >= range.min && number <= range.max) return number;  // false for NaN
  return bad(name(), key,
             fmt::format(" = {}: must be {}..{} (at byte {})", number, range.min, range.max, value->offset));
}

Result<bool> GgufFile::get_bool(std::string_view key, std::optional<bool> fallback) const {
  const GgufValue* value = find(key);
  if (value == nullptr) {
    if (fallback) return *fallback;
    return missing(name(), key);
  }
  if (value->type != GgufType::kBool) return wrong_type(name(), *value, "BOOL");
  if (value->bytes[0] > 1) {
    return bad(name(), key, fmt::format(" = {}: must be 0..1 (at byte {})", value->bytes[0], value->offset));
  }
  return value->bytes[0] == 1;
}

Result<std::string_view> GgufFile::get_string(std::string_view key, std::optional<std::string_view> fallback) const {
  const GgufValue* value = find(key);
  if (value == nullptr) {
    if (fallback) return *fallback;
    return missing(name(), key);
  }
  if (value->type != GgufType::kString) return wrong_type(name(), *value, "STRING");
  return as_text(value->bytes);
}

Result<std::vector<std::string_view>> GgufFile::get_strings(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return missing(name(), key);
  if (value->type != GgufType::kArray || value->element != GgufType::kString) {
    return wrong_type(name(), *value, "ARRAY of STRING");
  }
  std::vector<std::string_view> out;
  out.reserve(value->count);  // count * 8 bytes are present: checked by the parser
  ByteReader reader(value->bytes);
  for (uint64_t i = 0; i < value->count; ++i) out.push_back(as_text(*reader.take(*reader.read<uint64_t>())));
  return out;
}

Result<std::vector<float>> GgufFile::get_floats(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return missing(name(), key);
  bool narrow = value->element == GgufType::kFloat32;
  if (value->type != GgufType::kArray || !(narrow || value->element == GgufType::kFloat64)) {
    return wrong_type(name(), *value, "ARRAY of FLOAT32");
  }
  std::vector<float> out;
  out.reserve(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    out.push_back(narrow ? load<float>(value->bytes.data() + i * 4)
                         : static_cast<float>(load<double>(value->bytes.data() + i * 8)));
  }
  return out;
}

Result<std::vector<int64_t>> GgufFile::get_ints(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return missing(name(), key);
  bool flags = value->element == GgufType::kBool;
  if (value->type != GgufType::kArray || !(flags || is_integer(value->element))) {
    return wrong_type(name(), *value, "ARRAY of integers");
  }
  std::vector<int64_t> out;
  out.reserve(value->count);
  size_t step = gguf_type_bytes(value->element);
  for (uint64_t i = 0; i < value->count; ++i) {
    const uint8_t* at = value->bytes.data() + i * step;
    std::optional<int64_t> number = flags ? std::optional<int64_t>(*at) : gguf_integer(value->element, at);
    if (!number) return bad(name(), key, fmt::format("[{}] does not fit 63 bits", i));
    out.push_back(*number);
  }
  return out;
}

}  // namespace millrace::weights
