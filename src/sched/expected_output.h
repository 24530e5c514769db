// How long the answer of a sequence is expected to get. Pure function of the sequence and of the outputs that ended.
#pragma once

#include <algorithm>
#include <cstdint>

#include "sched/seq_table.h"

namespace millrace::sched {

constexpr uint32_t kLeastMore = 20;  // tokens that a running sequence is always expected to add

// Tokens of its whole output: what is usual, but some more than it has; never beyond its own limit.
inline uint32_t expected_output(const Seq& seq, uint32_t usual_output) {
  auto n_output = static_cast<uint32_t>(seq.outputs.size());
  return std::min(std::max(n_output + kLeastMore, usual_output), seq.request->sampling.max_tokens);
}

}  // namespace millrace::sched
