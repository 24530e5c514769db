// Filters over sequences: first, map, select, sort, groupby and the like.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <utility>
#include <vector>

#include "text/jinja_interpreter.h"
#include "text/jinja_strings.h"

namespace millrace::text::jinja {
namespace {

using I = Interpreter;
using A = Arguments;
using Items = std::shared_ptr<const List>;

// "a.b.0" looked up part by part; undefined stays undefined until it is used.
Value get_path(I& interpreter, Value value, const Value& path) {
  if (path.integer()) return interpreter.item(value, path);
  const Text* text = path.text();
  if (text == nullptr) return interpreter.fail("attribute must be a string or an integer");
  std::string_view rest = text->bytes;
  while (!interpreter.failed()) {
    size_t dot = std::min(rest.find('.'), rest.size());
    std::string_view part = rest.substr(0, dot);
    int64_t index = 0;
    auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
    bool number = error == std::errc() && end == part.data() + part.size() && !part.empty() && part[0] != '-';
    value = interpreter.item(value, number ? Value(index) : literal(std::string(part)));
    if (dot == rest.size()) break;
    rest.remove_prefix(dot + 1);
  }
  return value;
}

// The sort key of an item: its attribute when named, in lower case unless case_sensitive.
Value key_of(I& interpreter, const Value& item, const Value* attribute, bool case_sensitive) {
  Value key = attribute != nullptr && !attribute->is_none() ? get_path(interpreter, item, *attribute) : item;
  if (!case_sensitive && key.text() != nullptr && !interpreter.failed())
    return change_case(interpreter, *key.text(), Case::kLower);
  return key;
}

bool keys_of(I& interpreter, const List& items, const Value* attribute, bool case_sensitive, std::vector<Value>& keys) {
  for (const Value& item : items.items) {
    keys.push_back(key_of(interpreter, item, attribute, case_sensitive));
    if (interpreter.failed()) return false;
  }
  return true;
}

// Places of items ordered by their keys; equal ones stay in order.
std::vector<size_t> order_by(I& interpreter, const std::vector<Value>& keys, bool reverse) {
  std::vector<size_t> order(keys.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (!interpreter.spend(1)) return false;
    return reverse ? interpreter.check_less(keys[b], keys[a]) : interpreter.check_less(keys[a], keys[b]);
  });
  return order;
}

Value filter_length(I& interpreter, const A& a) {
  if (const Text* text = a.self.text())
    return interpreter.touch(text->ascii ? 1 : text->bytes.size()) ? Value(static_cast<int64_t>(count_chars(*text)))
                                                                   : Value();
  if (const List* list = a.self.list()) return static_cast<int64_t>(list->items.size());
  if (const Dict* dict = a.self.dict()) return static_cast<int64_t>(dict->entries.size());
  if (a.self.is_undefined()) return int64_t{0};
  if (const auto* loop = std::get_if<std::shared_ptr<Loop>>(&a.self.data))
    return static_cast<int64_t>((*loop)->items->items.size());
  return interpreter.fail(fmt::format("object of type '{}' has no len()", type_name(a.self)));
}

Value filter_first(I& interpreter, const A& a) {
  Items items = interpreter.iterate(a.self);
  if (interpreter.failed()) return {};
  return items->items.empty() ? interpreter.undefined("No first item, sequence was empty.") : items->items.front();
}

Value filter_last(I& interpreter, const A& a) {
  Items items = interpreter.iterate(a.self);
  if (interpreter.failed()) return {};
  return items->items.empty() ? interpreter.undefined("No last item, sequence was empty.") : items->items.back();
}

Value filter_list(I& interpreter, const A& a) {
  Items items = interpreter.iterate(a.self);
  return interpreter.failed() ? Value() : interpreter.make_list(items->items);
}

Value filter_reverse(I& interpreter, const A& a) {
  Items items = interpreter.iterate(a.self);
  if (interpreter.failed()) return {};
  if (a.self.text() != nullptr) {
    TextBuilder out = interpreter.builder();
    for (auto at = items->items.rbegin(); at != items->items.rend(); ++at) out.append(*at->text());
    return interpreter.make_text(out);
  }
  return interpreter.make_list(std::vector<Value>(items->items.rbegin(), items->items.rend()));
}

Value filter_join(I& interpreter, const A& a) {
  Items items = interpreter.iterate(a.self);
  const Value* separator = a.get(0, "d");
  const Value* attribute = a.get(1, "attribute");
  if (interpreter.failed()) return {};
  auto between = interpreter.to_text(separator != nullptr ? *separator : literal(""));
  TextBuilder out = interpreter.builder();
  for (size_t i = 0; i < items->items.size() && interpreter.touch(between->bytes.size()) && !out.full(); ++i) {
    if (i) out.append(*between);
    bool named = attribute != nullptr && !attribute->is_none();
    interpreter.print(out, named ? get_path(interpreter, items->items[i], *attribute) : items->items[i]);
  }
  return interpreter.failed() ? Value() : interpreter.make_text(out);
}

Value filter_items(I& interpreter, const A& a) {
  if (a.self.is_undefined()) return interpreter.make_list({});
  if (a.self.dict() == nullptr) return interpreter.fail("Can only get item pairs from a mapping.");
  return interpreter.call_method(a.self, "items", a);
}

Value filter_sort(I& interpreter, const A& a) {
  Items items = interpreter.iterate(a.self);
  if (interpreter.failed()) return {};
  std::vector<Value> keys;
  if (!keys_of(interpreter, *items, a.get(2, "attribute"), bool_argument(a, 1, "case_sensitive", false), keys))
    return {};
  std::vector<Value> out;
  for (size_t i : order_by(interpreter, keys, bool_argument(a, 0, "reverse", false))) out.push_back(items->items[i]);
  return interpreter.failed() ? Value() : interpreter.make_list(std::move(out));
}

Value filter_unique(I& interpreter, const A& a) {
  Items items = interpreter.iterate(a.self);
  if (interpreter.failed()) return {};
  std::vector<Value> keys;
  if (!keys_of(interpreter, *items, a.get(1, "attribute"), bool_argument(a, 0, "case_sensitive", false), keys))
    return {};
  std::vector<Value> seen;
  std::vector<Value> out;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (!interpreter.spend(1 + seen.size())) return {};
    bool known = std::any_of(seen.begin(), seen.end(), [&](const Value& value) { return equals(value, keys[i]); });
    if (known) continue;
    seen.push_back(keys[i]);
    out.push_back(items->items[i]);
  }
  return interpreter.make_list(std::move(out));
}

