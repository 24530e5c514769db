// A chain of samplers: steps that each cut or reshape what the one before left, in an order that may be the request's.
// The quick path for the usual parameters is candidates.h; requests with others, or with an order, come here.
// Names and meaning of the steps: llama.cpp (src/llama-sampling.cpp, common/sampling.cpp, b11434); penalties and DRY
// change logits before the first cut wherever they stand (processors.h).
// Thread: as SlotSampler.
#pragma once

#include <cstdint>
#include <span>

#include "base/ids.h"
#include "flow/sampling_params.h"
#include "kernels/ops.h"
#include "sample/ranked_tokens.h"

namespace millrace::sample {

// True when the quick path cannot answer this request.
bool uses_chain(const flow::SamplingParams& params);
// True when the request's order of steps, if it has one, holds this step.
bool has_step(const flow::SamplingParams& params, flow::SamplerStep step);

struct ChainInput {
  const kernels::KernelTable& kernels;
  const flow::SamplingParams& params;
  std::span<const float> logits;  // [n_vocab], processed
  float max = 0;                  // the largest, finite
  double unit = 0;                // random numbers in [0, 1): of the draw
  double xtc_unit = 0;            // and of whether XTC acts
  float* mu = nullptr;            // mirostat: the largest surprise, in bits; changed by the draw
};

// What is in reach behind all steps: the draw is by exp(logit).
void run_steps(const ChainInput& input, RankedTokens& tokens);
// run_steps() and the draw, or the best token of a greedy request.
TokenId choose_by_chain(const ChainInput& input, RankedTokens& tokens);

}  // namespace millrace::sample
