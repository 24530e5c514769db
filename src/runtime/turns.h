// Turns: the backends of several models on the same cores take turns, a step each, in the order in which they asked:
// one computes with all threads while the others wait, instead of all at half speed with waits at every barrier.
// Thread: any.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "flow/backend.h"

namespace millrace::runtime {

class Turns {
 public:
  // Returns when it is the caller's turn, which lasts until give(). on_step: after every step of another meanwhile.
  void take(const std::function<void()>& on_step);
  void give();

 private:
  std::mutex mutex_;
  std::condition_variable next_;
  uint64_t n_taken_ = 0;  // guarded by mutex_; tickets given out
  uint64_t turn_ = 0;     // guarded by mutex_; the ticket that computes
};

// A backend whose submit() computes in its turn. While others compute, each of their steps is a sign of life of this
// one too (on_wait, which may be empty): a hung step of one model stops the signs of all. Thread: as the inner one.
class TurnBackend final : public flow::Backend {
 public:
  TurnBackend(std::unique_ptr<flow::Backend> inner, std::shared_ptr<Turns> turns, std::function<void()> on_wait = {})
      : inner_(std::move(inner)), turns_(std::move(turns)), on_wait_(std::move(on_wait)) {}

  void submit(const flow::StepPlan& plan) override;
  bool done(uint64_t step) override { return inner_->done(step); }
  flow::StepOutput take_output(uint64_t step) override { return inner_->take_output(step); }

 private:
  std::unique_ptr<flow::Backend> inner_;
  std::shared_ptr<Turns> turns_;
  std::function<void()> on_wait_;
};

}  // namespace millrace::runtime
