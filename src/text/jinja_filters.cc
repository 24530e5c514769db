// The filter tables: lookup, and the filters on text and on single values. Sequence filters: jinja_sequences.cc.
#include "text/jinja_filters.h"

#include <fmt/core.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <utility>

#include "text/jinja_interpreter.h"
#include "text/jinja_strings.h"

namespace millrace::text::jinja {
namespace {

using I = Interpreter;
using A = Arguments;

template <Case kTo>
Value change(I& interpreter, const A& a) {
  return change_case(interpreter, *interpreter.to_text(a.self), kTo);
}

Value filter_trim(I& interpreter, const A& a) {
  const Text* chars = text_argument(interpreter, a, 0, "chars");
  return interpreter.failed() ? Value() : strip(interpreter, *interpreter.to_text(a.self), chars, Side::kBoth);
}

Value filter_replace(I& interpreter, const A& a) {
  const Value* old_part = a.get(0, "old");
  const Value* new_part = a.get(1, "new");
  if (old_part == nullptr || new_part == nullptr) return interpreter.fail("replace needs two arguments");
  auto from = interpreter.to_text(*old_part);
  auto to = interpreter.to_text(*new_part);
  int64_t count = int_argument(interpreter, a, 2, "count", -1);
  return interpreter.failed() ? Value() : replace(interpreter, *interpreter.to_text(a.self), *from, *to, count);
}

// As jinja2's do_indent: width is a number of blanks or the text to put before each line.
Value filter_indent(I& interpreter, const A& a) {
  auto text = interpreter.to_text(a.self);
  const Value* width = a.get(0, "width");
  bool first = bool_argument(a, 1, "first", false);
  bool blank = bool_argument(a, 2, "blank", false);
  TextBuilder margin = interpreter.builder();
  if (width != nullptr && width->text() != nullptr) {
    margin.append(*width->text());
  } else {
    int64_t n = int_argument(interpreter, a, 0, "width", 4);
    for (int64_t i = 0; i < n && !margin.full() && (i % 256 != 0 || interpreter.spend(1)); ++i) margin.append(" ");
  }
  Value indent = interpreter.make_text(margin);
  TextBuilder closed = interpreter.builder();
  closed.append(*text);
  closed.append("\n");
  Value source = interpreter.make_text(closed);
  if (interpreter.failed()) return {};
  Value lines = split_lines(interpreter, *source.text(), false);
  if (interpreter.failed()) return {};
  TextBuilder out = interpreter.builder();
  if (first) out.append(*indent.text());
  bool later = false;
  for (const Value& line : lines.list()->items) {
    if (later) out.append("\n");
    if (later && (blank || !line.text()->bytes.empty())) out.append(*indent.text());
    out.append(*line.text());
    later = true;
    if (out.full() || !interpreter.touch(indent.text()->bytes.size())) break;
  }
  return interpreter.make_text(out);
}

Value filter_escape(I& interpreter, const A& a) {
  auto text = interpreter.to_text(a.self);
  TextBuilder out = interpreter.builder();
  if (!interpreter.touch(text->bytes.size() * 2)) return {};
  for (size_t i = 0; i < text->bytes.size(); ++i) {
    switch (text->bytes[i]) {
      case '&':
        out.append("&amp;");
        break;
      case '<':
        out.append("&lt;");
        break;
      case '>':
        out.append("&gt;");
        break;
      case '"':
        out.append("&#34;");
        break;
      case '\'':
        out.append("&#39;");
        break;
      default:
        out.append(*text, i, i + 1);
    }
  }
  return interpreter.make_text(out);
}

Value filter_center(I& interpreter, const A& a) {
  auto text = interpreter.to_text(a.self);
  return pad(interpreter, *text, int_argument(interpreter, a, 0, "width", 80), Side::kBoth, " ");
}

bool is_word(uint32_t code) {
  if (code == '_') return true;
  utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(code));
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
         (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);
}

Value filter_wordcount(I& interpreter, const A& a) {
  auto text = interpreter.to_text(a.self);
  if (!interpreter.touch(text->bytes.size() * 4)) return {};
  int64_t count = 0;
  bool inside = false;
  for (size_t at = 0; at < text->bytes.size(); at += char_bytes(text->bytes, at)) {
    bool word = is_word(code_point(text->bytes, at));
    count += word && !inside ? 1 : 0;
    inside = word;
  }
  return count;
}

Value filter_truncate(I& interpreter, const A& a) {
  auto text = interpreter.to_text(a.self);
  int64_t length = int_argument(interpreter, a, 0, "length", 255);
  bool kill_words = bool_argument(a, 1, "killwords", false);
  const Text* given = text_argument(interpreter, a, 2, "end");
  int64_t leeway = int_argument(interpreter, a, 3, "leeway", 5);
  if (interpreter.failed() || !interpreter.touch(text->bytes.size())) return {};
  Value dots = literal("...");
  const Text& end = given != nullptr ? *given : *dots.text();
  auto end_chars = static_cast<int64_t>(count_chars(end));
  if (length < end_chars) return interpreter.fail("truncate: length is below the length of the end text");
  if (static_cast<int64_t>(count_chars(*text)) <= length + leeway) return std::shared_ptr<const Text>(text);
  size_t cut = char_offset(*text, static_cast<size_t>(length - end_chars));
  if (!kill_words) {
    size_t space = std::string_view(text->bytes).substr(0, cut).rfind(' ');
    if (space != std::string_view::npos) cut = space;
  }
  TextBuilder out = interpreter.builder();
  out.append(*text, 0, cut);
  out.append(end);
  return interpreter.make_text(out);
}

Value filter_urlencode(I& interpreter, const A& a) {
  auto text = interpreter.to_text(a.self);
  if (!interpreter.touch(text->bytes.size() * 4)) return {};
  TextBuilder out = interpreter.builder();
  bool marked = !text->marks.empty();
  for (char c : text->bytes) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 std::string_view("_.-~/").find(c) != std::string_view::npos;
    if (plain) {
      out.append(std::string_view(&c, 1), marked);
    } else {
      out.append(fmt::format("%{:02X}", static_cast<unsigned>(static_cast<uint8_t>(c))), marked);
    }
  }
  return interpreter.make_text(out);
}

