#include "tests/support/alloc_faults.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<uint64_t> fail_at{0};
std::atomic<uint64_t> n_seen{0};
std::atomic<int> watched{0};  // 0: nothing, 1: one thread, 2: all
thread_local bool mine = false;
thread_local bool spared = false;
thread_local bool paused = false;

bool fails() {
  int which = watched.load(std::memory_order_acquire);
  if (which == 0 || paused || (which == 1 ? !mine : spared)) return false;
  return n_seen.fetch_add(1) + 1 == fail_at.load();
}

}  // namespace

void* operator new(size_t size) {
  if (fails()) throw std::bad_alloc();
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace millrace::support {

AllocFaults::AllocFaults(Of of, uint64_t k) {
  n_seen = 0;
  fail_at = k;
  mine = of == Of::kThisThread;
  watched.store(of == Of::kThisThread ? 1 : 2, std::memory_order_release);
}

AllocFaults::~AllocFaults() {
  watched.store(0, std::memory_order_release);
  mine = false;
}

uint64_t AllocFaults::n_allocations() const { return n_seen.load(); }

AllocFaults::Pause::Pause() { paused = true; }
AllocFaults::Pause::~Pause() { paused = false; }

void AllocFaults::spare_this_thread() { spared = true; }

}  // namespace millrace::support
