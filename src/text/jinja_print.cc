// Values as text: str(), repr() and json.dumps() as Python writes them.
#include <fmt/core.h>
#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "text/jinja_interpreter.h"

namespace millrace::text::jinja {
namespace {

// str.isprintable of one character: not in the categories Other and Separator, except the space.
bool is_printable(uint32_t code) {
  if (code == ' ') return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

std::string_view simple_escape(uint32_t code) {
  switch (code) {
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\\':
      return "\\\\";
    default:
      return {};
  }
}

// Marks are kept for characters that stay as they are; an escape takes the mark of its character.
void append_string_repr(TextBuilder& out, const Text& text) {
  bool single = text.bytes.find('\'') != std::string::npos;
  bool twice = text.bytes.find('"') != std::string::npos;
  char quote = single && !twice ? '"' : '\'';
  out.append(std::string_view(&quote, 1));
  bool marked = !text.marks.empty();
  size_t plain = 0;
  for (size_t at = 0; at < text.bytes.size() && !out.full();) {
    size_t n = char_bytes(text.bytes, at);
    uint32_t code = code_point(text.bytes, at);
    std::string escaped(simple_escape(code));
    if (code == static_cast<uint8_t>(quote)) escaped = std::string("\\") + quote;
    if (escaped.empty() && !is_printable(code)) {
      escaped = code < 0x100     ? fmt::format("\\x{:02x}", code)
                : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                                 : fmt::format("\\U{:08x}", code);
    }
    if (!escaped.empty()) {
      out.append(text, plain, at);
      out.append(escaped, marked);
      plain = at + n;
    }
    at += n;
  }
  out.append(text, plain, text.bytes.size());
  out.append(std::string_view(&quote, 1));
}

void append_json_text(TextBuilder& out, const Text& text, bool ensure_ascii) {
  out.append("\"");
  bool marked = !text.marks.empty();
  size_t plain = 0;
  for (size_t at = 0; at < text.bytes.size() && !out.full();) {
    size_t n = char_bytes(text.bytes, at);
    uint32_t code = code_point(text.bytes, at);
    std::string escaped;
    switch (code) {
      case '"':
        escaped = "\\\"";
        break;
      case '\\':
        escaped = "\\\\";
        break;
      case '\n':
        escaped = "\\n";
        break;
      case '\r':
        escaped = "\\r";
        break;
      case '\t':
        escaped = "\\t";
        break;
      case '\b':
        escaped = "\\b";
        break;
      case '\f':
        escaped = "\\f";
        break;
      default:
        if (code < 0x20 || (ensure_ascii && code > 0x7E && code < 0x10000)) {
          escaped = fmt::format("\\u{:04x}", code);
        } else if (ensure_ascii && code >= 0x10000) {
          uint32_t rest = code - 0x10000;
          escaped = fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
        }
    }
    if (!escaped.empty()) {
      out.append(text, plain, at);
      out.append(escaped, marked);
      plain = at + n;
    }
    at += n;
  }
  out.append(text, plain, text.bytes.size());
  out.append("\"");
}

void append_list_repr(Interpreter& interpreter, TextBuilder& out, const List& list) {
  out.append(list.tuple ? "(" : "[");
  for (size_t i = 0; i < list.items.size() && !interpreter.failed(); ++i) {
    if (i) out.append(", ");
    append_repr(interpreter, out, list.items[i]);
  }
  out.append(list.tuple ? (list.items.size() == 1 ? ",)" : ")") : "]");
}

void append_dict_repr(Interpreter& interpreter, TextBuilder& out, const Dict& dict) {
  out.append("{");
  bool first = true;
  for (const auto& entry : dict.entries) {
    if (interpreter.failed()) return;
    if (!std::exchange(first, false)) out.append(", ");
    append_repr(interpreter, out, entry.first);
    out.append(": ");
    append_repr(interpreter, out, entry.second);
  }
  out.append("}");
}

std::string json_number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return float_text(value);
}

void new_line(TextBuilder& out, const JsonStyle& style, int level) {
  if (!style.indented) return;
  out.append("\n");
  for (int i = 0; i < level && !out.full(); ++i) out.append(style.indent);
}

void append_json_list(Interpreter& interpreter, TextBuilder& out, const List& list, const JsonStyle& style, int level) {
  if (list.items.empty()) return out.append("[]");
  out.append("[");
  for (size_t i = 0; i < list.items.size() && !interpreter.failed(); ++i) {
    if (i) out.append(style.item_separator);
    new_line(out, style, level + 1);
    append_tojson(interpreter, out, list.items[i], style, level + 1);
  }
  new_line(out, style, level);
  out.append("]");
}

void append_json_key(Interpreter& interpreter, TextBuilder& out, const Value& key, const JsonStyle& style) {
  if (key.text() != nullptr) return append_json_text(out, *key.text(), style.ensure_ascii);
  if (!key.is_none() && !key.number()) {
    interpreter.fail(fmt::format("keys must be str, int, float, bool or None, not {}", type_name(key)));
    return;
  }
  out.append("\"");
  append_tojson(interpreter, out, key, style);
  out.append("\"");
}

void append_json_dict(Interpreter& interpreter, TextBuilder& out, const Dict& dict, const JsonStyle& style, int level) {
  if (dict.entries.empty()) return out.append("{}");
  std::vector<const std::pair<Value, Value>*> order;
  for (const auto& entry : dict.entries) order.push_back(&entry);
  if (style.sort_keys) {
    std::stable_sort(order.begin(), order.end(),
                     [&](const auto* a, const auto* b) { return interpreter.check_less(a->first, b->first); });
  }
  out.append("{");
  for (size_t i = 0; i < order.size() && !interpreter.failed(); ++i) {
    if (i) out.append(style.item_separator);
    new_line(out, style, level + 1);
    append_json_key(interpreter, out, order[i]->first, style);
    out.append(style.key_separator);
    append_tojson(interpreter, out, order[i]->second, style, level + 1);
  }
  new_line(out, style, level);
  out.append("}");
}

}  // namespace

// Shortest digits that read back, in Python's layout: exponent form below 1e-4 and from 1e16 on.
std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[40];
  auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  std::string_view text(buffer, static_cast<size_t>(end - buffer));
  size_t e = text.find('e');
  int exponent = 0;
  std::from_chars(text.data() + e + 1 + (text[e + 1] == '+' ? 1 : 0), end, exponent);
  if (exponent < -4 || exponent >= 16) {
    return fmt::format("{}e{}{:02}", text.substr(0, e), exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  char fixed[64];
  auto fixed_end = std::to_chars(fixed, fixed + sizeof fixed, value, std::chars_format::fixed).ptr;
  std::string out(fixed, static_cast<size_t>(fixed_end - fixed));
  if (out.find('.') == std::string::npos) out += ".0";
  return out;
}

void append_repr(Interpreter& interpreter, TextBuilder& out, const Value& value) {
  if (!interpreter.spend(1)) return;
  if (const Text* text = value.text()) {
    if (interpreter.touch(text->bytes.size())) append_string_repr(out, *text);
  } else if (const List* list = value.list()) {
    append_list_repr(interpreter, out, *list);
  } else if (const Dict* dict = value.dict()) {
    append_dict_repr(interpreter, out, *dict);
  } else if (value.is_undefined()) {
    out.append("Undefined");
  } else {
    interpreter.print(out, value);
  }
}

void append_tojson(Interpreter& interpreter, TextBuilder& out, const Value& value, const JsonStyle& style, int level) {
  if (!interpreter.spend(1)) return;
  if (const Text* text = value.text()) {
    if (interpreter.touch(text->bytes.size())) append_json_text(out, *text, style.ensure_ascii);
  } else if (const List* list = value.list()) {
    append_json_list(interpreter, out, *list, style, level);
  } else if (const Dict* dict = value.dict()) {
    append_json_dict(interpreter, out, *dict, style, level);
  } else if (value.is_none()) {
    out.append("null");
  } else if (const bool* boolean = value.boolean()) {
    out.append(*boolean ? "true" : "false");
  } else if (auto integer = value.integer()) {
    out.append(fmt::format("{}", *integer));
  } else if (const double* real = value.real()) {
    out.append(json_number(*real));
  } else {
    interpreter.fail(fmt::format("Object of type {} is not JSON serializable", type_name(value)));
  }
}

void Interpreter::print(TextBuilder& out, const Value& value) {
  struct Visitor {
    Interpreter& self;
    TextBuilder& out;
    const Value& value;
    void operator()(const Undefined&) const {}
    void operator()(const None&) const { out.append("None"); }
    void operator()(bool boolean) const { out.append(boolean ? "True" : "False"); }
    void operator()(int64_t integer) const { out.append(fmt::format("{}", integer)); }
    void operator()(double real) const { out.append(float_text(real)); }
    void operator()(const std::shared_ptr<const Text>& text) const {
      if (self.touch(text->bytes.size())) out.append(*text);
    }
    void operator()(const std::shared_ptr<const List>&) const { append_repr(self, out, value); }
    void operator()(const std::shared_ptr<const Dict>&) const { append_repr(self, out, value); }
    void operator()(Namespace*) const { out.append("<Namespace>"); }
    void operator()(const std::shared_ptr<Loop>& loop) const {
      out.append(fmt::format("<LoopContext {}/{}>", loop->index + 1, loop->items->items.size()));
    }
    void operator()(const std::shared_ptr<const Macro>&) const { out.append("<Macro>"); }
    void operator()(const std::shared_ptr<const Bound>&) const { out.append("<built-in method>"); }
    void operator()(const Builtin&) const { out.append("<function>"); }
  };
  std::visit(Visitor{*this, out, value}, value.data);
  if (out.full()) fail_output();
}

std::shared_ptr<const Text> Interpreter::to_text(const Value& value) {
  if (const auto* text = std::get_if<std::shared_ptr<const Text>>(&value.data)) return *text;
  TextBuilder out = builder();
  print(out, value);
  Value text = failed_ ? Value() : make_text(out);
  if (failed_) return std::make_shared<const Text>();
  return std::get<std::shared_ptr<const Text>>(text.data);
}

}  // namespace millrace::text::jinja