Value filter_format(I& interpreter, const A& a) {
  if (a.self.text() == nullptr) return interpreter.fail("format needs a string");
  return format_percent(interpreter, *a.self.text(), a);
}

Value filter_string(I& interpreter, const A& a) { return interpreter.to_text(a.self); }

Value filter_default(I&, const A& a) {
  bool use = a.self.is_undefined() || (bool_argument(a, 1, "boolean", false) && !truthy(a.self));
  if (!use) return a.self;
  const Value* value = a.get(0, "default_value");
  return value != nullptr ? *value : literal("");
}

Value filter_abs(I& interpreter, const A& a) {
  if (auto integer = a.self.integer())
    return *integer == INT64_MIN ? interpreter.fail("integer overflow") : Value(std::abs(*integer));
  if (const double* real = a.self.real()) return std::abs(*real);
  return interpreter.fail(fmt::format("bad operand type for abs(): '{}'", type_name(a.self)));
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(static_cast<uint8_t>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && is_space(static_cast<uint8_t>(text.back()))) text.remove_suffix(1);
  return text;
}

std::optional<double> parse_real(std::string_view text) {
  text = trimmed(text);
  if (text.starts_with('+')) text.remove_prefix(1);
  double out = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() && !text.empty() ? std::optional(out) : std::nullopt;
}

std::optional<int64_t> to_integer(double value) {
  if (!(std::abs(value) < 9.2e18)) return std::nullopt;
  return static_cast<int64_t>(value);
}

Value filter_int(I& interpreter, const A& a) {
  const Value* fallback = a.get(0, "default");
  Value otherwise = fallback != nullptr ? *fallback : Value(int64_t{0});
  if (auto integer = a.self.integer()) return *integer;
  std::optional<int64_t> out;
  if (const double* real = a.self.real()) out = to_integer(*real);
  if (const Text* text = a.self.text()) {
    auto base = static_cast<int>(std::clamp<int64_t>(int_argument(interpreter, a, 1, "base", 10), 2, 36));
    std::string_view digits = trimmed(text->bytes);
    if (digits.starts_with('+')) digits.remove_prefix(1);
    if (base == 16 && (digits.starts_with("0x") || digits.starts_with("0X"))) digits.remove_prefix(2);
    int64_t value = 0;
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
    if (error == std::errc() && end == digits.data() + digits.size()) return value;
    if (auto real = parse_real(digits)) out = to_integer(*real);
  }
  return out ? Value(*out) : otherwise;
}

Value filter_float(I&, const A& a) {
  const Value* fallback = a.get(0, "default");
  if (auto number = a.self.number()) return *number;
  auto parsed = a.self.text() != nullptr ? parse_real(a.self.text()->bytes) : std::nullopt;
  if (parsed) return *parsed;
  return fallback != nullptr ? *fallback : Value(0.0);
}

