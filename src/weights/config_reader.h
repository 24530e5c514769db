// Typed, range-checked reads from a JSON object of a model folder. An explicit null counts as absent. A missing key
// is an error unless a fallback is given: "x/config.json: hidden_size = 0: must be 1..262144".
// Thread: any (const).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "weights/gguf.h"

namespace millrace::weights {

class ConfigReader {
 public:
  // object must be a JSON object that outlives the reader; path is put before keys in messages ("text_config.").
  ConfigReader(const Json& object, std::string file, std::string path = "")
      : object_(&object), file_(std::move(file)), path_(std::move(path)) {}

  Result<int64_t> get_int(std::string_view key, IntRange range, std::optional<int64_t> fallback = {}) const;
  Result<double> get_float(std::string_view key, FloatRange range, std::optional<double> fallback = {}) const;
  Result<bool> get_bool(std::string_view key, bool fallback) const;
  Result<std::string> get_string(std::string_view key, std::optional<std::string> fallback = {}) const;
  // A sub-object, or nothing when absent.
  Result<std::optional<ConfigReader>> get_object(std::string_view key) const;

  // nullptr when absent or null.
  const Json* find(std::string_view key) const { return object_->get(key); }
  bool has(std::string_view key) const { return find(key) != nullptr; }
  // Present, null or not.
  bool mentions(std::string_view key) const { return object_->find(key) != nullptr; }
  Error bad(std::string_view key, std::string_view what) const;

 private:
  const Json* object_;
  std::string file_;
  std::string path_;
};

}  // namespace millrace::weights
