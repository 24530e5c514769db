// SlotMask: the allowed tokens of one sequence's next token, filled while the forward pass runs, or by its sampler.
//  1. A fill is wanted by request_fill() and done once, by whoever comes first: a helper thread that was handed fill(),
//     or the sampler in wait(). So the sampler waits for at most the one fill that it needs, and for no queue.
//  2. Between wait() and the next request_fill() the matcher belongs to the caller of wait().
//  3. What the mask says depends on the sequence's own tokens and their limit alone (flow/timed_matcher.h).
// Thread: fill() any; the rest: the one that has the slot's row.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "flow/constraint.h"
#include "flow/timed_matcher.h"

namespace millrace::runtime {

class SlotMask {
 public:
  // outputs: what was sampled before (a sequence that comes back); accepted by the first fill. max_outputs: tokens in
  // which the answer is to end, TimedMatcher::kNoLimit when it may be cut off.
  SlotMask(const flow::Constraint& constraint, std::span<const TokenId> outputs, uint32_t max_outputs);

  void request_fill();
  void fill();
  // [n_mask_words], bit t: token t may come next.
  std::span<const uint32_t> wait();
  // After wait(): the token that was sampled. False when the constraint does not take it.
  bool accept(TokenId token);
  // After wait(): TimedMatcher::may_be_late().
  bool may_be_late() const { return matcher_.may_be_late(); }
  // After accept(): TimedMatcher::in_time(). When it is false, bits() is what may be sampled instead.
  bool in_time() { return matcher_.in_time(bits_); }
  // Before accept(): TimedMatcher::widen(). When it is true, bits() is what may be sampled instead.
  bool widen() { return matcher_.widen(bits_); }
  std::span<const uint32_t> bits() const { return bits_; }
  // After accept(): the mask of the token behind it, at once.
  std::span<const uint32_t> fill_now();
  // After wait() and accept(): proposals for what follows; how many.
  size_t draft(std::span<TokenId> out) { return matcher_.matcher().draft(out); }
  bool hurried() const { return matcher_.hurried(); }
  bool ended() const { return matcher_.matcher().ended(); }
  // After wait(): TokenMatcher::failure().
  std::string failure() const { return matcher_.matcher().failure(); }

 private:
  enum State : uint32_t { kIdle, kWanted, kFilling, kReady };
  flow::TimedMatcher matcher_;
  std::vector<TokenId> outputs_;  // not accepted yet
  std::vector<uint32_t> bits_;
  std::atomic<uint32_t> state_{kIdle};
};

}  // namespace millrace::runtime
