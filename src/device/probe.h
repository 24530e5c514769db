// The start-up probe of memory bandwidth: what one thread and all threads read per second from a buffer too large for
// the caches. Every benchmark line and the L3-slice rule are judged against this figure of the same run.
// Thread: the one that may call ThreadPool::run.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "device/cpu_topology.h"
#include "device/thread_pool.h"

namespace millrace::device {

struct Bandwidth {
  double one_thread_gbps = 0;  // 1e9 bytes per second
  double all_threads_gbps = 0;
  int64_t buffer_bytes = 0;  // 4 x L3, not more than 1/8 of the memory left or 1 GiB
};

// Takes about `seconds` and the time to write the buffer once. kResource when the buffer cannot be had.
Result<Bandwidth> probe_bandwidth(ThreadPool& pool, const CpuTopology& topology, double seconds = 0.2);

}  // namespace millrace::device