template <bool kLargest>
Value filter_extreme(I& interpreter, const A& a) {
  Items items = interpreter.iterate(a.self);
  if (interpreter.failed()) return {};
  if (items->items.empty()) return interpreter.undefined("No aggregated item, sequence was empty.");
  std::vector<Value> keys;
  if (!keys_of(interpreter, *items, a.get(1, "attribute"), bool_argument(a, 0, "case_sensitive", false), keys))
    return {};
  size_t best = 0;
  for (size_t i = 1; i < keys.size() && !interpreter.failed(); ++i) {
    bool better = kLargest ? interpreter.check_less(keys[best], keys[i]) : interpreter.check_less(keys[i], keys[best]);
    if (better) best = i;
  }
  return interpreter.failed() ? Value() : items->items[best];
}

Value filter_sum(I& interpreter, const A& a) {
  Items items = interpreter.iterate(a.self);
  const Value* attribute = a.get(0, "attribute");
  const Value* start = a.get(1, "start");
  if (interpreter.failed()) return {};
  Value total = start != nullptr ? *start : Value(int64_t{0});
  for (const Value& item : items->items) {
    Value value = attribute != nullptr && !attribute->is_none() ? get_path(interpreter, item, *attribute) : item;
    if (interpreter.failed()) return {};
    total = interpreter.add(total, value);
    if (interpreter.failed()) return {};
  }
  return total;
}

