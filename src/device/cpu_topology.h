// What this process may use of the machine: physical cores (affinity and cgroup quota), memory, cache sizes.
// Reads /proc and /sys (cgroup v2 and v1); every missing file has a stated default, so the call cannot fail.
// Thread: any. Called at start, not in the step loop.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace millrace::device {

struct CpuTopology {
  std::string cpu_name;  // "unknown" when /proc/cpuinfo does not say
  std::vector<int>
      cores;          // one logical CPU for each physical core that the affinity mask allows, ascending; never empty
  int n_logical = 1;  // logical CPUs that the affinity mask allows
  double quota_cpus = 0;  // CPU time the cgroup grants, in CPUs; 0 = no limit
  int64_t l2_bytes = 0;   // of one core; default 1 MiB
  int64_t l3_bytes = 0;   // of one core complex; default 32 MiB
};

// root: put before /proc and /sys (tests use a made-up tree). The affinity mask is always the real one.
CpuTopology read_cpu_topology(const std::string& root = "");

// One thread per physical core, not more than the quota, at least 1.
int compute_threads_default(const CpuTopology& topology);

// Memory that can still be taken: the lesser of MemAvailable and what the cgroup limits leave; 0 = unknown.
int64_t memory_available_bytes(const std::string& root = "");

}  // namespace millrace::device
