// Mirostat (Basu et al., "Mirostat: a neural text decoding algorithm that directly controls perplexity", arXiv
// 2007.14966), version 1 (its algorithm 1) and version 2 (its algorithm 2), in the form of llama.cpp: the surprise that
// is learnt from is that of the cut distribution.
// Thread: as SlotSampler.
#pragma once

#include <cstddef>

#include "flow/sampling_params.h"
#include "sample/ranked_tokens.h"

namespace millrace::sample {

// mu of the first token, in bits.
constexpr float first_mu(const flow::SamplingParams& params) { return 2.0f * params.mirostat_tau; }

// Keeps the tokens whose surprise is at most about mu.
void cut_mirostat(const flow::SamplingParams& params, size_t n_vocab, float mu, RankedTokens& tokens);
// Moves mu towards the target once a token of this probability (after the cut) was drawn.
void learn_mirostat(const flow::SamplingParams& params, double probability, float& mu);

}  // namespace millrace::sample
