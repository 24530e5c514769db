#include "runtime/turns.h"

namespace millrace::runtime {

void Turns::take() {
  std::unique_lock lock(mutex_);
  uint64_t ticket = n_taken_++;
  next_.wait(lock, [&] { return turn_ == ticket; });
}

void Turns::give() {
  {
    std::lock_guard lock(mutex_);
    ++turn_;
  }
  next_.notify_all();
}

void TurnBackend::submit(const flow::StepPlan& plan) {
  turns_->take();
  inner_->submit(plan);
  turns_->give();
}

}  // namespace millrace::runtime
