// How much of a waiting request's prompt is cached: what lpm and dlpm sort by. The memo of the sequence makes it a
// look at one node as long as nothing changed on its path.
#pragma once

#include <cstdint>
#include <vector>

#include "sched/policy.h"

namespace millrace::sched {

// Longest prefix first, then arrival.
struct PrefixRanked {
  uint32_t n_cached = 0;  // tokens
  uint32_t arrival = 0;   // place among the candidates
  SeqId id = kNoSeq;
  bool operator<(const PrefixRanked& other) const {
    return n_cached != other.n_cached ? n_cached > other.n_cached : arrival < other.arrival;
  }
};

class PrefixPeek {
 public:
  uint32_t cached_tokens(const OrderView& view, SeqId id) {
    Seq& seq = view.seqs.at(id);
    if (!seq.request->use_prefix_cache) return 0;
    return cache::peek_prefix(view.cache, seq.request->scope, seq.tokens(), seq.memo, block_);
  }

 private:
  std::vector<TokenId> block_;  // scratch
};

}  // namespace millrace::sched
