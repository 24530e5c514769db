// TokenEvent: what leaves the engine. After admission every outcome, failures too, is a TokenEvent:
// each fork of a request ends with exactly one event whose `finish` is not kNone.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "flow/generate_request.h"

namespace millrace::flow {

enum class FinishReason : uint8_t { kNone, kEos, kStopToken, kLength, kCancelled, kError };

struct TokenLogprob {
  TokenId token = kNoToken;
  float logprob = 0.0f;  // natural log, of the raw distribution unless sampling.post_sampling_probs
  int32_t rank = 0;      // 1 = most likely
};

// Logprobs of one position: the chosen (or prompt) token first, then the k most likely in order, or those of
// sampling.logprob_token_ids in theirs.
struct PositionLogprobs {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;
};

// Times on the engine clock; filled on the finishing event.
struct RequestTimes {
  Tick arrival = 0;
  Tick first_scheduled = 0;
  Tick first_token = 0;
  Tick predicted_first_token = 0;  // as seen on arrival; 0 = not predicted
  Tick finished = 0;
};

struct TokenEvent {
  RequestId request = 0;
  uint32_t fork = 0;
  TokenId token = kNoToken;  // kNoToken on events that carry no token (cancel, error, prompt-only requests)
  Tick when = 0;             // engine clock at the end of the step
  FinishReason finish = FinishReason::kNone;
  TokenId stop_token = kNoToken;                  // with kEos and kStopToken: the id that ended it (it is also `token`)
  std::unique_ptr<PositionLogprobs> logprobs;     // when sampling.n_logprobs >= 0 and token is set
  std::vector<PositionLogprobs> prompt_logprobs;  // once, on the first event of fork 0, entry i = prompt token i+1
  // Of a pooling request, on its finishing event: [d_model] f32, [n_prompt, d_model] with Pooling::kTokens, or the
  // scores of the model's head.
  std::vector<float> pooled;
  // on the finishing event
  uint32_t n_prompt = 0;
  uint32_t n_output = 0;
  uint32_t n_cached = 0;  // prompt tokens served from the prefix cache at first admission
  uint32_t n_preempted = 0;
  RequestTimes times;
  Error error;  // with kError
};

// Where the engine puts what it emits: once per step, on the engine thread, never blocking.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void deliver(std::span<TokenEvent> events) = 0;
};

}  // namespace millrace::flow
