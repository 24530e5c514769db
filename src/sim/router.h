// Router: which replica a request goes to. A stand-in for a real one: it sees outstanding work and prompts, no engine.
// To add one: an enumerator, a row in router.cc and its case.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "sim/workload.h"

namespace millrace::sim {

enum class RouterKind : uint8_t { kRoundRobin, kLeastTokens, kPrefix };

Result<RouterKind> parse_router(const std::string& name);
std::string router_names();

class Router {
 public:
  // Among n_replicas, numbered from 0.
  Router(RouterKind kind, uint32_t n_replicas) : kind_(kind), tokens_(n_replicas, 0) {}

  uint32_t choose(const SimRequest& request);
  // A chosen request ended there.
  void ended(uint32_t replica, const SimRequest& request);

 private:
  RouterKind kind_;
  std::vector<uint64_t> tokens_;  // [n_replicas] prompt and answer tokens of requests not ended
  uint64_t n_chosen_ = 0;
};

}  // namespace millrace::sim
