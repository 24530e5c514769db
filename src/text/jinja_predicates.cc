// The tests of `x is name`.
#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "text/jinja_interpreter.h"

namespace millrace::text::jinja {
namespace {

using I = Interpreter;
using A = Arguments;

const Value& other(I& interpreter, const A& a, Value& nothing) {
  const Value* value = a.get(0, "other");
  if (value != nullptr) return *value;
  interpreter.fail("test needs an argument");
  return nothing;
}

bool parity(I& interpreter, const A& a, int64_t wanted) {
  auto integer = a.self.integer();
  if (!integer) interpreter.fail("odd and even need an integer");
  return integer && (*integer % 2 != 0) == (wanted == 1);
}

bool divisible(I& interpreter, const A& a) {
  const Value* by = a.get(0, "num");
  auto n = a.self.integer();
  auto d = by != nullptr ? by->integer() : std::nullopt;
  if (!n || !d || *d == 0) {
    interpreter.fail("divisibleby needs integers and a divisor other than 0");
    return false;
  }
  return *d == -1 || *n % *d == 0;
}

bool less(I& interpreter, const A& a, bool swapped) {
  Value nothing;
  const Value& b = other(interpreter, a, nothing);
  if (interpreter.failed()) return false;
  return swapped ? interpreter.check_less(b, a.self) : interpreter.check_less(a.self, b);
}

bool is_in(I& interpreter, const A& a) {
  Value nothing;
  const Value& in = other(interpreter, a, nothing);
  if (interpreter.failed()) return false;
  const Text* text = in.text();
  const Text* piece = a.self.text();
  if (text != nullptr && piece != nullptr) return text->bytes.find(piece->bytes) != std::string::npos;
  if (in.dict() != nullptr) return find_key(*in.dict(), a.self) != nullptr;
  auto items = interpreter.iterate(in);
  if (interpreter.failed()) return false;
  return std::any_of(items->items.begin(), items->items.end(),
                     [&](const Value& value) { return equals(value, a.self); });
}

// str.islower / str.isupper: no cased character of the other kind, at least one of this kind.
bool cased(I& interpreter, const A& a, utf8proc_category_t wanted, utf8proc_category_t refused) {
  auto text = interpreter.to_text(a.self);
  bool found = false;
  for (size_t at = 0; at < text->bytes.size(); at += char_bytes(text->bytes, at)) {
    auto category = utf8proc_category(static_cast<utf8proc_int32_t>(code_point(text->bytes, at)));
    if (category == refused || category == UTF8PROC_CATEGORY_LT) return false;
    found = found || category == wanted;
  }
  return found;
}

bool is_callable(const Value& value) {
  return std::holds_alternative<Builtin>(value.data) ||
         std::holds_alternative<std::shared_ptr<const Macro>>(value.data) ||
         std::holds_alternative<std::shared_ptr<const Bound>>(value.data);
}

bool is_iterable(const Value& value) { return value.is_undefined() || value.text() || value.list() || value.dict(); }

bool equal_to(I& interpreter, const A& a) {
  Value nothing;
  return equals(a.self, other(interpreter, a, nothing));
}

bool same_as(I& interpreter, const A& a) {
  Value nothing;
  const Value& b = other(interpreter, a, nothing);
  return a.self.data.index() == b.data.index() && equals(a.self, b);
}

constexpr std::array kRows = {
    PredicateRow{"defined", [](I&, const A& a) { return !a.self.is_undefined(); }},
    PredicateRow{"undefined", [](I&, const A& a) { return a.self.is_undefined(); }},
    PredicateRow{"none", [](I&, const A& a) { return a.self.is_none(); }},
    PredicateRow{"boolean", [](I&, const A& a) { return a.self.boolean() != nullptr; }},
    PredicateRow{"true", [](I&, const A& a) { return a.self.boolean() != nullptr && *a.self.boolean(); }},
    PredicateRow{"false", [](I&, const A& a) { return a.self.boolean() != nullptr && !*a.self.boolean(); }},
    PredicateRow{"integer", [](I&, const A& a) { return std::holds_alternative<int64_t>(a.self.data); }},
    PredicateRow{"float", [](I&, const A& a) { return a.self.real() != nullptr; }},
    PredicateRow{"number", [](I&, const A& a) { return a.self.number().has_value(); }},
    PredicateRow{"string", [](I&, const A& a) { return a.self.text() != nullptr; }},
    PredicateRow{"mapping", [](I&, const A& a) { return a.self.dict() != nullptr; }},
    PredicateRow{"sequence", [](I&, const A& a) { return is_iterable(a.self); }},
    PredicateRow{"iterable", [](I&, const A& a) { return is_iterable(a.self); }},
    PredicateRow{"callable", [](I&, const A& a) { return is_callable(a.self); }},
    PredicateRow{"escaped", [](I&, const A&) { return false; }},
    PredicateRow{"sameas", same_as},
    PredicateRow{"lower", [](I& i, const A& a) { return cased(i, a, UTF8PROC_CATEGORY_LL, UTF8PROC_CATEGORY_LU); }},
    PredicateRow{"upper", [](I& i, const A& a) { return cased(i, a, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LL); }},
    PredicateRow{"odd", [](I& i, const A& a) { return parity(i, a, 1); }},
    PredicateRow{"even", [](I& i, const A& a) { return parity(i, a, 0); }},
    PredicateRow{"divisibleby", divisible},
    PredicateRow{"in", is_in},
    PredicateRow{"eq", equal_to},
    PredicateRow{"equalto", equal_to},
    PredicateRow{"==", equal_to},
    PredicateRow{"ne", [](I& i, const A& a) { return !equal_to(i, a); }},
    PredicateRow{"!=", [](I& i, const A& a) { return !equal_to(i, a); }},
    PredicateRow{"lt", [](I& i, const A& a) { return less(i, a, false); }},
    PredicateRow{"lessthan", [](I& i, const A& a) { return less(i, a, false); }},
    PredicateRow{"<", [](I& i, const A& a) { return less(i, a, false); }},
    PredicateRow{"gt", [](I& i, const A& a) { return less(i, a, true); }},
    PredicateRow{"greaterthan", [](I& i, const A& a) { return less(i, a, true); }},
    PredicateRow{">", [](I& i, const A& a) { return less(i, a, true); }},
    PredicateRow{"le", [](I& i, const A& a) { return !less(i, a, true); }},
    PredicateRow{"<=", [](I& i, const A& a) { return !less(i, a, true); }},
    PredicateRow{"ge", [](I& i, const A& a) { return !less(i, a, false); }},
    PredicateRow{">=", [](I& i, const A& a) { return !less(i, a, false); }},
    PredicateRow{
        "filter",
        [](I&, const A& a) { return a.self.text() != nullptr && find_filter(a.self.text()->bytes) != nullptr; }},
    PredicateRow{
        "test",
        [](I&, const A& a) { return a.self.text() != nullptr && find_predicate(a.self.text()->bytes) != nullptr; }},
};

}  // namespace

const PredicateRow* find_predicate(std::string_view name) {
  auto at = std::find_if(kRows.begin(), kRows.end(), [&](const PredicateRow& row) { return row.name == name; });
  return at != kRows.end() ? &*at : nullptr;
}

}  // namespace millrace::text::jinja
