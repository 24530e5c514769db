#include "runtime/turns.h"

namespace millrace::runtime {

void Turns::take(const std::function<void()>& on_step) {
  std::unique_lock lock(mutex_);
  uint64_t ticket = n_taken_++;
  while (turn_ != ticket) {
    uint64_t seen = turn_;
    next_.wait(lock, [&] { return turn_ != seen; });
    if (on_step) on_step();
  }
}

void Turns::give() {
  {
    std::lock_guard lock(mutex_);
    ++turn_;
  }
  next_.notify_all();
}

void TurnBackend::submit(const flow::StepPlan& plan) {
  turns_->take(on_wait_);
  inner_->submit(plan);
  turns_->give();
}

}  // namespace millrace::runtime
