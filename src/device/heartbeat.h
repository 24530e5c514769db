// The sign of life of the engine (ROBUSTNESS.md D10): a counter advanced at every step and every layer, so that a long
// prefill is not taken for a stall. The watchdog and /health/live only look whether it moved.
// Thread: written by compute thread 0, read by any.
#pragma once

#include <atomic>
#include <cstdint>

namespace millrace::device {

struct alignas(64) Heartbeat {
  std::atomic<uint64_t> ticks{0};

  void beat() { ticks.store(ticks.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); }
  uint64_t read() const { return ticks.load(std::memory_order_relaxed); }
};

}  // namespace millrace::device
