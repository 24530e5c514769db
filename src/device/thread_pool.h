// The compute threads: one job at a time runs on all of them at once (SPMD), the caller being thread 0.
//  1. Workers 1..n-1 spin 30 us for the next job, then sleep: an idle server uses no CPU.
//  2. Who computes a unit never changes bits, so a machine that grants fewer threads than asked only gets slower.
//  3. All threads compute in the default floating-point mode (round to nearest, no flush to zero).
//  4. A job does not allocate, lock or throw.
// Thread: run() by one thread at a time (the engine); the job on all.
#pragma once

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "device/barrier.h"

namespace millrace::device {

// Units [begin, end).
struct Range {
  int64_t begin = 0;
  int64_t end = 0;
  bool empty() const { return begin >= end; }
};

// What one thread of a running job knows. Each thread has its own copy. Default: a team of one.
struct Team {
  int thread = 0;
  int n_threads = 1;
  Barrier* barrier = nullptr;  // null only in a team of one
  int64_t n_syncs = 0;         // barriers passed by this thread in this job
  int64_t next_alone = 0;      // take_next() of a team without a barrier

  // Waits for all threads; what they wrote before is visible after. `next`: what this thread reads after it.
  void sync(Prefetch next = {});
  // This thread's part of n_units, sizes differing by at most one; lower threads take lower units.
  Range range(int64_t n_units) const;
  // 0, 1, 2, ... shared by the team, starting again at 0 after each sync. Overshoots once per thread.
  int64_t take_next();
  // The part of for_units() that this thread does first.
  Range first_units(int64_t n_units) const { return range(n_units - shared_units(n_units)); }
  // body(begin, end) over all of n_units: the first 7/8 as static parts, the rest shared, `grain` units at a time, so a
  // preempted thread, or one that gets less of the memory, does not stall the others. At most once between two syncs.
  template <class Body>
  void for_units(int64_t n_units, int64_t grain, Body&& body) {
    int64_t n_static = n_units - shared_units(n_units);
    Range own = range(n_static);
    if (!own.empty()) body(own.begin, own.end);
    if (n_static == n_units) return;
    for (;;) {
      int64_t begin = n_static + take_next() * grain;
      if (begin >= n_units) return;
      body(begin, begin + grain < n_units ? begin + grain : n_units);
    }
  }

 private:
  int64_t shared_units(int64_t n_units) const { return n_threads == 1 ? 0 : n_units / 8; }
};

class ThreadPool {
 public:
  // pin: thread t runs on the t-th physical core this process may use, the caller of the constructor included
  // (threads it starts later inherit that, so build the pool on the engine thread). Starts fewer threads (with a
  // warning) when the system refuses some. Never spins when there are more threads than CPUs.
  ThreadPool(int n_threads, bool pin);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // job(context, thread) on every thread; returns when all have returned.
  void run(void (*job)(void* context, int thread), void* context);

  // body(Team&) on every thread.
  template <class Body>
  void run(Body&& body) {
    struct Call {
      ThreadPool* pool;
      Body* body;
    } call{this, &body};
    run(
        [](void* context, int thread) {
          auto* call = static_cast<Call*>(context);
          Team team = call->pool->team(thread);
          (*call->body)(team);
          if (thread == 0) call->pool->n_syncs_ = team.n_syncs;
        },
        &call);
  }

  int n_threads() const { return n_threads_; }
  Team team(int thread) { return Team{thread, n_threads_, barrier_.get()}; }
  // Barriers that the last run(Body) passed.
  int64_t n_syncs() const { return n_syncs_; }

 private:
  void worker(int thread, int cpu);

  int n_threads_ = 1;
  int spin_us_ = 0;
  std::unique_ptr<Barrier> barrier_;
  Gate start_;                         // number = jobs started
  std::unique_ptr<Gate[]> done_;       // [n_threads]: jobs this worker has finished
  void (*job_)(void*, int) = nullptr;  // null tells the workers to leave
  void* context_ = nullptr;
  int64_t n_syncs_ = 0;
  std::vector<std::thread> workers_;
};

}  // namespace millrace::device
