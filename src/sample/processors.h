// kProcessors: the ordered list of everything that changes logits before a token is drawn (API order of the /v1 routes:
// allowed ids, bad words, n-grams, min tokens, logit bias, penalties, DRY, typical_p, temperature; then min_p, top_k
// and top_p in sample/candidates.h; or, behind DRY, the steps of sample/chain.h). A processor whose parameters are
// neutral is not called and changes nothing.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "flow/sampling_params.h"
#include "kernels/ops.h"
#include "sample/seen_tokens.h"

namespace millrace::sample {

// Everything a processor may look at.
struct ProcessorInput {
  const kernels::KernelTable& kernels;
  const flow::SamplingParams& params;
  const SeenTokens& seen;
  uint32_t n_output = 0;             // tokens sampled so far
  std::span<const TokenId> history;  // prompt and output, when SlotSampler keeps it
  std::span<float> logits;           // [n_vocab], changed in place
  std::span<float> scratch;          // [n_vocab]
};

struct Processor {
  std::string_view name;
  bool (*active)(const flow::SamplingParams& params);
  void (*apply)(const ProcessorInput& input);
};

std::span<const Processor> processor_table();

}  // namespace millrace::sample
