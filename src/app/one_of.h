// Flags whose values are a few names.
#pragma once

#include <fmt/ranges.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace millrace::app {

// What the value stands for. kUsage names the flag, the value and all names.
template <class T>
Result<T> one_of(std::string_view flag, std::string_view value,
                 std::initializer_list<std::pair<std::string_view, T>> known) {
  std::vector<std::string_view> names;
  for (const auto& [name, stands_for] : known) {
    if (name == value) return stands_for;
    names.push_back(name);
  }
  return Error{ErrorCode::kUsage,
               fmt::format("{} = {}: must be one of {}", flag, quote_for_message(value), fmt::join(names, ", ")),
               std::string(flag)};
}

}  // namespace millrace::app