// map('upper', ...) or map(attribute='x', default=y)
Value filter_map(I& interpreter, const A& a) {
  if (!truthy(a.self)) return interpreter.make_list({});  // none too, as with Jinja
  Items items = interpreter.iterate(a.self);
  if (interpreter.failed()) return {};
  const Value* attribute = a.get(SIZE_MAX, "attribute");
  const Value* fallback = a.get(SIZE_MAX, "default");
  const Text* filter = a.positional.empty() ? nullptr : a.positional[0].text();
  if (attribute == nullptr && filter == nullptr) return interpreter.fail("map requires a filter argument");
  std::vector<Value> out;
  for (const Value& item : items->items) {
    Value value;
    if (attribute != nullptr) {
      value = get_path(interpreter, item, *attribute);
      if (value.is_undefined() && fallback != nullptr) value = *fallback;
    } else {
      A rest;
      rest.positional.assign(a.positional.begin() + 1, a.positional.end());
      rest.named = a.named;
      value = interpreter.apply_filter(item, filter->bytes, std::move(rest));
    }
    if (interpreter.failed()) return {};
    out.push_back(std::move(value));
  }
  return interpreter.make_list(std::move(out));
}

// select, reject: test name and arguments; selectattr, rejectattr: an attribute path before them.
template <bool kWanted, bool kByAttribute>
Value filter_select(I& interpreter, const A& a) {
  if (!truthy(a.self)) return interpreter.make_list({});  // none too, as with Jinja
  Items items = interpreter.iterate(a.self);
  if (interpreter.failed()) return {};
  size_t first = kByAttribute ? 1 : 0;
  if (a.positional.size() < first) return interpreter.fail("missing parameter for attribute name");
  const Value* test = a.positional.size() > first ? &a.positional[first] : nullptr;
  if (test != nullptr && test->text() == nullptr) return interpreter.fail("test name must be a string");
  std::vector<Value> out;
  for (const Value& item : items->items) {
    Value subject = kByAttribute ? get_path(interpreter, item, a.positional[0]) : item;
    if (interpreter.failed()) return {};
    bool holds = truthy(subject);
    if (test != nullptr) {
      A rest;
      rest.positional.assign(a.positional.begin() + static_cast<int64_t>(first) + 1, a.positional.end());
      holds = interpreter.apply_test(subject, test->text()->bytes, std::move(rest));
      if (interpreter.failed()) return {};
    }
    if (holds == kWanted) out.push_back(item);
  }
  return interpreter.make_list(std::move(out));
}

Value filter_batch(I& interpreter, const A& a) {
  Items items = interpreter.iterate(a.self);
  int64_t size = int_argument(interpreter, a, 0, "linecount", 0);
  const Value* fill = a.get(1, "fill_with");
  if (interpreter.failed()) return {};
  if (size < 1) return interpreter.fail("batch needs a line count of 1 or more");
  std::vector<Value> rows;
  std::vector<Value> row;
  for (size_t i = 0; i < items->items.size() && !interpreter.failed(); ++i) {
    row.push_back(items->items[i]);
    bool last = i + 1 == items->items.size();
    if (last && fill != nullptr && !fill->is_none() && size <= interpreter.max_range())
      row.resize(static_cast<size_t>(size), *fill);
    if (last || static_cast<int64_t>(row.size()) == size) rows.push_back(interpreter.make_list(std::exchange(row, {})));
  }
  return interpreter.failed() ? Value() : interpreter.make_list(std::move(rows));
}

Value filter_slice(I& interpreter, const A& a) {
  Items items = interpreter.iterate(a.self);
  int64_t slices = int_argument(interpreter, a, 0, "slices", 0);
  const Value* fill = a.get(1, "fill_with");
  if (interpreter.failed()) return {};
  if (slices < 1 || slices > interpreter.max_range())
    return interpreter.fail("slice needs a number of slices in range");
  int64_t n = static_cast<int64_t>(items->items.size());
  std::vector<Value> out;
  int64_t offset = 0;
  for (int64_t i = 0; i < slices && !interpreter.failed(); ++i) {
    int64_t size = n / slices + (i < n % slices ? 1 : 0);
    std::vector<Value> row(items->items.begin() + offset, items->items.begin() + offset + size);
    offset += size;
    if (fill != nullptr && !fill->is_none() && i >= n % slices) row.push_back(*fill);
    out.push_back(interpreter.make_list(std::move(row)));
  }
  return interpreter.failed() ? Value() : interpreter.make_list(std::move(out));
}

