#include "base/json.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/macros.h"

namespace millrace {
namespace {

// What the allocator takes for a string's object, an object's or array's own lists, and a key of a member.
constexpr size_t kStringBytes = 48;
constexpr size_t kObjectBytes = 128;
constexpr size_t kArrayBytes = 64;
constexpr size_t kKeyBytes = 32;

constexpr size_t kIndexFrom = 16;  // members; below this a scan is faster than the index

// Fills object.index. The number of a member whose key stood before, if there is one.
std::optional<uint32_t> build_index(JsonObject& object) {
  const auto& members = object.members;
  std::vector<uint32_t> order(members.size());
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return members[a].first < members[b].first; });
  for (size_t i = 1; i < order.size(); ++i) {
    if (members[order[i]].first == members[order[i - 1]].first) return std::max(order[i], order[i - 1]);
  }
  object.index = members.size() > kIndexFrom ? std::move(order) : std::vector<uint32_t>{};
  return std::nullopt;
}

// Iterates over the text and tells how far the reader has come.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, const char** read_to) : at_(at), read_to_(read_to) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    *read_to_ = ++at_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator old = *this;
    ++*this;
    return old;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }

 private:
  const char* at_;
  const char** read_to_;
};

// Receives nlohmann's SAX events and builds Json under the caps. Every handler returns false to stop.
class Builder {
 public:
  // read_to: end of what the reader has taken of the text, which starts at `begin`.
  Builder(const JsonLimits& limits, const char* begin, const char* const& read_to)
      : limits_(limits), begin_(begin), read_to_(read_to) {}

  bool null() { return add(Json()); }
  bool boolean(bool value) { return add(Json(value)); }
  bool number_integer(int64_t value) { return add(Json(value)); }
  bool number_unsigned(uint64_t value) {
    if (value > static_cast<uint64_t>(INT64_MAX)) return add(Json(static_cast<double>(value)));
    return add(Json(static_cast<int64_t>(value)));
  }
  bool number_float(double value, const std::string& text) {
    if (!std::isfinite(value))
      return fail(ErrorCode::kInvalidJson, fmt::format("number {} is out of range", quote_for_message(text)));
    return add(Json(value));
  }
  bool string(std::string& value) {
    constexpr size_t kLong = 4096;  // the reader's buffer grows by doubling: a long text is copied to its own size
    return spend(kStringBytes + value.size()) &&
           add(value.size() < kLong ? Json(std::move(value)) : Json(std::string(value)));
  }
  bool binary(nlohmann::json::binary_t&) { return false; }
  bool start_object(size_t) { return spend(kObjectBytes) && open(Json::object()); }
  bool key(std::string& name) {
    size_t bytes = kKeyBytes + name.size();
    keys_.push_back(std::move(name));
    key_offsets_.push_back(static_cast<uint32_t>(offset()));
    return spend(bytes);
  }
  bool end_object() {
    JsonObject& object = stack_.back().as_object();
    const size_t first_key = key_offsets_.size() - object.members.size();
    if (auto twice = build_index(object)) {
      return fail(ErrorCode::kDuplicateKey,
                  fmt::format("duplicate key \"{}\"", quote_for_message(object.members[*twice].first)),
                  key_offsets_[first_key + *twice]);
    }
    key_offsets_.resize(first_key);
    return close();
  }
  bool start_array(size_t) { return spend(kArrayBytes) && open(Json::array()); }
  bool end_array() { return close(); }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) {
    // what() ends with the reason after the last "; " or ": ", without library names or addresses
    std::string_view what = error.what();
    size_t cut = what.find(": ");
    std::string reason = cut == std::string_view::npos ? "syntax error" : std::string(what.substr(cut + 2));
    if (error.id == 406) reason = "number out of range";
    error_ = Error{ErrorCode::kInvalidJson,
                   fmt::format("not valid JSON at byte {}: {}", position, quote_for_message(reason, 160)), ""};
    failed_ = true;
    return false;
  }

  bool failed() const { return failed_; }
  Error take_error() { return std::move(error_); }
  Json take() { return std::move(root_); }

 private:
  size_t offset() const { return static_cast<size_t>(read_to_ - begin_); }
  bool fail(ErrorCode code, const std::string& reason) { return fail(code, reason, offset()); }
  bool fail(ErrorCode code, const std::string& reason, size_t offset) {
    if (!failed_) error_ = Error{code, fmt::format("not valid JSON at byte {}: {}", offset, reason), ""};
    failed_ = true;
    return false;
  }
  bool spend(size_t bytes) {
    bytes_ += bytes;
    if (bytes_ <= limits_.bytes) return true;
    return fail(ErrorCode::kInvalidJson, "too many small values for its length");
  }
  bool count() {
    if (++nodes_ > limits_.nodes)
      return fail(ErrorCode::kInvalidJson, fmt::format("more than {} values", limits_.nodes));
    return true;
  }
  bool add(Json value) { return count() && spend(sizeof(Json)) && place(std::move(value)); }
  bool place(Json value) {
    if (stack_.empty()) {
      root_ = std::move(value);
    } else if (stack_.back().is_array()) {
      stack_.back().as_array().push_back(std::move(value));
    } else {
      stack_.back().as_object().members.emplace_back(std::move(keys_.back()), std::move(value));
      keys_.pop_back();
    }
    return true;
  }
  bool open(Json container) {
    if (!count()) return false;
    if (stack_.size() >= limits_.depth)
      return fail(ErrorCode::kInvalidJson, fmt::format("nesting deeper than {}", limits_.depth));
    stack_.push_back(std::move(container));
    return true;
  }
  bool close() {
    Json done = std::move(stack_.back());
    stack_.pop_back();
    if (done.is_array()) {
      JsonArray& array = done.as_array();
      if (array.capacity() > array.size() + array.size() / 4) array.shrink_to_fit();
    }
    return place(std::move(done));
  }

  const JsonLimits& limits_;
  const char* begin_;
  const char* const& read_to_;
  std::vector<Json> stack_;
  std::vector<std::string> keys_;      // without a value yet
  std::vector<uint32_t> key_offsets_;  // of every key of the open objects
  Json root_;
  uint32_t nodes_ = 0;
  uint64_t bytes_ = 0;
  bool failed_ = false;
  Error error_;
};

}  // namespace

