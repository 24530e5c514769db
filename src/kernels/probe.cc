// See probe.h. Threads start together after a barrier; the rate of each is its own work by its own time, and the sum is
// reported: threads that share a core or a power budget slow each other, which is what the ceiling must show.
#include "kernels/probe.h"

#include <atomic>
#include <chrono>

namespace millrace::kernels {
namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double probe(device::ThreadPool& pool, PeakLoop loop, double seconds) {
  constexpr int64_t kRounds = 1000;  // 12,000 steps of a wide machine: 3 us; the clock costs 20 ns
  std::atomic<int64_t> rate{0};      // multiply-adds per second
  pool.run([&](device::Team& team) {
    team.sync();
    double begin = seconds_now();
    double now = begin;
    int64_t macs = 0;
    do {
      macs += loop(kRounds);
      now = seconds_now();
    } while (now - begin < seconds);
    rate.fetch_add(static_cast<int64_t>(static_cast<double>(macs) / (now - begin)), std::memory_order_relaxed);
  });
  return static_cast<double>(rate.load()) * 1e-9;
}

}  // namespace

double probe_int8(device::ThreadPool& pool, const KernelTable& table, double seconds) {
  return probe(pool, table.peak_int8, seconds);
}

double probe_f32(device::ThreadPool& pool, const KernelTable& table, double seconds) {
  return probe(pool, table.peak_f32, seconds);
}

}  // namespace millrace::kernels
