#include "text/call_syntax.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/json.h"
#include "base/result.h"

namespace millrace::text {
namespace {

constexpr std::string_view kSpace = " \t\r\n";
constexpr int kMaxDepth = 64;

bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == '.' || c == ':' || c == '/';
}

std::string_view trim(std::string_view text) {
  size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

bool is_json(std::string_view text) { return parse_json(text).ok(); }

// A text that is being read.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  bool at_end() const { return rest_.empty(); }
  char peek() const { return rest_.empty() ? '\0' : rest_.front(); }
  void space() { rest_.remove_prefix(std::min(rest_.find_first_not_of(kSpace), rest_.size())); }
  bool take(std::string_view text) {
    if (text.empty() || !rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }
  // White space, then the text.
  bool take_next(std::string_view text) {
    space();
    return take(text);
  }
  std::string_view name() {
    size_t n = 0;
    while (n < rest_.size() && is_name(rest_[n])) ++n;
    return cut(n);
  }
  // Up to `end`, which is taken too.
  std::optional<std::string_view> until(std::string_view end) {
    size_t at = rest_.find(end);
    if (at == std::string_view::npos) return std::nullopt;
    std::string_view out = cut(at);
    rest_.remove_prefix(end.size());
    return out;
  }
  // Up to what ends a plain key or name.
  std::string_view word() { return cut(std::min(rest_.find_first_of(":,{}[]()<> \t\r\n"), rest_.size())); }
  std::string_view while_of(std::string_view characters) {
    return cut(std::min(rest_.find_first_not_of(characters), rest_.size()));
  }
  char next() {
    char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
  }

 private:
  std::string_view cut(size_t n) {
    std::string_view out = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return out;
  }
  std::string_view rest_;
};

// A number of JSON, as written.
bool read_number(Reader& in, std::string& out) {
  std::string_view text = in.while_of("+-.0123456789eE");
  if (text.empty() || !is_json(text)) return false;
  out += text;
  return true;
}

bool read_word(Reader& in, std::string& out) {
  struct Word {
    std::string_view text;
    std::string_view json;
  };
  constexpr Word kWords[] = {{"True", "true"}, {"False", "false"}, {"None", "null"},
                             {"true", "true"}, {"false", "false"}, {"null", "null"}};
  for (const Word& word : kWords) {
    if (!in.take(word.text)) continue;
    out += word.json;
    return true;
  }
  return false;
}

// 'text' or "text" of Python; escapes that JSON has too, and \'.
bool read_python_string(Reader& in, std::string& out) {
  char quote = in.next();
  std::string text;
  while (!in.at_end()) {
    char c = in.next();
    if (c == quote) {
      append_json_string(out, text);
      return true;
    }
    if (c != '\\') {
      text += c;
      continue;
    }
    if (in.at_end()) return false;
    char escaped = in.next();
    constexpr std::string_view kFrom = "nrtbf0";
    constexpr std::string_view kTo("\n\r\t\b\f\0", 6);
    size_t at = kFrom.find(escaped);
    if (at != std::string_view::npos) {
      text += kTo[at];
    } else if (escaped == '\\' || escaped == '\'' || escaped == '"') {
      text += escaped;
    } else {
      text += c;
      text += escaped;
    }
  }
  return false;
}

// A value of Python or of Gemma: the two differ in strings and in the keys of objects.
class ValueReader {
 public:
  ValueReader(Reader& in, std::string_view quote) : in_(in), quote_(quote) {}

  // One text, number, word, list or object behind white space.
  bool read(std::string& out, int depth = 0) {  // NOLINT(misc-no-recursion): depth is bounded
    if (depth > kMaxDepth) return false;
    in_.space();
    char c = in_.peek();
    if (c == '[') return read_list(out, depth);
    if (c == '{') return read_object(out, depth);
    if (is_string()) return read_string(out);
    return read_word(in_, out) || read_number(in_, out);
  }

 private:
  bool is_string() const {
    return quote_.empty() ? in_.peek() == '"' || in_.peek() == '\'' : in_.peek() == quote_.front();
  }
  bool read_string(std::string& out) {
    if (quote_.empty()) return read_python_string(in_, out);
    if (!in_.take(quote_)) return false;
    auto text = in_.until(quote_);
    if (text) append_json_string(out, *text);
    return text.has_value();
  }
  bool read_list(std::string& out, int depth) {  // NOLINT(misc-no-recursion)
    in_.take("[");
    out += '[';
    if (!in_.take_next("]")) {
      do {
        if (out.back() != '[') out += ',';
        if (!read(out, depth + 1)) return false;
      } while (in_.take_next(","));
      if (!in_.take_next("]")) return false;
    }
    out += ']';
    return true;
  }
  // A key is a text, in Gemma's way also a plain word.
  bool read_key(std::string& out) {
    in_.space();
    if (is_string()) return read_string(out);
    std::string_view key = quote_.empty() ? std::string_view() : in_.word();
    if (!key.empty()) append_json_string(out, key);
    return !key.empty();
  }
  bool read_object(std::string& out, int depth) {  // NOLINT(misc-no-recursion)
    in_.take("{");
    out += '{';
    if (!in_.take_next("}")) {
      do {
        if (out.back() != '{') out += ',';
        if (!read_key(out) || !in_.take_next(":")) return false;
        out += ':';
        if (!read(out, depth + 1)) return false;
      } while (in_.take_next(","));
      if (!in_.take_next("}")) return false;
    }
    out += '}';
    return true;
  }

  Reader& in_;
  std::string_view quote_;
};

// name(key=value, ...)
bool read_python_call(Reader& in, RawCall& call) {
  in.space();
  call.name = in.name();
  if (call.name.empty() || !in.take_next("(")) return false;
  call.arguments = "{";
  ValueReader values(in, {});
  if (!in.take_next(")")) {
    do {
      if (call.arguments.size() > 1) call.arguments += ',';
      in.space();
      std::string_view key = in.name();
      if (key.empty() || !in.take_next("=")) return false;
      append_json_string(call.arguments, key);
      call.arguments += ':';
      if (!values.read(call.arguments)) return false;
    } while (in.take_next(","));
    if (!in.take_next(")")) return false;
  }
  call.arguments += '}';
  return true;
}

bool read_pythonic(std::string_view text, std::vector<RawCall>& out) {
  Reader in(text);
  if (!in.take_next("[")) return false;
  do {
    RawCall call;
    if (!read_python_call(in, call)) return false;
    out.push_back(std::move(call));
  } while (in.take_next(","));
  if (!in.take_next("]")) return false;
  in.space();
  return in.at_end();
}

// A parameter as such a model writes it: JSON when it is JSON, else a text.
void append_parameter(std::string_view key, std::string_view value, std::string& arguments) {
  if (arguments.size() > 1) arguments += ',';
  append_json_string(arguments, key);
  arguments += ':';
  std::string_view trimmed = trim(value);
  if (is_json(trimmed)) {
    arguments += trimmed;
    return;
  }
  // one line feed beside the tags belongs to them
  if (value.starts_with('\n')) value.remove_prefix(1);
  if (value.ends_with('\n')) value.remove_suffix(1);
  append_json_string(arguments, value);
}

// <function=NAME> <parameter=KEY>VALUE</parameter> ... </function>
bool read_tagged(std::string_view text, std::vector<RawCall>& out) {
  Reader in(text);
  RawCall call;
  call.arguments = "{";
  if (!in.take_next("<function=")) return false;
  auto name = in.until(">");
  if (!name || trim(*name).empty()) return false;
  call.name = trim(*name);
  while (in.take_next("<parameter=")) {
    auto key = in.until(">");
    auto value = key ? in.until("</parameter>") : std::nullopt;
    if (!value) return false;
    append_parameter(trim(*key), *value, call.arguments);
  }
  if (!in.take_next("</function>")) return false;
  in.space();
  call.arguments += '}';
  out.push_back(std::move(call));
  return in.at_end();
}

// NAME <arg_key>KEY</arg_key> <arg_value>VALUE</arg_value> ...
bool read_pairs(std::string_view text, std::vector<RawCall>& out) {
  Reader in(text);
  RawCall call;
  call.arguments = "{";
  in.space();
  call.name = in.name();
  if (call.name.empty()) return false;
  while (in.take_next("<arg_key>")) {
    auto key = in.until("</arg_key>");
    if (!key || !in.take_next("<arg_value>")) return false;
    auto value = in.until("</arg_value>");
    if (!value) return false;
    append_parameter(trim(*key), *value, call.arguments);
  }
  in.space();
  call.arguments += '}';
  out.push_back(std::move(call));
  return in.at_end();
}

// call:NAME{key:value,...}
bool read_gemma(std::string_view quote, std::string_view text, std::vector<RawCall>& out) {
  Reader in(text);
  RawCall call;
  if (!in.take_next("call:")) return false;
  call.name = in.word();
  in.space();
  if (call.name.empty() || in.peek() != '{') return false;
  if (!ValueReader(in, quote).read(call.arguments)) return false;
  in.space();
  out.push_back(std::move(call));
  return in.at_end();
}

// Where a member's value stands in the text of an object that is known to be JSON.
std::string_view value_of(std::string_view object, std::string_view key) {
  int depth = 0;
  bool is_key = true;  // at depth 1: a text comes before its colon
  size_t begin = std::string_view::npos;
  std::string_view found;
  std::string_view last_text;
  for (size_t i = 0; i < object.size(); ++i) {
    char c = object[i];
    if (c == '"') {
      size_t from = i + 1;
      for (++i; object[i] != '"'; ++i) {
        if (object[i] == '\\') ++i;
      }
      if (depth == 1 && is_key) last_text = object.substr(from, i - from);
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (depth == 1 && c == ':') {
      is_key = false;
      begin = i + 1;
    } else if (c == '}' || c == ']' || (depth == 1 && c == ',')) {
      bool ends = depth == 1 && begin != std::string_view::npos;
      if (ends && last_text == key) found = trim(object.substr(begin, i - begin));
      if (ends) begin = std::string_view::npos;
      is_key = is_key || depth == 1;
      if (c != ',') --depth;
    }
  }
  return found;
}

bool read_json_call(const ToolFormat& format, const Json& call, std::string_view text, RawCall& out) {
  const Json* inner = call.get("function");  // OpenAI's own way, which some models fall into
  if (inner != nullptr && inner->is_object() && call.get(format.name_key) == nullptr) {
    return read_json_call(format, *inner, value_of(text, "function"), out);
  }
  const Json* name = call.get(format.name_key);
  if (name == nullptr) name = call.get("name");
  if (name == nullptr || !name->is_string() || name->as_string().empty()) return false;
  std::string_view key = format.arguments_key;
  for (std::string_view other : {"arguments", "parameters"}) {
    if (call.get(key) == nullptr) key = other;
  }
  const Json* arguments = call.get(key);
  if (arguments == nullptr) return false;
  out.name = name->as_string();
  if (arguments->is_object()) {
    out.arguments = value_of(text, key);
    return !out.arguments.empty();
  }
  if (!arguments->is_string()) return false;
  auto inside = parse_json(arguments->as_string());
  out.arguments = arguments->as_string();
  return inside.ok() && inside->is_object();
}

// The texts of the elements of an array that is known to be JSON.
std::vector<std::string_view> elements_of(std::string_view array) {
  std::vector<std::string_view> out;
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i < array.size(); ++i) {
    char c = array[i];
    if (c == '"') {
      for (++i; array[i] != '"'; ++i) {
        if (array[i] == '\\') ++i;
      }
    } else if (c == '{' || c == '[') {
      if (++depth == 1) begin = i + 1;
    } else if (depth == 1 && (c == ',' || c == ']')) {
      out.push_back(trim(array.substr(begin, i - begin)));
      begin = i + 1;
      if (c == ']') break;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return out;
}

}  // namespace

bool read_json_calls(const ToolFormat& format, std::string_view text, std::vector<RawCall>& out) {
  text = trim(text);
  auto value = parse_json(text);
  if (!value.ok()) return false;
  if (value->is_object()) {
    RawCall call;
    if (!read_json_call(format, *value, text, call)) return false;
    out.push_back(std::move(call));
    return true;
  }
  if (!value->is_array() || value->size() == 0) return false;
  std::vector<std::string_view> texts = elements_of(text);
  std::vector<RawCall> calls(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const Json& one = value->as_array()[i];
    if (!one.is_object() || !read_json_call(format, one, texts[i], calls[i])) return false;
  }
  for (RawCall& call : calls) out.push_back(std::move(call));
  return true;
}

bool read_calls(const ToolFormat& format, std::string_view text, std::vector<RawCall>& out) {
  std::vector<RawCall> calls;
  bool good = false;
  switch (format.syntax) {
    case CallSyntax::kJson:
      break;
    case CallSyntax::kPythonic:
      good = read_pythonic(text, calls);
      break;
    case CallSyntax::kTagged:
      good = read_tagged(text, calls);
      break;
    case CallSyntax::kPairs:
      good = read_pairs(text, calls);
      break;
    case CallSyntax::kGemma:
      good = read_gemma(format.quote, text, calls);
      break;
  }
  if (!good) return false;
  for (const RawCall& call : calls) {
    if (!is_json(call.arguments)) return false;  // a key twice, bytes that are no text
  }
  for (RawCall& call : calls) out.push_back(std::move(call));
  return true;
}

}  // namespace millrace::text
