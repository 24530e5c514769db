// Json: a compact JSON document (16 bytes a value, objects keep their order) and its capped parser.
// Untrusted text passes parse_json only: depth, number of values, duplicate keys, lone surrogates and UTF-8 are
// checked there. The parser behind it is nlohmann's SAX reader, seen by json.cc alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace millrace {

class Json;
struct JsonObject;
using JsonArray = std::vector<Json>;

class Json {
 public:
  enum class Kind : uint8_t { kNull, kBool, kInt, kDouble, kString, kArray, kObject };

  Json() = default;
  Json(std::nullptr_t) {}                                     // NOLINT(google-explicit-constructor)
  Json(bool value);                                           // NOLINT(google-explicit-constructor)
  Json(int value) : Json(int64_t{value}) {}                   // NOLINT(google-explicit-constructor)
  Json(int64_t value);                                        // NOLINT(google-explicit-constructor)
  Json(double value);                                         // NOLINT(google-explicit-constructor)
  Json(std::string value);                                    // NOLINT(google-explicit-constructor)
  Json(std::string_view value) : Json(std::string(value)) {}  // NOLINT(google-explicit-constructor)
  Json(const char* value) : Json(std::string(value)) {}       // NOLINT(google-explicit-constructor)
  Json(JsonArray value);                                      // NOLINT(google-explicit-constructor)
  Json(JsonObject value);                                     // NOLINT(google-explicit-constructor)
  static Json array();
  static Json object();
  Json(const Json& other);
  Json(Json&& other) noexcept;
  Json& operator=(const Json& other);
  Json& operator=(Json&& other) noexcept;
  ~Json();

  Kind kind() const { return kind_; }
  bool is_null() const { return kind_ == Kind::kNull; }
  bool is_bool() const { return kind_ == Kind::kBool; }
  bool is_int() const { return kind_ == Kind::kInt; }
  bool is_number() const { return kind_ == Kind::kInt || kind_ == Kind::kDouble; }
  bool is_string() const { return kind_ == Kind::kString; }
  bool is_array() const { return kind_ == Kind::kArray; }
  bool is_object() const { return kind_ == Kind::kObject; }

  // The value; the kind must match (CHECK).
  bool as_bool() const;
  int64_t as_int() const;
  double as_double() const;  // an int is widened
  const std::string& as_string() const;
  std::string& as_string();
  const JsonArray& as_array() const;
  JsonArray& as_array();
  const JsonObject& as_object() const;
  JsonObject& as_object();

  // Member of an object; nullptr when this is not an object or has no such key.
  const Json* find(std::string_view key) const;
  // find() that also treats an explicit null as absent.
  const Json* get(std::string_view key) const;
  // Sets or replaces a member; turns null into an object first.
  Json& set(std::string_view key, Json value);
  void push_back(Json value);
  size_t size() const;  // of an array or object, else 0

  bool operator==(const Json& other) const;

  // Compact text: no spaces, UTF-8 as it is, shortest round-trip numbers.
  std::string dump() const;
  void dump_to(std::string& out) const;

 private:
  void destroy();
  Kind kind_ = Kind::kNull;
  union Payload {
    bool boolean;
    int64_t integer;
    double number;
    std::string* string;
    JsonArray* array;
    JsonObject* object;
  } payload_{.integer = 0};
};

// Members in file order. `index` is a permutation sorted by key, kept when there are more than 16 members.
struct JsonObject {
  std::vector<std::pair<std::string, Json>> members;
  std::vector<uint32_t> index;

  const Json* find(std::string_view key) const;
  Json* find(std::string_view key);
};

struct JsonLimits {
  uint32_t depth = 64;          // levels of arrays and objects
  uint32_t nodes = 1'000'000;   // values in all
  uint64_t bytes = UINT64_MAX;  // memory of the document, estimated
};

// The document, or kInvalidJson / kDuplicateKey with the byte offset in the message ("not valid JSON at byte 17: ...").
Result<Json> parse_json(std::string_view text, const JsonLimits& limits = {});

// Appends text as a JSON string with quotes; UTF-8 stays, control characters and quotes are escaped.
void append_json_string(std::string& out, std::string_view text);
// Appends the shortest text that reads back as the same double ("1.0" for whole numbers); null for NaN and infinities.
void append_json_double(std::string& out, double value);

}  // namespace millrace
