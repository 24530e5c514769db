// See barrier.h. A thread reads its own epoch from its own line, so no other state is kept.
#include "device/barrier.h"

#include "base/macros.h"

namespace millrace::device {

Barrier::Barrier(int n_threads, int spin_us)
    : n_threads_(n_threads), spin_us_(spin_us), arrived_(std::make_unique<Gate[]>(static_cast<size_t>(n_threads))) {
  CHECK(n_threads >= 1, "barrier of {} threads", n_threads);
}

void Barrier::wait(int thread, Prefetch next) {
  DCHECK(thread >= 0 && thread < n_threads_);
  uint32_t epoch = released_.number.load(std::memory_order_relaxed);
  if (thread == 0) {
    for (int other = 1; other < n_threads_; ++other) {
      arrived_[static_cast<size_t>(other)].wait_past(epoch, spin_us_, next);
    }
    tail_.store(0, std::memory_order_relaxed);
    released_.publish(epoch + 1);
  } else {
    arrived_[static_cast<size_t>(thread)].publish(epoch + 1);
    released_.wait_past(epoch, spin_us_, next);
  }
}

}  // namespace millrace::device
