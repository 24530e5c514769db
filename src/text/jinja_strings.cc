#include "text/jinja_strings.h"

#include <fmt/core.h>
#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <utility>
#include <vector>

namespace millrace::text::jinja {
namespace {

bool is_letter(uint32_t code) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
      return true;
    default:
      return false;
  }
}

uint32_t lower(uint32_t code) { return static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))); }
uint32_t upper(uint32_t code) { return static_cast<uint32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code))); }
uint32_t title(uint32_t code) { return static_cast<uint32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(code))); }

void append_upper(std::string& out, uint32_t code) {
  if (code == 0xDF) {  // the one common letter whose upper case is two letters
    out += "SS";
  } else {
    append_code_point(out, upper(code));
  }
}

bool in_set(const Text* chars, uint32_t code) {
  if (chars == nullptr) return is_space(code);
  for (size_t at = 0; at < chars->bytes.size(); at += char_bytes(chars->bytes, at)) {
    if (code_point(chars->bytes, at) == code) return true;
  }
  return false;
}

size_t previous(std::string_view bytes, size_t end) {
  size_t at = end - 1;
  while (at > 0 && end - at < 4 && (static_cast<uint8_t>(bytes[at]) & 0xC0) == 0x80) --at;
  return char_bytes(bytes, at) == end - at ? at : end - 1;
}

