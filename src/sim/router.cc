#include "sim/router.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/macros.h"

namespace millrace::sim {
namespace {

struct RouterRow {
  RouterKind kind;
  const char* name;
};

constexpr RouterRow kRouters[] = {
    {RouterKind::kRoundRobin, "round-robin"},
    {RouterKind::kLeastTokens, "least-tokens"},  // fewest tokens outstanding
    {RouterKind::kPrefix, "prefix"},             // by the first piece of the prompt
};

uint64_t weight(const SimRequest& request) { return uint64_t{request.n_prompt()} + request.n_output; }

}  // namespace

std::string router_names() {
  std::string names;
  for (const RouterRow& row : kRouters) names += fmt::format("{}{}", names.empty() ? "" : ", ", row.name);
  return names;
}

Result<RouterKind> parse_router(const std::string& name) {
  for (const RouterRow& row : kRouters) {
    if (name == row.name) return row.kind;
  }
  return Error{ErrorCode::kUsage, fmt::format("router {}: want {}", quote_for_message(name), router_names()), ""};
}

uint32_t Router::choose(const SimRequest& request) {
  size_t chosen = 0;
  switch (kind_) {
    case RouterKind::kRoundRobin:
      chosen = n_chosen_ % tokens_.size();
      break;
    case RouterKind::kLeastTokens:
      chosen = static_cast<size_t>(std::ranges::min_element(tokens_) - tokens_.begin());
      break;
    case RouterKind::kPrefix:
      chosen = static_cast<uint32_t>(token_of(request.prompt.front().content, 0)) % tokens_.size();
      break;
  }
  ++n_chosen_;
  tokens_[chosen] += weight(request);
  return static_cast<uint32_t>(chosen);
}

void Router::ended(uint32_t replica, const SimRequest& request) {
  CHECK(tokens_[replica] >= weight(request), "replica {} ends more than it got", replica);
  tokens_[replica] -= weight(request);
}

}  // namespace millrace::sim
