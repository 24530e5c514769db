// Python's string operations on Text, with marks carried along: the part that filters and methods share.
// Thread: one interpreter.
#pragma once

#include <optional>
#include <string_view>

#include "text/jinja_filters.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_value.h"

namespace millrace::text::jinja {

enum class Side : uint8_t { kLeft, kRight, kBoth };
enum class Case : uint8_t { kLower, kUpper, kCapitalize, kTitle, kSwap, kWordTitle };  // kWordTitle: the title filter

// Arguments with defaults; the interpreter has failed when the kind is wrong.
int64_t int_argument(Interpreter& interpreter, const Arguments& arguments, size_t place, std::string_view name,
                     int64_t fallback);
bool bool_argument(const Arguments& arguments, size_t place, std::string_view name, bool fallback);
// The text of an argument; null when it is absent or None.
const Text* text_argument(Interpreter& interpreter, const Arguments& arguments, size_t place, std::string_view name);

// chars null: whitespace.
Value strip(Interpreter& interpreter, const Text& text, const Text* chars, Side side);
Value change_case(Interpreter& interpreter, const Text& text, Case to);
// count < 0: all.
Value replace(Interpreter& interpreter, const Text& text, const Text& old_part, const Text& new_part, int64_t count);
// separator null: runs of whitespace; max_splits < 0: all.
Value split(Interpreter& interpreter, const Text& text, const Text* separator, int64_t max_splits, bool from_right);
Value split_lines(Interpreter& interpreter, const Text& text, bool keep_ends);
Value sub_text(Interpreter& interpreter, const Text& text, size_t begin, size_t end);
// printf-style: "%s" and friends.
Value format_percent(Interpreter& interpreter, const Text& format, const Arguments& arguments);
// str.format with {} {0} {name}; no format specifications.
Value format_braces(Interpreter& interpreter, const Text& format, const Arguments& arguments);
Value pad(Interpreter& interpreter, const Text& text, int64_t width, Side text_side, std::string_view fill);

}  // namespace millrace::text::jinja
