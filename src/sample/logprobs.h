// Log-probabilities: of the raw distribution (before temperature, penalties and filters), or of what is drawn from.
#pragma once

#include <span>

#include "base/ids.h"
#include "flow/token_event.h"
#include "kernels/ops.h"

namespace millrace::sample {

// The chosen token and the n_top most likely (ties: lowest id first), or `listed`, when there are any, in their order.
// logits [n_vocab], finite or minus infinity, which is never among the most likely; ids of `listed` lie in the
// vocabulary. rank = 1 + number of tokens with a larger logit.
flow::PositionLogprobs position_logprobs(const kernels::KernelTable& kernels, std::span<const float> logits,
                                         TokenId chosen, int32_t n_top, std::span<const TokenId> listed = {});

}  // namespace millrace::sample