Json::Json(bool value) : kind_(Kind::kBool) { payload_.boolean = value; }
Json::Json(int64_t value) : kind_(Kind::kInt) { payload_.integer = value; }
Json::Json(double value) : kind_(Kind::kDouble) { payload_.number = value; }
Json::Json(std::string value) : kind_(Kind::kString) { payload_.string = new std::string(std::move(value)); }
Json::Json(JsonArray value) : kind_(Kind::kArray) { payload_.array = new JsonArray(std::move(value)); }
Json::Json(JsonObject value) : kind_(Kind::kObject) { payload_.object = new JsonObject(std::move(value)); }
Json Json::array() { return Json(JsonArray{}); }
Json Json::object() { return Json(JsonObject{}); }

Json::Json(const Json& other) : kind_(other.kind_), payload_(other.payload_) {
  if (kind_ == Kind::kString) payload_.string = new std::string(*other.payload_.string);
  if (kind_ == Kind::kArray) payload_.array = new JsonArray(*other.payload_.array);
  if (kind_ == Kind::kObject) payload_.object = new JsonObject(*other.payload_.object);
}
Json::Json(Json&& other) noexcept : kind_(std::exchange(other.kind_, Kind::kNull)), payload_(other.payload_) {}
Json& Json::operator=(const Json& other) {
  if (this != &other) *this = Json(other);
  return *this;
}
Json& Json::operator=(Json&& other) noexcept {
  if (this != &other) {
    Json old(std::move(*this));  // keeps a tree alive whose child is being assigned to its parent
    kind_ = std::exchange(other.kind_, Kind::kNull);
    payload_ = other.payload_;
  }
  return *this;
}
Json::~Json() { destroy(); }

void Json::destroy() {
  if (kind_ == Kind::kString) delete payload_.string;
  if (kind_ == Kind::kArray) delete payload_.array;
  if (kind_ == Kind::kObject) delete payload_.object;
  kind_ = Kind::kNull;
}

bool Json::as_bool() const {
  CHECK(is_bool());
  return payload_.boolean;
}
int64_t Json::as_int() const {
  CHECK(is_int());
  return payload_.integer;
}
double Json::as_double() const {
  CHECK(is_number());
  return is_int() ? static_cast<double>(payload_.integer) : payload_.number;
}
const std::string& Json::as_string() const {
  CHECK(is_string());
  return *payload_.string;
}
std::string& Json::as_string() {
  CHECK(is_string());
  return *payload_.string;
}
const JsonArray& Json::as_array() const {
  CHECK(is_array());
  return *payload_.array;
}
JsonArray& Json::as_array() {
  CHECK(is_array());
  return *payload_.array;
}
const JsonObject& Json::as_object() const {
  CHECK(is_object());
  return *payload_.object;
}
JsonObject& Json::as_object() {
  CHECK(is_object());
  return *payload_.object;
}

