// How one request wants its next tokens chosen. Neutral values change nothing; src/sample/processors.cc is the list of
// what reads which field. Values are validated by src/api before they get here.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/ids.h"

namespace millrace::flow {

class Constraint;

// What is read out of a prompt instead of tokens: final hidden states (behind the last norm) of its rows. Then
// max_tokens is 0.
enum class Pooling : uint8_t {
  kNone,    // nothing
  kLast,    // of the last token
  kMean,    // mean over all tokens
  kFirst,   // of the first token (cls)
  kTokens,  // of every token
};

// Pooling that needs the hidden state of rows before the last: no row of the prompt may come from the prefix cache.
constexpr bool needs_every_row(Pooling pooling) { return pooling != Pooling::kNone && pooling != Pooling::kLast; }

// A step of a chain of samplers (sample/chain.h).
enum class SamplerStep : uint8_t {
  kPenalties,
  kDry,
  kTopNSigma,
  kTopK,
  kTypicalP,
  kTopP,
  kMinP,
  kXtc,
  kTemperature,
};

// Where a repetition ends: tokens that end one by themselves, and sequences of tokens that do.
struct DryBreakers {
  std::vector<TokenId> alone;                   // ascending
  std::vector<std::vector<TokenId>> sequences;  // ascending, none empty
};

// Against repetitions (sample/dry.h).
struct DryParams {
  float multiplier = 0.0f;  // 0: off
  float base = 1.75f;
  int32_t allowed_length = 2;                   // tokens
  int32_t last_n = 64;                          // tokens looked at; -1: all
  std::shared_ptr<const DryBreakers> breakers;  // no repetition reaches across one; null: none
};

// What a request's samplers learn from token to token; outlives preemptions.
struct SamplerMemory {
  std::vector<std::vector<float>> mirostat_mu;  // [fork][output index]
};

struct SamplingParams {
  float temperature = 1.0f;         // < 1e-4: greedy
  int32_t top_k = 0;                // <= 0: off
  float top_p = 1.0f;               // (0, 1]
  float min_p = 0.0f;               // [0, 1]
  float typical_p = 1.0f;           // (0, 1]
  float repetition_penalty = 1.0f;  // > 0, over prompt and output
  float presence_penalty = 0.0f;    // over output
  float frequency_penalty = 0.0f;   // over output
  uint32_t penalty_window = 0;     // > 0: all three over the last so many tokens of prompt and output alike (llama.cpp)
  float top_n_sigma = -1.0f;       // <= 0: off
  float xtc_probability = 0.0f;    // [0, 1]
  float xtc_threshold = 0.1f;      // [0, 1]; > 0.5: off
  float dynatemp_range = 0.0f;     // >= 0
  float dynatemp_exponent = 1.0f;  // > 0
  uint32_t min_keep = 0;           // tokens that top_p, min_p, typical_p and XTC leave at least
  int32_t mirostat = 0;            // 1, 2: version, instead of all cuts; 0: off
  float mirostat_tau = 5.0f;       // bits
  float mirostat_eta = 0.1f;
  DryParams dry;
  std::vector<SamplerStep> steps;                     // in this order, others not at all; empty: order of /v1
  std::vector<std::vector<TokenId>> bad_words;        // the last token of each is out of reach behind the others
  uint32_t no_repeat_ngram_size = 0;                  // > 0: no so many tokens in a row occur twice, the prompt's too
  std::shared_ptr<SamplerMemory> memory;              // with mirostat; room for all forks
  std::vector<std::pair<TokenId, float>> logit_bias;  // added before penalties
  std::vector<TokenId> allowed_token_ids;             // empty: all
  uint64_t seed = 0;         // Philox key together with the fork index; always resolved before submit
  uint32_t max_tokens = 16;  // output tokens; 0 = prompt only (scoring)
  uint32_t min_tokens = 0;   // EOS and stop ids are masked until reached
  bool ignore_eos = false;
  std::vector<TokenId> stop_token_ids;     // end with kStopToken, after min_tokens
  std::vector<TokenId> eos_token_ids;      // the model's end tokens; end with kEos unless ignore_eos
  int32_t n_logprobs = -1;                 // -1: none, 0: only the sampled token, k: also the k most likely
  int32_t n_prompt_logprobs = -1;          // the same for every prompt token but the first
  std::vector<TokenId> logprob_token_ids;  // with n_logprobs: of output tokens these instead of the most likely
  bool post_sampling_probs = false;        // n_logprobs: of the distribution that is drawn from, not of the model's
  Pooling pooling = Pooling::kNone;
  std::shared_ptr<const Constraint> constraint;  // what the output must satisfy; null: nothing
};

constexpr float kGreedyBelow = 1e-4f;

}  // namespace millrace::flow