Value filter_round(I& interpreter, const A& a) {
  auto number = a.self.number();
  int64_t precision = int_argument(interpreter, a, 0, "precision", 0);
  const Text* method = text_argument(interpreter, a, 1, "method");
  if (interpreter.failed()) return {};
  if (!number) return interpreter.fail(fmt::format("type {} doesn't define __round__ method", type_name(a.self)));
  std::string_view how = method != nullptr ? std::string_view(method->bytes) : "common";
  if (how != "common" && how != "ceil" && how != "floor")
    return interpreter.fail("method must be common, ceil or floor");
  precision = std::clamp<int64_t>(precision, -300, 300);
  if (how == "common" && precision >= 0) {
    // printf rounds the exact binary value half to even, as Python's round() does
    char buffer[700];
    int n = std::snprintf(buffer, sizeof buffer, "%.*f", static_cast<int>(precision), *number);
    double out = *number;
    std::from_chars(buffer, buffer + n, out);
    return a.self.integer() ? Value(*a.self.integer()) : Value(out);
  }
  double scale = std::pow(10.0, static_cast<double>(precision));
  if (how == "common") return std::nearbyint(*number * scale) / scale;
  return (how == "ceil" ? std::ceil(*number * scale) : std::floor(*number * scale)) / scale;
}

bool read_separators(I& interpreter, const Value& value, JsonStyle& style) {
  const List* pair = value.list();
  bool ok = pair != nullptr && pair->items.size() == 2 && pair->items[0].text() != nullptr &&
            pair->items[1].text() != nullptr;
  if (!ok) {
    interpreter.fail("tojson: separators must be two strings");
    return false;
  }
  style.item_separator = pair->items[0].text()->bytes;
  style.key_separator = pair->items[1].text()->bytes;
  return true;
}

// json.dumps(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False), as transformers sets it up.
Value filter_tojson(I& interpreter, const A& a) {
  JsonStyle style;
  style.ensure_ascii = bool_argument(a, 0, "ensure_ascii", false);
  style.sort_keys = bool_argument(a, 3, "sort_keys", false);
  const Value* indent = a.get(1, "indent");
  if (indent != nullptr && !indent->is_none()) {
    style.indented = true;
    style.item_separator = ",";
    if (indent->text() != nullptr) {
      style.indent = indent->text()->bytes;
    } else {
      int64_t n = int_argument(interpreter, a, 1, "indent", 0);
      if (n > 1'000'000) return interpreter.fail_output();
      style.indent = std::string(static_cast<size_t>(std::max<int64_t>(n, 0)), ' ');
    }
  }
  const Value* separators = a.get(2, "separators");
  if (separators != nullptr && !separators->is_none() && !read_separators(interpreter, *separators, style)) return {};
  TextBuilder out = interpreter.builder();
  append_tojson(interpreter, out, a.self, style);
  return interpreter.failed() ? Value() : interpreter.make_text(out);
}

Value filter_attr(I& interpreter, const A& a) {
  const Text* name = text_argument(interpreter, a, 0, "name");
  if (interpreter.failed() || name == nullptr) return interpreter.fail("attr needs a name");
  if (a.self.dict() != nullptr)
    return interpreter.undefined(fmt::format("'dict object' has no attribute '{}'", quote_for_message(name->bytes)));
  return interpreter.attribute(a.self, name->bytes);
}

Value filter_same(I&, const A& a) { return a.self; }

Value filter_pprint(I& interpreter, const A& a) {
  TextBuilder out = interpreter.builder();
  append_repr(interpreter, out, a.self);
  return interpreter.make_text(out);
}

constexpr std::array kRows = {
    FilterRow{"abs", filter_abs},
    FilterRow{"attr", filter_attr},
    FilterRow{"capitalize", change<Case::kCapitalize>},
    FilterRow{"center", filter_center},
    FilterRow{"d", filter_default},
    FilterRow{"default", filter_default},
    FilterRow{"e", filter_escape},
    FilterRow{"escape", filter_escape},
    FilterRow{"float", filter_float},
    FilterRow{"forceescape", filter_escape},
    FilterRow{"format", filter_format},
    FilterRow{"indent", filter_indent},
    FilterRow{"int", filter_int},
    FilterRow{"lower", change<Case::kLower>},
    FilterRow{"pprint", filter_pprint},
    FilterRow{"replace", filter_replace},
    FilterRow{"round", filter_round},
    FilterRow{"safe", filter_same},
    FilterRow{"string", filter_string},
    FilterRow{"title", change<Case::kWordTitle>},
    FilterRow{"tojson", filter_tojson},
    FilterRow{"trim", filter_trim},
    FilterRow{"truncate", filter_truncate},
    FilterRow{"upper", change<Case::kUpper>},
    FilterRow{"urlencode", filter_urlencode},
    FilterRow{"wordcount", filter_wordcount},
};

}  // namespace

std::span<const FilterRow> value_filters() { return kRows; }

const FilterRow* find_filter(std::string_view name) {
  for (auto rows : {value_filters(), sequence_filters()}) {
    for (const FilterRow& row : rows) {
      if (row.name == name) return &row;
    }
  }
  return nullptr;
}

}  // namespace millrace::text::jinja