const Json* JsonObject::find(std::string_view key) const {
  if (index.size() == members.size() && members.size() > kIndexFrom) {
    auto at = std::lower_bound(index.begin(), index.end(), key,
                               [&](uint32_t i, std::string_view wanted) { return members[i].first < wanted; });
    return at != index.end() && members[*at].first == key ? &members[*at].second : nullptr;
  }
  for (const auto& [name, value] : members) {
    if (name == key) return &value;
  }
  return nullptr;
}
Json* JsonObject::find(std::string_view key) { return const_cast<Json*>(std::as_const(*this).find(key)); }

const Json* Json::find(std::string_view key) const { return is_object() ? payload_.object->find(key) : nullptr; }
const Json* Json::get(std::string_view key) const {
  const Json* value = find(key);
  return value != nullptr && !value->is_null() ? value : nullptr;
}
Json& Json::set(std::string_view key, Json value) {
  if (is_null()) *this = object();
  JsonObject& target = as_object();
  if (Json* old = target.find(key)) {
    *old = std::move(value);
    return *old;
  }
  target.index.clear();
  return target.members.emplace_back(std::string(key), std::move(value)).second;
}
void Json::push_back(Json value) {
  if (is_null()) *this = array();
  as_array().push_back(std::move(value));
}
size_t Json::size() const {
  if (is_array()) return payload_.array->size();
  if (is_object()) return payload_.object->members.size();
  return 0;
}

bool Json::operator==(const Json& other) const {
  if (is_number() && other.is_number()) {
    return is_int() && other.is_int() ? as_int() == other.as_int() : as_double() == other.as_double();
  }
  if (kind_ != other.kind_) return false;
  switch (kind_) {
    case Kind::kNull:
      return true;
    case Kind::kBool:
      return payload_.boolean == other.payload_.boolean;
    case Kind::kInt:
    case Kind::kDouble:
      return true;  // handled above
    case Kind::kString:
      return *payload_.string == *other.payload_.string;
    case Kind::kArray:
      return *payload_.array == *other.payload_.array;
    case Kind::kObject:
      if (size() != other.size()) return false;
      return std::all_of(payload_.object->members.begin(), payload_.object->members.end(), [&](const auto& member) {
        const Json* twin = other.find(member.first);
        return twin != nullptr && *twin == member.second;
      });
  }
  return false;
}

std::string Json::dump() const {
  std::string out;
  dump_to(out);
  return out;
}

void Json::dump_to(std::string& out) const {
  switch (kind_) {
    case Kind::kNull:
      out += "null";
      break;
    case Kind::kBool:
      out += payload_.boolean ? "true" : "false";
      break;
    case Kind::kInt:
      fmt::format_to(std::back_inserter(out), "{}", payload_.integer);
      break;
    case Kind::kDouble:
      append_json_double(out, payload_.number);
      break;
    case Kind::kString:
      append_json_string(out, *payload_.string);
      break;
    case Kind::kArray: {
      out += '[';
      bool first = true;
      for (const Json& value : *payload_.array) {
        if (!std::exchange(first, false)) out += ',';
        value.dump_to(out);
      }
      out += ']';
      break;
    }
    case Kind::kObject: {
      out += '{';
      bool first = true;
      for (const auto& [name, value] : payload_.object->members) {
        if (!std::exchange(first, false)) out += ',';
        append_json_string(out, name);
        out += ':';
        value.dump_to(out);
      }
      out += '}';
      break;
    }
  }
}

Result<Json> parse_json(std::string_view text, const JsonLimits& limits) {
  if (text.starts_with("\xEF\xBB\xBF")) {  // the reader behind would skip it; RFC 8259, section 8.1, forbids it
    return Error{ErrorCode::kInvalidJson, "not valid JSON at byte 0: byte order mark", ""};
  }
  const char* read_to = text.data();
  Builder builder(limits, text.data(), read_to);
  try {
    bool done = nlohmann::json::sax_parse(CountingIterator(text.data(), &read_to),
                                          CountingIterator(text.data() + text.size(), &read_to), &builder);
    if (!done || builder.failed()) return builder.take_error();
    // The reader behind takes a NUL for the end of the text; what it accepted has one only there.
    if (size_t nul = text.find('\0'); nul != std::string_view::npos) {
      return Error{ErrorCode::kInvalidJson, fmt::format("not valid JSON at byte {}: NUL after the value", nul), ""};
    }
  } catch (const std::bad_alloc&) {  // not the text's fault
    throw;
  } catch (const std::exception&) {
    return Error{ErrorCode::kInvalidJson, "not valid JSON", ""};
  }
  return builder.take();
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  for (char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (static_cast<uint8_t>(c) < 0x20) {
          fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

void append_json_double(std::string& out, double value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  char buffer[32];
  auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value);
  std::string_view text(buffer, static_cast<size_t>(end - buffer));
  out += text;
  if (text.find_first_of(".en") == std::string_view::npos) out += ".0";
}

}  // namespace millrace
