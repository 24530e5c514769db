// Candidates: min_p, top_k and top_p over processed logits, without sorting the vocabulary.
// Order of candidates: logit descending, then id ascending: a total order, so cuts and draws are the same everywhere.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "flow/sampling_params.h"
#include "kernels/ops.h"

namespace millrace::sample {

struct Candidate {
  TokenId token = kNoToken;
  float weight = 0;  // exp(logit - max)
};

// True when the parameters cut nothing: the draw runs over the whole vocabulary.
bool keeps_everything(const flow::SamplingParams& params);

// The kept tokens, best first. max is the largest logit and finite. `indices` and `out` are reused between calls.
void collect_candidates(const kernels::KernelTable& kernels, const flow::SamplingParams& params,
                        std::span<const float> logits, float max, std::vector<int32_t>& indices,
                        std::vector<Candidate>& out);

}  // namespace millrace::sample
