// Allocations that fail, in programs that link alloc_faults.cc, which brings the operator new of the program: it throws
// std::bad_alloc at the k-th allocation. Thread: any; one AllocFaults at a time.
#pragma once

#include <cstdint>

namespace millrace::support {

class AllocFaults {
 public:
  enum class Of : uint8_t { kThisThread, kAllThreads };  // but those that are spared

  // k = 0: counts only.
  AllocFaults(Of of, uint64_t k);
  ~AllocFaults();
  AllocFaults(const AllocFaults&) = delete;
  AllocFaults& operator=(const AllocFaults&) = delete;
  uint64_t n_allocations() const;

  // Nothing fails and nothing is counted on this thread: for what a test itself allocates.
  class Pause {
   public:
    Pause();
    ~Pause();
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;
  };

  // This thread is left alone by kAllThreads from now on.
  static void spare_this_thread();
};

}  // namespace millrace::support
