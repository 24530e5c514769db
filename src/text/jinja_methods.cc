// Methods of str, dict, list and tuple, as far as they exist in the sandbox (nothing that changes a value), and the
// global functions.
#include <fmt/core.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <utility>

#include "text/jinja_interpreter.h"
#include "text/jinja_strings.h"

namespace millrace::text::jinja {
namespace {

using I = Interpreter;
using A = Arguments;

const Text& self_text(const A& a) { return *a.self.text(); }

// The argument of a search method; null (and failed) when it is not a string.
const Text* needle(I& interpreter, const A& a) {
  const Value* value = a.get(0, "sub");
  if (value != nullptr && value->text() != nullptr) return value->text();
  interpreter.fail("the argument must be str");
  return nullptr;
}

template <Case kTo>
Value change(I& interpreter, const A& a) {
  return change_case(interpreter, self_text(a), kTo);
}

template <Side kSide>
Value strip_side(I& interpreter, const A& a) {
  const Text* chars = text_argument(interpreter, a, 0, "chars");
  return interpreter.failed() ? Value() : strip(interpreter, self_text(a), chars, kSide);
}

template <bool kRight>
Value split_method(I& interpreter, const A& a) {
  const Text* separator = text_argument(interpreter, a, 0, "sep");
  int64_t max_splits = int_argument(interpreter, a, 1, "maxsplit", -1);
  return interpreter.failed() ? Value() : split(interpreter, self_text(a), separator, max_splits, kRight);
}

Value replace_method(I& interpreter, const A& a) {
  const Text* old_part = text_argument(interpreter, a, 0, "old");
  const Text* new_part = text_argument(interpreter, a, 1, "new");
  int64_t count = int_argument(interpreter, a, 2, "count", -1);
  if (interpreter.failed() || old_part == nullptr || new_part == nullptr)
    return interpreter.fail("replace needs two strings");
  return replace(interpreter, self_text(a), *old_part, *new_part, count);
}

// startswith and endswith, with a string or a tuple of strings.
template <bool kStart>
Value affix(I& interpreter, const A& a) {
  std::string_view text = self_text(a).bytes;
  auto matches = [&](const Value& value) {
    const Text* part = value.text();
    if (part == nullptr) interpreter.fail("startswith and endswith need a string or a tuple of strings");
    return part != nullptr && (kStart ? text.starts_with(part->bytes) : text.ends_with(part->bytes));
  };
  const Value* value = a.get(0, kStart ? "prefix" : "suffix");
  if (value == nullptr) return interpreter.fail("startswith and endswith need an argument");
  const List* several = value->list();
  if (several == nullptr || !several->tuple) return matches(*value);
  return std::any_of(several->items.begin(), several->items.end(), matches);
}

template <bool kPrefix>
Value remove_affix(I& interpreter, const A& a) {
  const Text* part = needle(interpreter, a);
  if (part == nullptr) return {};
  const std::string& text = self_text(a).bytes;
  bool has = kPrefix ? text.starts_with(part->bytes) : text.ends_with(part->bytes);
  size_t cut = has ? part->bytes.size() : 0;
  return kPrefix ? sub_text(interpreter, self_text(a), cut, text.size())
                 : sub_text(interpreter, self_text(a), 0, text.size() - cut);
}

// Character index of a byte offset, or -1.
int64_t char_index(const Text& text, size_t offset) {
  if (offset == std::string::npos) return -1;
  if (text.ascii) return static_cast<int64_t>(offset);
  int64_t count = 0;
  for (size_t at = 0; at < offset; at += char_bytes(text.bytes, at)) ++count;
  return count;
}

template <bool kRight, bool kMustExist>
Value find_method_of_text(I& interpreter, const A& a) {
  const Text* part = needle(interpreter, a);
  if (part == nullptr || !interpreter.touch(self_text(a).bytes.size() * 2)) return {};
  const std::string& text = self_text(a).bytes;
  int64_t begin = int_argument(interpreter, a, 1, "start", 0);
  size_t from = begin > 0 ? char_offset(self_text(a), static_cast<size_t>(begin)) : 0;
  size_t at = kRight ? text.rfind(part->bytes) : text.find(part->bytes, from);
  if (kRight && at != std::string::npos && at < from) at = std::string::npos;
  if (kMustExist && at == std::string::npos) return interpreter.fail("substring not found");
  return char_index(self_text(a), at);
}

Value count_method(I& interpreter, const A& a) {
  if (const List* list = a.self.list()) {
    const Value* wanted = a.get(0, "value");
    if (wanted == nullptr || !interpreter.spend(list->items.size())) return interpreter.fail("count needs an argument");
    return static_cast<int64_t>(std::count_if(list->items.begin(), list->items.end(),
                                              [&](const Value& value) { return equals(value, *wanted); }));
  }
  const Text* part = needle(interpreter, a);
  if (part == nullptr || !interpreter.touch(self_text(a).bytes.size() * 2)) return {};
  if (part->bytes.empty()) return static_cast<int64_t>(count_chars(self_text(a))) + 1;
  int64_t count = 0;
  const std::string& text = self_text(a).bytes;
  for (size_t at = text.find(part->bytes); at != std::string::npos;
       at = text.find(part->bytes, at + part->bytes.size()))
    ++count;
  return count;
}

Value list_index(I& interpreter, const A& a) {
  const Value* wanted = a.get(0, "value");
  const std::vector<Value>& items = a.self.list()->items;
  if (wanted == nullptr || !interpreter.spend(items.size())) return interpreter.fail("index needs an argument");
  for (size_t i = 0; i < items.size(); ++i) {
    if (equals(items[i], *wanted)) return static_cast<int64_t>(i);
  }
  return interpreter.fail("value is not in list");
}

Value join_method(I& interpreter, const A& a) {
  const Value* parts = a.get(0, "iterable");
  if (parts == nullptr) return interpreter.fail("join needs an argument");
  auto items = interpreter.iterate(*parts);
  if (interpreter.failed()) return {};
  TextBuilder out = interpreter.builder();
  for (size_t i = 0; i < items->items.size() && !out.full(); ++i) {
    const Text* part = items->items[i].text();
    if (part == nullptr)
      return interpreter.fail(
          fmt::format("sequence item {}: expected str instance, {} found", i, type_name(items->items[i])));
    if (i) out.append(self_text(a));
    out.append(*part);
    if (!interpreter.touch(part->bytes.size() + self_text(a).bytes.size())) return {};
  }
  return interpreter.make_text(out);
}

template <bool kRight>
Value partition(I& interpreter, const A& a) {
  const Text* part = needle(interpreter, a);
  if (part == nullptr || part->bytes.empty()) return interpreter.fail("empty separator");
  const std::string& text = self_text(a).bytes;
  size_t at = kRight ? text.rfind(part->bytes) : text.find(part->bytes);
  size_t n = part->bytes.size();
  if (at == std::string::npos) {
    at = kRight ? 0 : text.size();
    n = 0;
  }
  Value before = sub_text(interpreter, self_text(a), 0, at);
  Value middle = sub_text(interpreter, self_text(a), at, at + n);
  Value after = sub_text(interpreter, self_text(a), at + n, text.size());
  return interpreter.failed() ? Value() : interpreter.make_list({before, middle, after}, true);
}

Value split_lines_method(I& interpreter, const A& a) {
  return split_lines(interpreter, self_text(a), bool_argument(a, 0, "keepends", false));
}

// isdigit, isalpha, ...: every character in the classes, at least one character.
template <bool kLetters, bool kDigits, bool kSpaces>
Value all_in_class(I& interpreter, const A& a) {
  const std::string& text = self_text(a).bytes;
  if (text.empty() || !interpreter.touch(text.size() * 4)) return false;
  for (size_t at = 0; at < text.size(); at += char_bytes(text, at)) {
    uint32_t code = code_point(text, at);
    utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(code));
    bool letter = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
    bool ok = (kLetters && letter) || (kDigits && category == UTF8PROC_CATEGORY_ND) || (kSpaces && is_space(code));
    if (!ok) return false;
  }
  return true;
}

template <bool kUpper>
Value is_case(I& interpreter, const A& a) {
  return interpreter.apply_test(a.self, kUpper ? "upper" : "lower", A{});
}

template <Side kTextSide>
Value justify(I& interpreter, const A& a) {
  int64_t width = int_argument(interpreter, a, 0, "width", 0);
  const Text* fill = text_argument(interpreter, a, 1, "fillchar");
  return interpreter.failed()
             ? Value()
             : pad(interpreter, self_text(a), width, kTextSide, fill != nullptr ? std::string_view(fill->bytes) : " ");
}

Value zfill(I& interpreter, const A& a) {
  const std::string& text = self_text(a).bytes;
  int64_t width = int_argument(interpreter, a, 0, "width", 0);
  bool sign = !text.empty() && (text[0] == '-' || text[0] == '+');
  if (!sign) return pad(interpreter, self_text(a), width, Side::kRight, "0");
  Value digits = sub_text(interpreter, self_text(a), 1, text.size());
  Value padded = interpreter.failed() ? Value() : pad(interpreter, *digits.text(), width - 1, Side::kRight, "0");
  return interpreter.failed() ? Value() : interpreter.add(literal(text.substr(0, 1)), padded);
}

Value format_method(I& interpreter, const A& a) { return format_braces(interpreter, self_text(a), a); }

Value dict_keys(I& interpreter, const A& a) {
  std::vector<Value> out;
  for (const auto& entry : a.self.dict()->entries) out.push_back(entry.first);
  return interpreter.make_list(std::move(out));
}

Value dict_values(I& interpreter, const A& a) {
  std::vector<Value> out;
  for (const auto& entry : a.self.dict()->entries) out.push_back(entry.second);
  return interpreter.make_list(std::move(out));
}

Value dict_items(I& interpreter, const A& a) {
  std::vector<Value> out;
  for (const auto& entry : a.self.dict()->entries) {
    out.push_back(interpreter.make_list({entry.first, entry.second}, true));
    if (interpreter.failed()) return {};
  }
  return interpreter.make_list(std::move(out));
}

Value dict_get(I& interpreter, const A& a) {
  const Value* key = a.get(0, "key");
  const Value* fallback = a.get(1, "default");
  if (key == nullptr) return interpreter.fail("get needs a key");
  if (!interpreter.spend(a.self.dict()->entries.size() / 16)) return {};
  const Value* value = find_key(*a.self.dict(), *key);
  if (value != nullptr) return *value;
  return fallback != nullptr ? *fallback : Value(None{});
}

Value copy(I&, const A& a) { return a.self; }

Value unsafe(I& interpreter, const A&) {
  return interpreter.fail("access to a method that changes its object is unsafe");
}

struct MethodRow {
  std::string_view name;
  Function function;
};

constexpr std::array kTextMethods = {
    MethodRow{"capitalize", change<Case::kCapitalize>},
    MethodRow{"casefold", change<Case::kLower>},
    MethodRow{"center", justify<Side::kBoth>},
    MethodRow{"count", count_method},
    MethodRow{"endswith", affix<false>},
    MethodRow{"find", find_method_of_text<false, false>},
    MethodRow{"format", format_method},
    MethodRow{"index", find_method_of_text<false, true>},
    MethodRow{"isalnum", all_in_class<true, true, false>},
    MethodRow{"isalpha", all_in_class<true, false, false>},
    MethodRow{"isdecimal", all_in_class<false, true, false>},
    MethodRow{"isdigit", all_in_class<false, true, false>},
    MethodRow{"islower", is_case<false>},
    MethodRow{"isnumeric", all_in_class<false, true, false>},
    MethodRow{"isspace", all_in_class<false, false, true>},
    MethodRow{"isupper", is_case<true>},
    MethodRow{"join", join_method},
    MethodRow{"ljust", justify<Side::kLeft>},
    MethodRow{"lower", change<Case::kLower>},
    MethodRow{"lstrip", strip_side<Side::kLeft>},
    MethodRow{"partition", partition<false>},
    MethodRow{"removeprefix", remove_affix<true>},
    MethodRow{"removesuffix", remove_affix<false>},
    MethodRow{"replace", replace_method},
    MethodRow{"rfind", find_method_of_text<true, false>},
    MethodRow{"rindex", find_method_of_text<true, true>},
    MethodRow{"rjust", justify<Side::kRight>},
    MethodRow{"rpartition", partition<true>},
    MethodRow{"rsplit", split_method<true>},
    MethodRow{"rstrip", strip_side<Side::kRight>},
    MethodRow{"split", split_method<false>},
    MethodRow{"splitlines", split_lines_method},
    MethodRow{"startswith", affix<true>},
    MethodRow{"strip", strip_side<Side::kBoth>},
    MethodRow{"swapcase", change<Case::kSwap>},
    MethodRow{"title", change<Case::kTitle>},
    MethodRow{"upper", change<Case::kUpper>},
    MethodRow{"zfill", zfill},
};
constexpr std::array kDictMethods = {
    MethodRow{"copy", copy},      MethodRow{"get", dict_get},       MethodRow{"items", dict_items},
    MethodRow{"keys", dict_keys}, MethodRow{"values", dict_values}, MethodRow{"clear", unsafe},
    MethodRow{"pop", unsafe},     MethodRow{"popitem", unsafe},     MethodRow{"setdefault", unsafe},
    MethodRow{"update", unsafe},
};
constexpr std::array kListMethods = {
    MethodRow{"count", count_method}, MethodRow{"index", list_index}, MethodRow{"copy", copy},
    MethodRow{"append", unsafe},      MethodRow{"clear", unsafe},     MethodRow{"extend", unsafe},
    MethodRow{"insert", unsafe},      MethodRow{"pop", unsafe},       MethodRow{"remove", unsafe},
    MethodRow{"reverse", unsafe},     MethodRow{"sort", unsafe},
};

template <size_t kSize>
Function find_row(const std::array<MethodRow, kSize>& rows, std::string_view name, size_t n = kSize) {
  for (size_t i = 0; i < n; ++i) {
    if (rows[i].name == name) return rows[i].function;
  }
  return nullptr;
}

Value global_range(I& interpreter, const A& a) {
  std::array<int64_t, 3> parts = {0, 0, 1};
  size_t n = a.positional.size();
  if (n < 1 || n > 3) return interpreter.fail("range needs 1 to 3 arguments");
  for (size_t i = 0; i < n; ++i) {
    auto integer = a.positional[i].integer();
    if (!integer)
      return interpreter.fail(
          fmt::format("'{}' object cannot be interpreted as an integer", type_name(a.positional[i])));
    parts[n == 1 ? 1 : i] = *integer;
  }
  auto [begin, end, step] = std::tuple(parts[0], parts[1], parts[2]);
  if (step == 0) return interpreter.fail("range() arg 3 must not be zero");
  double span = (static_cast<double>(end) - static_cast<double>(begin)) / static_cast<double>(step);
  if (span > static_cast<double>(interpreter.max_range())) {
    return interpreter.fail(fmt::format("range of {:.0f} items, limit {}", span, interpreter.max_range()));
  }
  std::vector<Value> items;
  auto size = static_cast<int64_t>(span > 0 ? span : 0);
  while (size * step + begin < end && step > 0) ++size;
  while (size * step + begin > end && step < 0) ++size;
  for (int64_t i = 0; i < size; ++i) items.push_back(begin + i * step);
  return interpreter.make_list(std::move(items));
}

std::vector<std::pair<Value, Value>> dict_arguments(I& interpreter, const A& a) {
  std::vector<std::pair<Value, Value>> entries;
  if (!a.positional.empty()) {
    const Value& from = a.positional[0];
    if (from.dict() != nullptr) {
      entries = from.dict()->entries;
    } else {
      auto items = interpreter.iterate(from);
      for (size_t i = 0; !interpreter.failed() && i < items->items.size(); ++i) {
        auto pair = interpreter.iterate(items->items[i]);
        if (!interpreter.failed() && pair->items.size() != 2)
          interpreter.fail("dictionary update sequence element is not a pair");
        if (!interpreter.failed()) entries.emplace_back(pair->items[0], pair->items[1]);
      }
    }
  }
  for (const auto& entry : a.named) entries.emplace_back(literal(std::string(entry.first)), entry.second);
  return entries;
}

Value global_dict(I& interpreter, const A& a) {
  auto entries = dict_arguments(interpreter, a);
  return interpreter.failed() ? Value() : interpreter.make_dict(std::move(entries));
}

Value global_namespace(I& interpreter, const A& a) {
  std::vector<std::pair<std::string, Value>> attributes;
  Value dict = global_dict(interpreter, a);
  if (interpreter.failed()) return {};
  for (const auto& entry : dict.dict()->entries) {
    const Text* name = entry.first.text();
    if (name == nullptr || name->bytes.starts_with('_'))
      return interpreter.fail("namespace attributes must be names without a leading underscore");
    attributes.emplace_back(name->bytes, entry.second);
  }
  return interpreter.make_namespace(std::move(attributes));
}

Value global_raise(I& interpreter, const A& a) {
  const Value* message = a.get(0, "message");
  auto text = interpreter.to_text(message != nullptr ? *message : literal(""));
  return interpreter.fail_whole(text->bytes);
}

Value global_strftime(I& interpreter, const A& a) {
  const Text* format = text_argument(interpreter, a, 0, "format");
  if (interpreter.failed() || format == nullptr || format->bytes.size() > 1024)
    return interpreter.fail("strftime_now needs a format of at most 1024 bytes");
  return interpreter.make_text(format_time(format->bytes, interpreter.now_unix()));
}

constexpr std::array kGlobals = {
    MethodRow{"range", global_range},           MethodRow{"dict", global_dict},
    MethodRow{"namespace", global_namespace},   MethodRow{"raise_exception", global_raise},
    MethodRow{"strftime_now", global_strftime},
};

}  // namespace

Function find_method(const Value& self, std::string_view name) {
  constexpr size_t kTupleMethods = 2;  // tuples have count and index only
  if (self.text() != nullptr) return find_row(kTextMethods, name);
  if (self.dict() != nullptr) return find_row(kDictMethods, name);
  if (self.list() != nullptr)
    return find_row(kListMethods, name, self.list()->tuple ? kTupleMethods : kListMethods.size());
  return nullptr;
}

int find_global(std::string_view name) {
  for (size_t i = 0; i < kGlobals.size(); ++i) {
    if (kGlobals[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

Value call_global(Interpreter& interpreter, uint32_t index, const Arguments& arguments) {
  return kGlobals[index].function(interpreter, arguments);
}

}  // namespace millrace::text::jinja
