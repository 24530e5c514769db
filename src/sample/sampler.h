// Logits to tokens. A draw is a pure function of (logits, parameters, seen tokens, seed, fork, output index): the same
// request gives the same text in any batch, after preemption and on resume.
// Thread: a SlotSampler is used by one worker at a time; scratch is the worker's own.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "flow/sampling_params.h"
#include "flow/token_event.h"
#include "kernels/ops.h"
#include "sample/candidates.h"
#include "sample/ranked_tokens.h"
#include "sample/seen_tokens.h"

namespace millrace::sample {

// What kind of decision a draw belongs to: the second counter word of Philox. Persistent: never renumber.
enum class DrawKind : uint32_t { kToken = 0, kXtc = 1 };

// A number in [0, 1) for draw `kind` of output `index` of fork `fork` under `seed`.
double draw_unit(uint64_t seed, uint32_t fork, uint32_t index, DrawKind kind);

// The sampling state of one sequence.
class SlotSampler {
 public:
  // tokens = all known tokens: input_len of the prompt, then outputs. params must outlive the slot.
  void reset(const flow::SamplingParams& params, uint32_t fork, uint32_t input_len, std::span<const TokenId> tokens);
  // One more output token.
  void append(TokenId token);

  const flow::SamplingParams& params() const { return *params_; }
  const SeenTokens& seen() const { return seen_; }
  uint32_t fork() const { return fork_; }
  uint32_t n_output() const { return n_output_; }
  // Prompt and output, when a processor looks at them.
  std::span<const TokenId> history() const { return history_; }

 private:
  // With params().penalty_window: counts the token and forgets the one that leaves the window.
  void count_in_window(TokenId token);

  SeenTokens seen_;              // kept only when a penalty is active
  std::vector<TokenId> recent_;  // ring of the tokens in the window; oldest_ is overwritten next once it is full
  size_t oldest_ = 0;
  std::vector<TokenId> history_;  // kept only with DRY, bad words or n-grams
  const flow::SamplingParams* params_ = nullptr;
  bool counts_ = false;
  bool keeps_history_ = false;
  uint32_t fork_ = 0;
  uint32_t n_output_ = 0;
};

// Buffers of one worker, reused from step to step.
struct SampleScratch {
  std::vector<float> row;  // [n_vocab]
  std::vector<int32_t> indices;
  std::vector<Candidate> candidates;
  RankedTokens ranked;
};

struct Sampled {
  TokenId token = kNoToken;
  std::unique_ptr<flow::PositionLogprobs> logprobs;  // when params.n_logprobs >= 0
};

// Samples the next token. logits [n_vocab] f32 is changed in place. mask [ceil(n_vocab / 32)]: tokens whose bit is not
// set are out of reach, before anything else looks at the logits; empty: all are allowed. Errors end this sequence
// alone: kInternal for non-finite logits, kNoTokenAllowed when every token is masked.
Result<Sampled> sample(const kernels::KernelTable& kernels, const SlotSampler& slot, std::span<float> logits,
                       SampleScratch& scratch, std::span<const uint32_t> mask = {});

}  // namespace millrace::sample
