// GenerateRequest: what the engine is asked. Immutable after submit(). Built by src/api only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "flow/sampling_params.h"

namespace millrace::flow {

using RequestId = uint64_t;  // ours, unique per process; a client's id is only a label

constexpr uint32_t kMaxBeams = 16;
constexpr uint32_t kMaxSinkTokens = 256;  // one span of attention

// When a beam search is over before the longest answer: when a better one is unlikely (judged by the length so far),
// when as many answers as beams have ended, or when no better one is possible.
enum class BeamStop : uint8_t { kLikely, kFull, kNever };

// Next tokens of a beam that are looked at: enough that `width` of them go on, whatever ends.
constexpr uint32_t beam_candidates(uint32_t width, size_t n_end_tokens) {
  return static_cast<uint32_t>(n_end_tokens > 1 ? 1 + n_end_tokens : 2) * width;
}

struct GenerateRequest {
  RequestId id = 0;
  uint32_t tenant = 0;          // who is served: fair policies share service between tenants
  uint32_t weight = 1;          // of the tenant, >= 1: its part of the service
  uint32_t scope = 0;           // interned (model, cache salt, ...): prefixes are shared inside a scope only
  std::string cache_salt;       // what the scope stands for outside this process
  int16_t band = 0;             // strict priority class, higher first: clamp(-priority)
  Tick arrival = 0;             // engine clock
  Tick deadline = 0;            // engine clock; 0 = none
  Tick ttft_slo = 0;            // wished time from arrival to the first token; 0 = none
  Tick itl_slo = 0;             // wished time between two tokens; 0 = none
  std::vector<TokenId> prompt;  // >= 1 token
  SamplingParams sampling;
  uint32_t second_begin = 0;   // > 0: the prompt is two texts (encoders), the second begins at this token
  uint8_t retention = 0;       // 0..7: cached blocks of lower retention are evicted first
  std::string session;         // with session_ttl: names the lease of this tenant
  Tick session_ttl = 0;        // > 0: the request's blocks are held so long after its end
  uint32_t window_tokens = 0;  // > 0: Full KvGroups see the first sink_tokens and the last window_tokens only; then the
  uint32_t sink_tokens = 0;    // scope is that of these numbers, too
  uint32_t n = 1;              // forks that share the prompt; fork k samples with key (seed, k)
  uint32_t beam_width = 0;     // > 1: beam search, whose best n answers are given; greedy, with log probabilities of
                               // the candidates (engine/beam_search.h) in sampling.n_logprobs
  float length_penalty = 1.0f;  // of beam search: scores are divided by length ^ this
  BeamStop beam_stop = BeamStop::kLikely;
  bool use_prefix_cache = true;  // false: no lookup (its blocks are still published)
  bool more_follow = false;      // the next prompt is of the same client request: they share one place of the queue
};

}  // namespace millrace::flow
