#include "runtime/own_thread.h"

#include <utility>

#include "base/macros.h"

namespace millrace::runtime {

OwnThread::OwnThread(flow::Backend& inner, std::function<void()> on_start) : inner_(inner) {
  thread_ = std::thread([this, on_start = std::move(on_start)] {
    if (on_start) on_start();
    run();
  });
}

OwnThread::~OwnThread() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  ready_.notify_one();
  thread_.join();
}

void OwnThread::submit(const flow::StepPlan& plan) {
  {
    std::lock_guard lock(mutex_);
    plans_.push_back(&plan);
  }
  ready_.notify_one();
}

bool OwnThread::done(uint64_t step) {
  std::lock_guard lock(mutex_);
  return !outputs_.empty() && outputs_.front().step == step;
}

flow::StepOutput OwnThread::take_output(uint64_t step) {
  std::lock_guard lock(mutex_);
  CHECK(!outputs_.empty() && outputs_.front().step == step, "output of step {} is not there", step);
  flow::StepOutput output = std::move(outputs_.front());
  outputs_.pop_front();
  return output;
}

void OwnThread::run() {
  while (true) {
    const flow::StepPlan* plan = nullptr;
    {
      std::unique_lock lock(mutex_);
      ready_.wait(lock, [&] { return stopping_ || !plans_.empty(); });
      if (plans_.empty()) return;
      plan = plans_.front();
      plans_.pop_front();
    }
    uint64_t step = plan->step;
    inner_.submit(*plan);
    CHECK(inner_.done(step), "step {} was not computed by submit()", step);
    flow::StepOutput output = inner_.take_output(step);
    {
      std::lock_guard lock(mutex_);
      outputs_.push_back(std::move(output));
    }
    if (on_done_) on_done_();
  }
}

}  // namespace millrace::runtime
