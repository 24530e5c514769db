// Attributes, items, slices, iteration and calls of the chat-template interpreter.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "text/jinja_ast.h"
#include "text/jinja_interpreter.h"

namespace millrace::text::jinja {
namespace {

// jinja2's object_type_repr().
std::string object_name(const Value& value) {
  if (value.is_none()) return "None";
  return fmt::format("{} object", type_name(value));
}

Value bound(const Value& self, std::string_view name) {
  return std::make_shared<const Bound>(Bound{self, std::string(name)});
}

Value loop_attribute(Interpreter& interpreter, const Value& self, const Loop& loop, std::string_view name) {
  auto n = static_cast<int64_t>(loop.items->items.size());
  auto index = static_cast<int64_t>(loop.index);
  if (name == "index") return index + 1;
  if (name == "index0") return index;
  if (name == "revindex") return n - index;
  if (name == "revindex0") return n - index - 1;
  if (name == "first") return index == 0;
  if (name == "last") return index + 1 == n;
  if (name == "length") return n;
  if (name == "depth") return loop.nesting;
  if (name == "depth0") return loop.nesting - 1;
  if (name == "previtem")
    return index > 0 ? loop.items->items[loop.index - 1] : interpreter.undefined("there is no previous item");
  if (name == "nextitem")
    return index + 1 < n ? loop.items->items[loop.index + 1] : interpreter.undefined("there is no next item");
  if (name == "cycle" || name == "changed") return bound(self, name);
  return interpreter.undefined(fmt::format("'LoopContext object' has no attribute '{}'", name));
}

Value call_loop(Interpreter& interpreter, Loop& loop, std::string_view name, const Arguments& arguments) {
  if (name == "cycle") {
    if (arguments.positional.empty()) return interpreter.fail("no items for cycling given");
    return arguments.positional[loop.index % arguments.positional.size()];
  }
  TextBuilder text = interpreter.builder();
  for (const Value& value : arguments.positional) append_repr(interpreter, text, value);
  std::string now = text.take().bytes;
  bool same = loop.changed_called && loop.changed == now;
  loop.changed_called = true;
  loop.changed = std::move(now);
  return !same;
}

// Python's slice.indices(): first, last (excluded) and step over n items.
struct SliceRange {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t step = 1;
};

SliceRange slice_range(std::optional<int64_t> begin, std::optional<int64_t> end, int64_t step, int64_t n) {
  auto clamp = [&](std::optional<int64_t> at, int64_t fallback) {
    int64_t low = step > 0 ? 0 : -1;
    int64_t high = step > 0 ? n : n - 1;
    if (!at) return fallback;
    int64_t value = *at < 0 ? *at + n : *at;
    return std::clamp(value, low, high);
  };
  return {clamp(begin, step > 0 ? 0 : n - 1), clamp(end, step > 0 ? n : -1), step};
}

template <class Visit>
void for_slice(const SliceRange& range, Visit visit) {
  if (range.step > 0) {
    for (int64_t i = range.begin; i < range.end; i += std::min(range.step, range.end - i))
      visit(static_cast<size_t>(i));
  } else {
    for (int64_t i = range.begin; i > range.end; i -= std::min(-range.step, i - range.end))
      visit(static_cast<size_t>(i));
  }
}

}  // namespace

Value Interpreter::attribute(const Value& of, std::string_view name) {
  if (of.is_undefined()) return fail(why_undefined(of));
  if (!name.starts_with("__") && find_method(of, name) != nullptr) return bound(of, name);
  if (const Dict* dict = of.dict()) {
    if (!spend(dict->entries.size() / 16)) return {};
    if (const Value* value = find_member(*dict, name)) return *value;
  }
  if (Namespace* name_space = of.name_space()) {
    for (const auto& entry : name_space->attributes) {
      if (entry.first == name) return entry.second;
    }
  }
  if (const auto* loop = std::get_if<std::shared_ptr<Loop>>(&of.data)) return loop_attribute(*this, of, **loop, name);
  if (const auto* macro = std::get_if<std::shared_ptr<const Macro>>(&of.data); macro != nullptr && name == "name") {
    return literal(program_.names[(*macro)->definition->name]);
  }
  return undefined(fmt::format("'{}' has no attribute '{}'", object_name(of), name));
}

Value Interpreter::item(const Value& of, const Value& key) {
  if (of.is_undefined()) return fail(why_undefined(of));
  if (const Dict* dict = of.dict()) {
    if (!spend(dict->entries.size() / 16)) return {};
    if (const Value* value = find_key(*dict, key)) return *value;
  }
  auto index = key.integer();
  const List* list = of.list();
  const Text* text = of.text();
  if (index && (list != nullptr || text != nullptr)) {
    int64_t n = static_cast<int64_t>(list != nullptr ? list->items.size() : count_chars(*text));
    if (text != nullptr && !touch(text->ascii ? 1 : text->bytes.size())) return {};
    int64_t at = *index < 0 ? *index + n : *index;
    if (at >= 0 && at < n) {
      if (list != nullptr) return list->items[static_cast<size_t>(at)];
      size_t begin = char_offset(*text, static_cast<size_t>(at));
      TextBuilder out = builder();
      out.append(*text, begin, begin + char_bytes(text->bytes, begin));
      return make_text(out);
    }
  }
  if (const Text* name = key.text()) {
    if (of.dict() == nullptr) return attribute(of, name->bytes);
    if (!name->bytes.starts_with("__") && find_method(of, name->bytes) != nullptr) return bound(of, name->bytes);
    return undefined(fmt::format("'{}' has no attribute '{}'", object_name(of), quote_for_message(name->bytes)));
  }
  TextBuilder shown = builder();
  append_repr(*this, shown, key);
  return undefined(fmt::format("{} has no element {}", object_name(of), quote_for_message(shown.take().bytes)));
}

Value Interpreter::slice(const Value& of, const Expr& key) {
  std::array<std::optional<int64_t>, 3> parts;
  for (size_t i = 0; i < 3; ++i) {
    if (key.items[i] == nullptr) continue;
    Value part = eval(*key.items[i]);
    if (failed_) return {};
    if (part.is_none()) continue;
    parts[i] = part.integer();
    if (!parts[i]) return fail("slice indices must be integers or None");
  }
  int64_t step = parts[2].value_or(1);
  if (step == 0) return fail("slice step cannot be zero");
  if (step == INT64_MIN) step = -INT64_MAX;
  if (of.is_undefined()) return fail(why_undefined(of));
  if (const List* list = of.list()) {
    std::vector<Value> items;
    for_slice(slice_range(parts[0], parts[1], step, static_cast<int64_t>(list->items.size())),
              [&](size_t i) { items.push_back(list->items[i]); });
    return make_list(std::move(items), list->tuple);
  }
  const Text* text = of.text();
  if (text == nullptr) return fail(fmt::format("'{}' object cannot be sliced", type_name(of)));
  if (!touch(text->bytes.size())) return {};
  SliceRange range = slice_range(parts[0], parts[1], step, static_cast<int64_t>(count_chars(*text)));
  TextBuilder out = builder();
  if (step == 1) {
    size_t begin = char_offset(*text, static_cast<size_t>(range.begin));
    size_t end = std::max(begin, char_offset(*text, static_cast<size_t>(range.end)));
    out.append(*text, begin, end);
    return make_text(out);
  }
  std::vector<size_t> offsets;
  for (size_t at = 0; at < text->bytes.size(); at += char_bytes(text->bytes, at)) offsets.push_back(at);
  if (!spend(offsets.size() / 16)) return {};
  for_slice(range, [&](size_t i) { out.append(*text, offsets[i], offsets[i] + char_bytes(text->bytes, offsets[i])); });
  return make_text(out);
}

std::shared_ptr<const List> Interpreter::iterate(const Value& value) {
  if (const auto* list = std::get_if<std::shared_ptr<const List>>(&value.data)) return *list;
  std::vector<Value> items;
  if (const Dict* dict = value.dict()) {
    for (const auto& entry : dict->entries) items.push_back(entry.first);
  } else if (const Text* text = value.text()) {
    for (size_t at = 0; at < text->bytes.size() && spend(1); at += char_bytes(text->bytes, at)) {
      TextBuilder one = builder();
      one.append(*text, at, at + char_bytes(text->bytes, at));
      items.push_back(make_text(one));
      if (failed_) return nullptr;
    }
  } else if (!value.is_undefined()) {
    fail(fmt::format("'{}' object is not iterable", type_name(value)));
  }
  Value list = failed_ ? Value() : make_list(std::move(items));
  if (failed_) return nullptr;
  return std::get<std::shared_ptr<const List>>(list.data);
}

Value Interpreter::call(const Value& callee, const Arguments& arguments) {
  if (callee.is_undefined()) return fail(why_undefined(callee));
  if (const auto* builtin = std::get_if<Builtin>(&callee.data)) return call_global(*this, builtin->index, arguments);
  if (const auto* macro = std::get_if<std::shared_ptr<const Macro>>(&callee.data)) {
    std::shared_ptr<const Macro> keep = *macro;
    return call_macro(*keep, arguments);
  }
  if (const auto* method = std::get_if<std::shared_ptr<const Bound>>(&callee.data)) {
    std::shared_ptr<const Bound> keep = *method;
    if (const auto* loop = std::get_if<std::shared_ptr<Loop>>(&keep->self.data))
      return call_loop(*this, **loop, keep->name, arguments);
    Arguments with_self = arguments;
    with_self.self = keep->self;
    return call_method(keep->self, keep->name, with_self);
  }
  return fail(fmt::format("'{}' object is not callable", type_name(callee)));
}

Value Interpreter::call_method(const Value& self, std::string_view name, const Arguments& arguments) {
  Function function = find_method(self, name);
  if (function == nullptr)
    return fail(fmt::format("'{}' object has no method '{}'", type_name(self), quote_for_message(name)));
  return function(*this, arguments);
}

Value Interpreter::apply_filter(const Value& input, std::string_view name, Arguments arguments) {
  const FilterRow* row = find_filter(name);
  if (row == nullptr) return fail(fmt::format("unknown filter \"{}\"", quote_for_message(name)));
  if (!spend(1)) return {};
  arguments.self = input;
  return row->function(*this, arguments);
}

bool Interpreter::apply_test(const Value& input, std::string_view name, Arguments arguments) {
  const PredicateRow* row = find_predicate(name);
  if (row == nullptr) {
    fail(fmt::format("unknown test \"{}\"", quote_for_message(name)));
    return false;
  }
  if (!spend(1)) return false;
  arguments.self = input;
  return row->function(*this, arguments);
}

}  // namespace millrace::text::jinja
