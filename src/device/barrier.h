// Barrier: all threads of a team arrive, then all go on. Sense reversing by epoch: one cache line per thread, on which
// it arrives, and one release line that thread 0 writes once it has seen everybody.
//  1. Between the last arrival and the release the shared tail counter is set to 0, so each phase between two barriers
//     takes its tail units from 0 (Team::take_next).
//  2. Waits spin for a bounded time, then sleep; a preempted thread delays the others but never makes them burn CPU.
// Thread: each of the n threads with its own number.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "device/gate.h"

namespace millrace::device {

class Barrier {
 public:
  explicit Barrier(int n_threads, int spin_us = 30);

  void wait(int thread, Prefetch next = {});
  int n_threads() const { return n_threads_; }
  std::atomic<int64_t>& tail() { return tail_; }

 private:
  int n_threads_;
  int spin_us_;
  std::unique_ptr<Gate[]> arrived_;  // [n_threads]; entry 0 is unused
  Gate released_;
  alignas(64) std::atomic<int64_t> tail_{0};
};

}  // namespace millrace::device
