// Where an allocation that fails (std::bad_alloc) becomes an Error: at the few functions that stand for one load, one
// request or one file, so that what they had taken is free again when the message is made. Which they are, and what a
// failed allocation elsewhere does: docs/proofs.md.
#pragma once

#include <fmt/core.h>

#include <new>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace millrace {

inline Error out_of_memory(std::string_view doing, ErrorCode code = ErrorCode::kMemoryPressure) {
  return {code, fmt::format("out of memory while {}", doing), ""};
}

// What work() returns, a Result; or out_of_memory().
template <class Work>
auto or_out_of_memory(std::string_view doing, ErrorCode code, Work&& work) -> decltype(work()) {
  try {
    return std::forward<Work>(work)();
  } catch (const std::bad_alloc&) {
    return out_of_memory(doing, code);
  }
}

}  // namespace millrace
