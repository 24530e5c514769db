#include "sim/workload.h"

#include <algorithm>
#include <utility>

namespace millrace::sim {

uint32_t SimRequest::n_prompt() const {
  uint32_t n = 0;
  for (const Piece& piece : prompt) n += piece.n_tokens;
  return n;
}

// One round of the 64-bit finaliser of MurmurHash3 (public domain) over content and place; 1 .. 2^31 - 1.
TokenId token_of(uint64_t content, uint64_t place) {
  uint64_t h = content * 0x9e3779b97f4a7c15 + place;
  h = (h ^ h >> 33) * 0xff51afd7ed558ccd;
  h ^= h >> 33;
  auto token = static_cast<TokenId>(h & 0x7fffffff);
  return token == kEndToken ? 1 : token;
}

void write_prompt(const SimRequest& request, std::vector<TokenId>& out) {
  out.clear();
  out.reserve(request.n_prompt());
  for (const Piece& piece : request.prompt) {
    for (uint32_t i = 0; i < piece.n_tokens; ++i) out.push_back(token_of(piece.content, i));
  }
}

void keep_first(Workload& workload, uint64_t n) {
  if (n > 0 && n < workload.requests.size()) workload.requests.resize(n);
}

void multiply(Workload& workload, uint32_t n) {
  constexpr unsigned kCopyShift = 40;  // above the contents of traces and generators
  std::vector<SimRequest> all;
  all.reserve(workload.requests.size() * n);
  for (const SimRequest& request : workload.requests) {
    for (uint64_t copy = 0; copy < n; ++copy) {
      all.push_back(request);
      for (Piece& piece : all.back().prompt) piece.content ^= copy << kCopyShift;
    }
  }
  workload.requests = std::move(all);
}

void set_weights(Workload& workload, std::span<const uint32_t> weights) {
  for (SimRequest& request : workload.requests) {
    request.weight = request.tenant < weights.size() ? weights[request.tenant] : 1;
  }
}

void arrive_at_once(Workload& workload) {
  for (SimRequest& request : workload.requests) request.arrival = 0;
}

void stretch(Workload& workload, double factor) {
  for (SimRequest& request : workload.requests) {
    request.arrival = static_cast<Tick>(static_cast<double>(request.arrival) * factor);
  }
}

}  // namespace millrace::sim
