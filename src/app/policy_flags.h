// The flags that name a scheduling policy: help and value come from the tables of sched/policies.h.
#pragma once

#include <fmt/core.h>

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "sched/policies.h"

namespace millrace::app {

template <class Row>
std::string policy_help(std::string_view what, std::span<const Row> rows) {
  std::string names;
  for (const Row& row : rows) names += fmt::format("{}{}", names.empty() ? "" : " | ", row.name);
  return fmt::format("{}: {}", what, names);
}

// kUsage naming all rows.
template <class Row>
Result<decltype(Row::kind)> policy_of(std::string_view flag, const std::string& name, std::span<const Row> rows) {
  if (const Row* row = sched::find_row(rows, name)) return row->kind;
  std::string names;
  for (const Row& row : rows) names += fmt::format("{}{} ({})", names.empty() ? "" : ", ", row.name, row.what);
  return Error{ErrorCode::kUsage, fmt::format("{} = {}: must be one of {}", flag, quote_for_message(name), names),
               std::string(flag)};
}

}  // namespace millrace::app
