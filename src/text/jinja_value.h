// Values of the chat-template interpreter: what a Jinja expression evaluates to. Lists and dicts are immutable (as in
// the sandbox that chat templates are written for), so a value can never contain itself; only namespaces change, and
// those are owned by the interpreter. Strings remember which bytes came from the request (marks).
//  1. depth(value) <= kMaxValueDepth, so that printing, comparing and destroying may recurse.
//  2. Bytes of values made while rendering are counted in Budget and given back when they die.
// Thread: one interpreter; values of a parsed template are shared read-only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"
#include "text/tokenizer.h"

namespace millrace::text::jinja {

constexpr int kMaxValueDepth = 128;

// Live bytes of values made by one render().
struct Budget {
  int64_t live_bytes = 0;
  int64_t max_bytes = 0;
};

class Charge {
 public:
  Charge() = default;
  Charge(Budget* budget, size_t bytes) : budget_(budget), bytes_(static_cast<int64_t>(bytes)) {
    if (budget_ != nullptr) budget_->live_bytes += bytes_;
  }
  Charge(const Charge&) = delete;
  Charge& operator=(const Charge&) = delete;
  Charge(Charge&& other) noexcept : budget_(std::exchange(other.budget_, nullptr)), bytes_(other.bytes_) {}
  Charge& operator=(Charge&& other) noexcept {
    std::swap(budget_, other.budget_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Charge() {
    if (budget_ != nullptr) budget_->live_bytes -= bytes_;
  }

 private:
  Budget* budget_ = nullptr;
  int64_t bytes_ = 0;
};

// UTF-8 with the byte ranges that came from the request (ascending, not overlapping, not touching).
struct Text {
  std::string bytes;
  std::vector<ByteRange> marks;
  bool ascii = true;
  Charge charge;
};

// Grows a Text; beyond max_bytes it stops growing and full() says so.
class TextBuilder {
 public:
  explicit TextBuilder(size_t max_bytes) : max_bytes_(max_bytes) {}
  void append(std::string_view bytes, bool marked = false);
  void append(const Text& text) { append(text, 0, text.bytes.size()); }
  void append(const Text& text, size_t begin, size_t end);
  bool full() const { return full_; }
  size_t size() const { return text_.bytes.size(); }
  Text take() { return std::move(text_); }

 private:
  void mark(size_t begin, size_t end);
  Text text_;
  size_t max_bytes_;
  bool full_ = false;
};

struct List;
struct Dict;
struct Namespace;
struct Loop;
struct Macro;
struct Bound;

struct Undefined {
  std::shared_ptr<const std::string> why;  // "'x' is undefined": the error of using it
};
struct None {};
// A global function, by its place in the table of jinja_globals.cc.
struct Builtin {
  uint32_t index = 0;
};

struct Value {
  using Data = std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const Text>,
                            std::shared_ptr<const List>, std::shared_ptr<const Dict>, Namespace*, std::shared_ptr<Loop>,
                            std::shared_ptr<const Macro>, std::shared_ptr<const Bound>, Builtin>;
  Data data;

  Value() = default;
  template <class T>
  // The constraint excludes Value itself.
  // NOLINTNEXTLINE(bugprone-forwarding-reference-overload,google-explicit-constructor)
  requires(!std::is_same_v<std::remove_cvref_t<T>, Value>) Value(T&& of) : data(std::forward<T>(of)) {}

  bool is_undefined() const { return std::holds_alternative<Undefined>(data); }
  bool is_none() const { return std::holds_alternative<None>(data); }
  const bool* boolean() const { return std::get_if<bool>(&data); }
  const double* real() const { return std::get_if<double>(&data); }
  const Text* text() const { return get<Text>(); }
  const List* list() const { return get<List>(); }  // lists and tuples
  const Dict* dict() const { return get<Dict>(); }
  Namespace* name_space() const {
    auto at = std::get_if<Namespace*>(&data);
    return at != nullptr ? *at : nullptr;
  }
  // An integer or a bool, as in Python.
  std::optional<int64_t> integer() const;
  // A number of any kind.
  std::optional<double> number() const;

 private:
  template <class T>
  const T* get() const {
    auto at = std::get_if<std::shared_ptr<const T>>(&data);
    return at != nullptr ? at->get() : nullptr;
  }
};

struct List {
  std::vector<Value> items;
  bool tuple = false;
  int depth = 1;
  Charge charge;
};

struct Dict {
  std::vector<std::pair<Value, Value>> entries;  // in order of insertion
  int depth = 1;
  Charge charge;
};

// The only mutable value; owned by the interpreter until the end of render().
struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;
};

struct Loop {
  std::shared_ptr<const List> items;
  size_t index = 0;
  int64_t nesting = 1;
  std::string changed;  // repr of the last loop.changed() arguments
  bool changed_called = false;
};

// A macro or the body of a call block. The frame is the scope it was defined in, as long as that one lives.
struct Stmt;
struct Macro {
  const Stmt* definition = nullptr;
  size_t frame = 0;
  uint64_t serial = 0;
};

// A method that was read but not called: "text".strip
struct Bound {
  Value self;
  std::string name;
};

int depth_of(const Value& value);
bool truthy(const Value& value);
// Python's ==.
bool equals(const Value& a, const Value& b);
// -1, 0, 1, or nothing for kinds without an order. NaN is in order with nothing and gives 0.
std::optional<int> compare(const Value& a, const Value& b);
// Python's name of the type: str, int, dict, ...
std::string_view type_name(const Value& value);
const Value* find_key(const Dict& dict, const Value& key);
const Value* find_member(const Dict& dict, std::string_view name);

Value literal(std::string bytes);  // a string without marks or budget
// A request's JSON; strings are marked, except short lower-case words under the key "role".
Value from_json(const Json& json, bool marked);

bool all_ascii(std::string_view bytes);
// Bytes of the character at `at` (1..4); invalid bytes count as one each.
size_t char_bytes(std::string_view bytes, size_t at);
size_t count_chars(const Text& text);
// Byte offset of the n-th character; the size when there are fewer.
size_t char_offset(const Text& text, size_t n);
uint32_t code_point(std::string_view bytes, size_t at);
void append_code_point(std::string& out, uint32_t code);
bool is_space(uint32_t code);  // str.isspace

}  // namespace millrace::text::jinja
