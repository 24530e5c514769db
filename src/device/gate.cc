// Spinning and the futex. The clock is read every 16 pauses only: a read costs about as much as one pause.
#include "device/gate.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <climits>

namespace millrace::device {
namespace {

static_assert(std::atomic<uint32_t>::is_always_lock_free && sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));

void futex(std::atomic<uint32_t>* word, int operation, uint32_t value) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), operation, value, nullptr, nullptr, 0);
}

// 4 lines for each look at the gate: 256 bytes in the 20 ns of a pause is about what DRAM gives one core.
constexpr int64_t kFetchBytes = 256;
constexpr int64_t kLineBytes = 64;

void fetch_some(Prefetch& next) {
  for (int64_t at = 0; at < kFetchBytes && at < next.n_bytes; at += kLineBytes)
    __builtin_prefetch(next.begin + at, 0, 2);
  next.begin += kFetchBytes;
  next.n_bytes -= kFetchBytes;
}

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

void Gate::publish(uint32_t value) {
  number.store(value, std::memory_order_seq_cst);
  if (n_sleepers.load(std::memory_order_seq_cst) != 0) futex(&number, FUTEX_WAKE_PRIVATE, INT_MAX);
}

uint32_t Gate::wait_past(uint32_t old, int spin_us, Prefetch next) {
  using SpinClock = std::chrono::steady_clock;
  uint32_t seen = number.load(std::memory_order_acquire);
  if (seen != old) return seen;
  if (spin_us > 0) {
    auto end = SpinClock::now() + std::chrono::microseconds(spin_us);
    do {
      for (int i = 0; i < 16; ++i) {
        if (next.n_bytes > 0) fetch_some(next);
        relax();
        seen = number.load(std::memory_order_acquire);
        if (seen != old) return seen;
      }
    } while (SpinClock::now() < end);
  }
  n_sleepers.fetch_add(1, std::memory_order_seq_cst);
  while ((seen = number.load(std::memory_order_seq_cst)) == old) futex(&number, FUTEX_WAIT_PRIVATE, old);
  n_sleepers.fetch_sub(1, std::memory_order_relaxed);
  return seen;
}

}  // namespace millrace::device
