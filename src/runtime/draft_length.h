// DraftLength: how many proposals of one sequence are worth the rows in which they are checked, from how many were
// right before. A row behind others costs a part of what a step of one row does, most of which is reading weights; the
// more streams a step has, the more of its time is rows, and the surer a proposal must be. So no stream waits for
// proposals that bring less than they cost. Only the time depends on it: tokens are the same with any length.
// Thread: one at a time.
#pragma once

#include <cstddef>

namespace millrace::runtime {

class DraftLength {
 public:
  // At most `most` proposals for a step of n_streams sampled rows. Where none is worth a row the estimate drifts back
  // to what it began with, so that it is tried again some time.
  size_t rows(size_t n_streams, size_t most) {
    float streams = static_cast<float>(n_streams) * kRowCost;
    float worth = streams / (1 + streams);
    size_t n = 0;
    for (float right = right_; n < most && right >= worth; right *= right_) ++n;
    if (n == 0) right_ += (kBegin - right_) / kForget;
    return n;
  }
  // A proposal was sampled, or another token was.
  void learn(bool right) { right_ += ((right ? 1.0f : 0.0f) - right_) * kStep; }

 private:
  static constexpr float kRowCost = 1.0f / 6;  // of a step of one row (docs/performance.md)
  static constexpr float kBegin = 0.8f;
  static constexpr float kStep = 1.0f / 8;
  static constexpr float kForget = 32;
  float right_ = kBegin;  // the share of proposals that are right
};

}  // namespace millrace::runtime
