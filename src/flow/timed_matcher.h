// TimedMatcher: a TokenMatcher of an answer that is to end inside a limit of tokens, wherever the matcher knows how.
//  1. Where no token is to spare the mask allows those of the nearest end only.
//  2. Elsewhere every token that the constraint allows may be sampled; one behind which the answer could no longer end
//     in time is taken back, and the mask holds those of the nearest end then.
//  3. An answer whose nearest end, by bytes, is too far at its beginning has no limit here: it is cut off.
//  4. The matcher is asked for its end only where one of what it allows may lie too far away.
//  5. All of it depends on the tokens of the answer and the limit alone.
// Thread: one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "base/ids.h"
#include "flow/constraint.h"

namespace millrace::flow {

class TimedMatcher {
 public:
  static constexpr uint32_t kNoLimit = UINT32_MAX;  // the answer may be cut off
  // max_tokens: of the whole answer, its end token included.
  TimedMatcher(std::unique_ptr<TokenMatcher> matcher, uint32_t max_tokens)
      : matcher_(std::move(matcher)), max_tokens_(max_tokens), farthest_(matcher_->farthest_end()) {}

  void fill(std::span<uint32_t> mask) {
    begin();
    matcher_->fill(mask);
    narrowed_ = false;
    if (!may_be_late()) return;
    uint32_t n_left = max_tokens_ - n_tokens_;
    bool none_to_spare = !matcher_->ends_within(n_left - 1) && matcher_->ends_within(n_left);
    if (!none_to_spare) return;
    matcher_->keep_ending(mask, n_left);
    narrowed_ = hurried_ = true;
  }

  // Where fill() left the tokens of the nearest end only, and none of them can be sampled: the mask of the constraint.
  bool widen(std::span<uint32_t> mask) {
    if (!narrowed_) return false;
    matcher_->fill(mask);
    narrowed_ = false;
    return true;
  }

  bool accept(TokenId token) {
    begin();
    if (!matcher_->accept(token)) return false;
    ++n_tokens_;
    last_ = token;
    return true;
  }

  // Behind fill(): whether widen() may be true, or in_time() false behind the next token.
  bool may_be_late() const {
    return has_limit() && n_tokens_ < max_tokens_ && max_tokens_ - n_tokens_ - 1 <= farthest_;
  }

  // Behind accept() of a token out of this mask: whether the answer can still end in time. If not, and it could before,
  // that token is taken back and cleared from the mask with all others that do not begin the nearest end.
  bool in_time(std::span<uint32_t> mask) {
    if (!has_limit() || n_tokens_ > max_tokens_) return true;
    uint32_t n_left = max_tokens_ - n_tokens_;
    if (n_left > farthest_ || matcher_->ends_within(n_left)) return true;
    matcher_->rollback(1);
    if (!matcher_->ends_within(n_left + 1)) {
      (void)matcher_->accept(last_);
      return true;
    }
    --n_tokens_;
    matcher_->keep_ending(mask, n_left + 1);
    hurried_ = true;
    return false;
  }

  bool has_limit() const { return max_tokens_ != kNoLimit; }
  // The limit had a say in one of the tokens.
  bool hurried() const { return hurried_; }
  TokenMatcher& matcher() const { return *matcher_; }

 private:
  void begin() {
    if (begun_) return;
    begun_ = true;
    if (has_limit() && max_tokens_ <= farthest_ && !matcher_->ends_within(max_tokens_)) max_tokens_ = kNoLimit;
  }

  std::unique_ptr<TokenMatcher> matcher_;
  uint32_t max_tokens_;
  uint32_t farthest_;        // of the matcher
  uint32_t n_tokens_ = 0;    // accepted
  TokenId last_ = kNoToken;  // of them
  bool begun_ = false;
  bool narrowed_ = false;  // the mask of the last fill()
  bool hurried_ = false;
};

}  // namespace millrace::flow
