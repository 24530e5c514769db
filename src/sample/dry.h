// DRY ("don't repeat yourself", p-e-w, text-generation-webui pull request 5677; details of llama.cpp b11434): a token
// that would continue a repetition of the last tokens is made less likely, the more the longer the repetition is.
// Thread: as SlotSampler.
#pragma once

#include <span>

#include "base/ids.h"
#include "flow/sampling_params.h"

namespace millrace::sample {

// history: all tokens so far, prompt and output. A repetition of n >= allowed_length tokens costs its next token
// multiplier * base^(n - allowed_length), but for tokens that are breakers. Takes time proportional to the history.
void penalise_repeats(const flow::DryParams& params, std::span<const TokenId> history, std::span<float> logits);

}  // namespace millrace::sample
