// Log-probabilities of the raw distribution (before temperature, penalties and filters).
#pragma once

#include <span>

#include "base/ids.h"
#include "flow/token_event.h"
#include "kernels/ops.h"

namespace millrace::sample {

// The chosen token and the n_top most likely (ties: lowest id first). logits [n_vocab], all finite.
// rank = 1 + number of tokens with a larger logit.
flow::PositionLogprobs position_logprobs(const kernels::KernelTable& kernels, std::span<const float> logits,
                                         TokenId chosen, int32_t n_top);

}  // namespace millrace::sample
