// The refusals that every parser of a body makes: a value of the wrong kind, an object with too many members.
// Thread: any.
#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace millrace::api {

// kInvalidValue at `path`: "PATH WANTED", as in "stop must be a string".
inline Error bad(std::string path, std::string_view wanted) {
  std::string text = fmt::format("{} {}", path, wanted);
  return Error{ErrorCode::kInvalidValue, std::move(text), std::move(path)};
}

// Members of a request's object that become fields one by one: each is looked for among the others.
inline Result<void> check_members(size_t n_members, std::string path) {
  constexpr size_t kMostMembers = 1000;
  if (n_members > kMostMembers) return bad(std::move(path), fmt::format("must have at most {} members", kMostMembers));
  return {};
}

}  // namespace millrace::api
