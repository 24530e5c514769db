// BeamSearch: which continuations of a request live on and which are the best finished ones, token by token. Pure
// arithmetic on log probabilities; the sequences belong to the engine. The rules are those of transformers 5
// (generation/utils.py, _beam_search without sampling), so its answers are the golden ones.
//  1. Every running beam gives its best next tokens once per round; then advance() says who goes on.
//  2. Scores are sums of log probabilities in float; a finished one is divided by length ^ length_penalty.
// Thread: engine.
#pragma once

#include <span>
#include <vector>

#include "flow/generate_request.h"
#include "flow/token_event.h"

namespace millrace::engine {

struct BeamRules {
  uint32_t width = 0;  // >= 2
  float length_penalty = 1.0f;
  flow::BeamStop stop = flow::BeamStop::kLikely;
  uint32_t min_tokens = 0;
  uint32_t max_tokens = 1;
  std::vector<TokenId> end_tokens;  // that end a hypothesis
};

class BeamSearch {
 public:
  explicit BeamSearch(BeamRules rules);

  // Beam `parent` goes on with `token`.
  struct Child {
    uint32_t parent = 0;
    TokenId token = kNoToken;
    float score = 0.0f;
  };
  struct Hypothesis {
    std::vector<TokenId> tokens;
    float score = 0.0f;  // with the length penalty
  };

  uint32_t n_running() const { return static_cast<uint32_t>(beams_.size()); }
  bool answered(uint32_t beam) const { return !beams_[beam].next.empty(); }
  // The most likely next tokens of a beam, best first.
  void answer(uint32_t beam, std::span<const flow::TokenLogprob> next);
  bool all_answered() const;
  // outputs[b]: tokens of beam b so far. Appends who goes on, best first: beams are then numbered in this order. False:
  // the search is over.
  bool advance(std::span<const std::span<const TokenId>> outputs, std::vector<Child>& out);
  // The best finished ones, best first.
  const std::vector<Hypothesis>& finished() const { return finished_; }

 private:
  struct Beam {
    float score = 0.0f;
    std::vector<flow::TokenLogprob> next;
  };
  bool ends(TokenId token) const;
  void finish(const Child& child, std::span<const TokenId> outputs);
  bool can_improve(float best_running) const;

  BeamRules rules_;
  std::vector<Beam> beams_;
  std::vector<Hypothesis> finished_;  // best first, at most width
  uint32_t n_tokens_ = 0;             // of every running beam
  bool may_improve_ = true;
};

}  // namespace millrace::engine
