// Gate: one number that a writer advances and others wait for: they spin for a bounded time, then sleep in the kernel.
//  1. publish() is a sequentially consistent store followed by a look for sleepers; a sleeper registers before it looks
//  at
//     the number again. So either the writer sees the sleeper or the sleeper sees the number: no wake-up is lost.
//  2. No wait spins longer than spin_us: an idle or oversubscribed machine is not burnt (CPU_KERNELS.md section 8).
// Thread: any; one writer at a time.
#pragma once

#include <atomic>
#include <cstdint>

namespace millrace::device {

// Bytes a waiting thread will read next, fetched into its own cache while it spins.
struct Prefetch {
  const uint8_t* begin = nullptr;
  int64_t n_bytes = 0;
};

struct alignas(64) Gate {
  std::atomic<uint32_t> number{0};
  std::atomic<uint32_t> n_sleepers{0};

  void publish(uint32_t value);
  // Returns once the number is not `old`.
  uint32_t wait_past(uint32_t old, int spin_us, Prefetch next = {});
};

}  // namespace millrace::device
