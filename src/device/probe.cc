// See probe.h. Plain 8-byte loads in 8 independent sums reach the DRAM limit of one core: the hardware prefetcher, not
// the width of a load, sets it (32.7 GB/s on a Zen4 core against 205 from L1; CPU_KERNELS.md section 1).
#include "device/probe.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "device/buffer.h"

namespace millrace::device {
namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

uint64_t read_all(const uint64_t* words, int64_t n) {
  uint64_t sums[8] = {};
  for (int64_t i = 0; i + 8 <= n; i += 8) {
    for (int j = 0; j < 8; ++j) sums[j] += words[i + j];
  }
  uint64_t all = 0;
  for (uint64_t sum : sums) all += sum;
  return all;
}

// Bytes per second of n_readers threads, each over its own part, 1 MiB at a time until the time is up.
double measure(ThreadPool& pool, const uint64_t* words, int64_t n_words, int n_readers, double seconds) {
  constexpr int64_t kPieceWords = (int64_t{1} << 20) / 8;
  std::atomic<int64_t> total_words{0};
  std::atomic<uint64_t> sink{0};
  std::atomic<double> longest{0};
  pool.run([&](Team& team) {
    if (team.thread >= n_readers) return;
    Team readers{team.thread, n_readers};
    Range own = readers.range(n_words / kPieceWords);
    double begin = seconds_now();
    int64_t read_words = 0;
    uint64_t sum = 0;
    double now = begin;
    for (int64_t piece = own.begin; now - begin < seconds && !own.empty();
         piece = piece + 1 < own.end ? piece + 1 : own.begin) {
      sum += read_all(words + piece * kPieceWords, kPieceWords);
      read_words += kPieceWords;
      now = seconds_now();
    }
    sink.fetch_add(sum, std::memory_order_relaxed);
    total_words.fetch_add(read_words, std::memory_order_relaxed);
    double seen = longest.load(std::memory_order_relaxed);
    while (seen < now - begin && !longest.compare_exchange_weak(seen, now - begin, std::memory_order_relaxed)) continue;
  });
  return static_cast<double>(total_words.load()) * 8 / std::max(longest.load(), 1e-9);
}

}  // namespace

Result<Bandwidth> probe_bandwidth(ThreadPool& pool, const CpuTopology& topology, double seconds) {
  int64_t free_bytes = memory_available_bytes();
  int64_t bytes = std::min<int64_t>(4 * topology.l3_bytes, int64_t{1} << 30);
  if (free_bytes > 0) bytes = std::min(bytes, free_bytes / 8);
  bytes = std::max<int64_t>(bytes >> 20, pool.n_threads()) << 20;
  Buffer buffer = TRY(Buffer::allocate(static_cast<size_t>(bytes), "bandwidth probe"));
  // Pages never written would all be the one zero page, which stays in the cache.
  pool.run([&](Team& team) {
    Range own = team.range(bytes >> 12);
    std::memset(buffer.data() + (own.begin << 12), 1, static_cast<size_t>((own.end - own.begin) << 12));
  });
  const auto* words = reinterpret_cast<const uint64_t*>(buffer.data());
  Bandwidth result;
  result.buffer_bytes = bytes;
  result.one_thread_gbps = measure(pool, words, bytes / 8, 1, seconds / 2) * 1e-9;
  result.all_threads_gbps = pool.n_threads() == 1
                                ? result.one_thread_gbps
                                : measure(pool, words, bytes / 8, pool.n_threads(), seconds / 2) * 1e-9;
  return result;
}

}  // namespace millrace::device
