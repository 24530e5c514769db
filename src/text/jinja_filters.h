// The tables of filters, tests, methods and global functions. A row is a name and a plain function over the
// interpreter; unknown names are errors of the template.
// Thread: one interpreter.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja_value.h"

namespace millrace::text::jinja {

class Interpreter;

// Arguments of a call; `self` is what stands before the | or the dot.
struct Arguments {
  Value self;
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> named;
  Value keys_owner;  // the dict of **kwargs, whose keys the names point into

  // By place or name; null when absent.
  const Value* get(size_t place, std::string_view name) const {
    if (place < positional.size()) return &positional[place];
    for (const auto& entry : named) {
      if (entry.first == name) return &entry.second;
    }
    return nullptr;
  }
};

using Function = Value (*)(Interpreter&, const Arguments&);
using Predicate = bool (*)(Interpreter&, const Arguments&);

struct FilterRow {
  std::string_view name;
  Function function;
};
struct PredicateRow {
  std::string_view name;
  Predicate function;
};

const FilterRow* find_filter(std::string_view name);
const PredicateRow* find_predicate(std::string_view name);

// The two parts of the filter table.
std::span<const FilterRow> sequence_filters();
std::span<const FilterRow> value_filters();

// A method of str, dict, list or tuple; null when the type has none of this name.
Function find_method(const Value& self, std::string_view name);

// Global functions (range, namespace, dict, raise_exception, strftime_now); -1 when there is none.
int find_global(std::string_view name);
Value call_global(Interpreter& interpreter, uint32_t index, const Arguments& arguments);

// strftime in the C locale, UTC.
std::string format_time(std::string_view format, int64_t unix_seconds);

}  // namespace millrace::text::jinja