bool is_line_end(uint32_t code) {
  return (code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 || code == 0x2028 ||
         code == 0x2029;
}

struct Piece {
  size_t begin = 0;
  size_t end = 0;
};

std::vector<Piece> split_spaces(std::string_view bytes, int64_t max_splits) {
  std::vector<Piece> pieces;
  size_t at = 0;
  auto skip = [&](bool spaces) {
    while (at < bytes.size() && is_space(code_point(bytes, at)) == spaces) at += char_bytes(bytes, at);
  };
  skip(true);
  while (at < bytes.size()) {
    size_t begin = at;
    if (max_splits >= 0 && static_cast<int64_t>(pieces.size()) >= max_splits) {
      pieces.push_back({begin, bytes.size()});  // the rest as it is
      break;
    }
    skip(false);
    pieces.push_back({begin, at});
    skip(true);
  }
  return pieces;
}

std::vector<Piece> rsplit_spaces(std::string_view bytes, int64_t max_splits) {
  std::vector<Piece> pieces;
  size_t end = bytes.size();
  auto skip = [&](bool spaces) {
    while (end > 0 && is_space(code_point(bytes, previous(bytes, end))) == spaces) end = previous(bytes, end);
  };
  skip(true);
  while (end > 0) {
    size_t last = end;
    if (max_splits >= 0 && static_cast<int64_t>(pieces.size()) >= max_splits) {
      pieces.push_back({0, last});
      break;
    }
    skip(false);
    pieces.push_back({end, last});
    skip(true);
  }
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

std::vector<Piece> split_at(std::string_view bytes, std::string_view separator, int64_t max_splits, bool from_right) {
  std::vector<Piece> pieces;
  auto more = [&] { return max_splits < 0 || static_cast<int64_t>(pieces.size()) < max_splits; };
  if (!from_right) {
    size_t begin = 0;
    size_t found = 0;
    while (more() && (found = bytes.find(separator, begin)) != std::string_view::npos) {
      pieces.push_back({begin, found});
      begin = found + separator.size();
    }
    pieces.push_back({begin, bytes.size()});
    return pieces;
  }
  size_t end = bytes.size();
  while (more()) {
    size_t found = bytes.substr(0, end).rfind(separator);
    if (found == std::string_view::npos) break;
    pieces.push_back({found + separator.size(), end});
    end = found;
  }
  pieces.push_back({0, end});
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

Value to_list(Interpreter& interpreter, const Text& text, const std::vector<Piece>& pieces) {
  std::vector<Value> items;
  for (const Piece& piece : pieces) {
    items.push_back(sub_text(interpreter, text, piece.begin, piece.end));
    if (interpreter.failed()) return {};
  }
  return interpreter.make_list(std::move(items));
}

}  // namespace

int64_t int_argument(Interpreter& interpreter, const Arguments& arguments, size_t place, std::string_view name,
                     int64_t fallback) {
  const Value* value = arguments.get(place, name);
  if (value == nullptr || value->is_none()) return fallback;
  if (auto integer = value->integer()) return *integer;
  interpreter.fail(fmt::format("argument {} must be an integer, not {}", name, type_name(*value)));
  return fallback;
}

bool bool_argument(const Arguments& arguments, size_t place, std::string_view name, bool fallback) {
  const Value* value = arguments.get(place, name);
  return value != nullptr ? truthy(*value) : fallback;
}

const Text* text_argument(Interpreter& interpreter, const Arguments& arguments, size_t place, std::string_view name) {
  const Value* value = arguments.get(place, name);
  if (value == nullptr || value->is_none()) return nullptr;
  if (value->text() == nullptr)
    interpreter.fail(fmt::format("argument {} must be str, not {}", name, type_name(*value)));
  return value->text();
}

Value sub_text(Interpreter& interpreter, const Text& text, size_t begin, size_t end) {
  TextBuilder out = interpreter.builder();
  out.append(text, begin, end);
  return interpreter.make_text(out);
}

Value strip(Interpreter& interpreter, const Text& text, const Text* chars, Side side) {
  if (chars != nullptr && !interpreter.touch(chars->bytes.size() * 16)) return {};
  std::string_view bytes = text.bytes;
  size_t begin = 0;
  size_t end = bytes.size();
  if (side != Side::kRight) {
    while (begin < end && in_set(chars, code_point(bytes, begin))) begin += char_bytes(bytes, begin);
  }
  if (side != Side::kLeft) {
    while (end > begin && in_set(chars, code_point(bytes, previous(bytes, end)))) end = previous(bytes, end);
  }
  if (!interpreter.touch((begin + bytes.size() - end) * 4)) return {};
  return sub_text(interpreter, text, begin, end);
}

Value change_case(Interpreter& interpreter, const Text& text, Case to) {
  if (!interpreter.touch(text.bytes.size() * 8)) return {};
  constexpr std::string_view kWordBreaks = "-({[<";
  TextBuilder out = interpreter.builder();
  bool word_start = true;
  for (size_t at = 0; at < text.bytes.size();) {
    size_t n = char_bytes(text.bytes, at);
    uint32_t code = code_point(text.bytes, at);
    std::string changed;
    switch (to) {
      case Case::kLower:
        append_code_point(changed, lower(code));
        break;
      case Case::kUpper:
        append_upper(changed, code);
        break;
      case Case::kSwap:
        append_code_point(changed, lower(code) != code ? lower(code) : upper(code));
        break;
      case Case::kCapitalize:
        append_code_point(changed, at == 0 ? title(code) : lower(code));
        break;
      case Case::kTitle:
        append_code_point(changed, word_start ? title(code) : lower(code));
        word_start = !is_letter(code);
        break;
      case Case::kWordTitle:
        if (word_start) {
          append_upper(changed, code);
        } else {
          append_code_point(changed, lower(code));
        }
        word_start =
            is_space(code) || (code < 0x80 && kWordBreaks.find(static_cast<char>(code)) != std::string_view::npos);
        break;
    }
    // the mark of the character goes to what it became
    TextBuilder one = interpreter.builder();
    one.append(text, at, at + n);
    out.append(changed, !one.take().marks.empty());
    at += n;
  }
  return interpreter.make_text(out);
}

Value replace(Interpreter& interpreter, const Text& text, const Text& old_part, const Text& new_part, int64_t count) {
  TextBuilder out = interpreter.builder();
  if (!interpreter.touch(text.bytes.size() * 2)) return {};
  size_t begin = 0;
  size_t search = 0;
  const std::string& bytes = text.bytes;
  while (count != 0 && !out.full()) {
    size_t found = bytes.find(old_part.bytes, search);
    if (found == std::string::npos || !interpreter.touch(new_part.bytes.size() + 8)) break;
    out.append(text, begin, found);
    out.append(new_part);
    begin = found + old_part.bytes.size();
    search = begin;
    if (old_part.bytes.empty()) {  // between all characters
      if (found >= bytes.size()) break;
      search = found + char_bytes(bytes, found);
    }
    if (count > 0) --count;
  }
  if (interpreter.failed()) return {};
  if (begin < bytes.size()) out.append(text, begin, bytes.size());
  return interpreter.make_text(out);
}

Value split(Interpreter& interpreter, const Text& text, const Text* separator, int64_t max_splits, bool from_right) {
  if (!interpreter.touch(text.bytes.size() * 4)) return {};
  if (separator == nullptr) {
    return to_list(interpreter, text,
                   from_right ? rsplit_spaces(text.bytes, max_splits) : split_spaces(text.bytes, max_splits));
  }
  if (separator->bytes.empty()) return interpreter.fail("empty separator");
  return to_list(interpreter, text, split_at(text.bytes, separator->bytes, max_splits, from_right));
}

Value split_lines(Interpreter& interpreter, const Text& text, bool keep_ends) {
  if (!interpreter.touch(text.bytes.size() * 4)) return {};
  std::vector<Piece> pieces;
  size_t begin = 0;
  for (size_t at = 0; at < text.bytes.size();) {
    size_t n = char_bytes(text.bytes, at);
    uint32_t code = code_point(text.bytes, at);
    if (!is_line_end(code)) {
      at += n;
      continue;
    }
    size_t end = at;
    at += n;
    if (code == '\r' && at < text.bytes.size() && text.bytes[at] == '\n') ++at;
    pieces.push_back({begin, keep_ends ? at : end});
    begin = at;
  }
  if (begin < text.bytes.size()) pieces.push_back({begin, text.bytes.size()});
  return to_list(interpreter, text, pieces);
}

Value pad(Interpreter& interpreter, const Text& text, int64_t width, Side text_side, std::string_view fill) {
  int64_t missing = std::max<int64_t>(0, width - static_cast<int64_t>(count_chars(text)));
  int64_t left = text_side == Side::kLeft    ? 0
                 : text_side == Side::kRight ? missing
                                             : missing / 2 + (missing & width & 1);
  TextBuilder out = interpreter.builder();
  auto repeat = [&](int64_t n) {
    for (int64_t i = 0; i < n && !out.full() && (i % 256 != 0 || interpreter.spend(1)); ++i) out.append(fill);
  };
  repeat(left);
  out.append(text);
  repeat(missing - left);
  return interpreter.make_text(out);
}

namespace {

// One conversion of format_percent: flags, width and precision are kept as they stand.
bool append_percent(Interpreter& interpreter, TextBuilder& out, std::string spec, char kind, const Value& value) {
  int digits = 0;
  for (char c : spec) {
    digits = c >= '0' && c <= '9' ? digits + 1 : 0;
    if (digits <= 2 && spec.size() <= 8) continue;
    interpreter.fail("format specification with a width or precision above 99");
    return false;
  }
  if (kind == 's' || kind == 'r') {
    TextBuilder shown = interpreter.builder();
    if (kind == 's') {
      interpreter.print(shown, value);
    } else {
      append_repr(interpreter, shown, value);
    }
    bool left = spec.starts_with('-');
    int64_t width = 0;
    std::from_chars(spec.data() + (left ? 1 : 0), spec.data() + spec.size(), width);
    Value text = interpreter.make_text(shown);
    if (interpreter.failed()) return false;
    Value padded =
        pad(interpreter, *text.text(), std::min<int64_t>(width, 1000), left ? Side::kLeft : Side::kRight, " ");
    if (!interpreter.failed()) out.append(*padded.text());
    return !interpreter.failed();
  }
  auto number = value.number();
  bool known = std::string_view("dixXofeEgG").find(kind) != std::string_view::npos;
  if (!number || !known) {
    interpreter.fail(
        fmt::format("unsupported format character or argument for %{}", quote_for_message(std::string(1, kind))));
    return false;
  }
  char buffer[512];
  bool whole = std::string_view("dixXo").find(kind) != std::string_view::npos;
  std::string format = "%" + spec + (whole ? "ll" : "") + kind;
  int n = 0;
  if (whole) {
    auto integer = value.integer();
    n = std::snprintf(buffer, sizeof buffer, format.c_str(),
                      static_cast<long long>(integer ? *integer : static_cast<int64_t>(*number)));
  } else {
    n = std::snprintf(buffer, sizeof buffer, format.c_str(), *number);
  }
  out.append(std::string_view(buffer, static_cast<size_t>(std::clamp(n, 0, static_cast<int>(sizeof buffer) - 1))));
  return true;
}

}  // namespace

Value format_percent(Interpreter& interpreter, const Text& format, const Arguments& arguments) {
  TextBuilder out = interpreter.builder();
  size_t used = 0;
  size_t plain = 0;
  const std::string& bytes = format.bytes;
  for (size_t at = bytes.find('%'); at != std::string::npos; at = bytes.find('%', plain)) {
    out.append(format, plain, at);
    size_t end = at + 1;
    const Value* value = nullptr;
    if (end < bytes.size() && bytes[end] == '(') {
      size_t close = bytes.find(')', end);
      if (close == std::string::npos) return interpreter.fail("incomplete format key");
      std::string_view key = std::string_view(bytes).substr(end + 1, close - end - 1);
      for (const auto& entry : arguments.named) value = entry.first == key ? &entry.second : value;
      if (value == nullptr && !arguments.positional.empty() && arguments.positional[0].dict() != nullptr) {
        value = find_member(*arguments.positional[0].dict(), key);
      }
      end = close + 1;
    }
    size_t spec = end;
    while (end < bytes.size() && std::string_view("-+ 0#.123456789").find(bytes[end]) != std::string_view::npos) ++end;
    if (end >= bytes.size()) return interpreter.fail("incomplete format");
    plain = end + 1;
    if (bytes[end] == '%') {
      out.append("%");
      continue;
    }
    if (value == nullptr && used < arguments.positional.size()) value = &arguments.positional[used++];
    if (value == nullptr) return interpreter.fail("not enough arguments for format string");
    if (!append_percent(interpreter, out, bytes.substr(spec, end - spec), bytes[end], *value)) return {};
  }
  out.append(format, plain, bytes.size());
  return interpreter.make_text(out);
}

Value format_braces(Interpreter& interpreter, const Text& format, const Arguments& arguments) {
  TextBuilder out = interpreter.builder();
  const std::string& bytes = format.bytes;
  size_t automatic = 0;
  for (size_t at = 0; at < bytes.size();) {
    char c = bytes[at];
    bool doubled = at + 1 < bytes.size() && bytes[at + 1] == c;
    if ((c != '{' && c != '}') || doubled) {
      out.append(format, at, at + 1);
      at += (c == '{' || c == '}') ? 2 : 1;
      continue;
    }
    size_t close = bytes.find('}', at);
    if (c == '}' || close == std::string::npos) return interpreter.fail("single brace in format string");
    std::string_view key = std::string_view(bytes).substr(at + 1, close - at - 1);
    const Value* value = nullptr;
    size_t index = 0;
    auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
    if (key.empty()) index = automatic++;
    bool numbered = key.empty() || (error == std::errc() && end == key.data() + key.size());
    if (numbered && index < arguments.positional.size()) value = &arguments.positional[index];
    for (const auto& entry : arguments.named) value = entry.first == key ? &entry.second : value;
    if (value == nullptr)
      return interpreter.fail(fmt::format("no argument for format field \"{}\"", quote_for_message(key)));
    interpreter.print(out, *value);
    at = close + 1;
  }
  return interpreter.make_text(out);
}

}  // namespace millrace::text::jinja