Value filter_groupby(I& interpreter, const A& a) {
  Items items = interpreter.iterate(a.self);
  const Value* attribute = a.get(0, "attribute");
  const Value* fallback = a.get(1, "default");
  bool case_sensitive = bool_argument(a, 2, "case_sensitive", false);
  if (interpreter.failed() || attribute == nullptr) return interpreter.fail("groupby needs an attribute");
  std::vector<Value> keys;
  std::vector<Value> shown;
  for (const Value& item : items->items) {
    Value value = get_path(interpreter, item, *attribute);
    if (value.is_undefined() && fallback != nullptr) value = *fallback;
    keys.push_back(interpreter.failed() ? Value() : key_of(interpreter, value, nullptr, case_sensitive));
    shown.push_back(std::move(value));
    if (interpreter.failed()) return {};
  }
  std::vector<size_t> order = order_by(interpreter, keys, false);
  std::vector<Value> groups;
  for (size_t i = 0; i < order.size() && !interpreter.failed();) {
    std::vector<Value> members;
    size_t begin = i;
    for (; i < order.size() && equals(keys[order[i]], keys[order[begin]]); ++i)
      members.push_back(items->items[order[i]]);
    Value list = interpreter.make_list(std::move(members));
    groups.push_back(interpreter.make_list({shown[order[begin]], list}, true));
  }
  return interpreter.failed() ? Value() : interpreter.make_list(std::move(groups));
}

Value filter_dictsort(I& interpreter, const A& a) {
  const Dict* dict = a.self.dict();
  if (dict == nullptr) return interpreter.fail("dictsort needs a mapping");
  const Text* by = text_argument(interpreter, a, 1, "by");
  bool case_sensitive = bool_argument(a, 0, "case_sensitive", false);
  if (interpreter.failed()) return {};
  bool by_value = by != nullptr && by->bytes == "value";
  std::vector<Value> keys;
  for (const auto& entry : dict->entries) {
    keys.push_back(key_of(interpreter, by_value ? entry.second : entry.first, nullptr, case_sensitive));
    if (interpreter.failed()) return {};
  }
  std::vector<Value> out;
  for (size_t i : order_by(interpreter, keys, bool_argument(a, 2, "reverse", false))) {
    if (interpreter.failed()) return {};
    out.push_back(interpreter.make_list({dict->entries[i].first, dict->entries[i].second}, true));
  }
  return interpreter.failed() ? Value() : interpreter.make_list(std::move(out));
}

constexpr std::array kRows = {
    FilterRow{"batch", filter_batch},
    FilterRow{"count", filter_length},
    FilterRow{"dictsort", filter_dictsort},
    FilterRow{"first", filter_first},
    FilterRow{"groupby", filter_groupby},
    FilterRow{"items", filter_items},
    FilterRow{"join", filter_join},
    FilterRow{"last", filter_last},
    FilterRow{"length", filter_length},
    FilterRow{"list", filter_list},
    FilterRow{"map", filter_map},
    FilterRow{"max", filter_extreme<true>},
    FilterRow{"min", filter_extreme<false>},
    FilterRow{"reject", filter_select<false, false>},
    FilterRow{"rejectattr", filter_select<false, true>},
    FilterRow{"reverse", filter_reverse},
    FilterRow{"select", filter_select<true, false>},
    FilterRow{"selectattr", filter_select<true, true>},
    FilterRow{"slice", filter_slice},
    FilterRow{"sort", filter_sort},
    FilterRow{"sum", filter_sum},
    FilterRow{"unique", filter_unique},
};

}  // namespace

std::span<const FilterRow> sequence_filters() { return kRows; }

}  // namespace millrace::text::jinja
