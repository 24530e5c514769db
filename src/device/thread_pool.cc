// See thread_pool.h. The spin of 30 us is about the longest gap between two steps of a loaded engine; waking a sleeper
// costs 5 to 50 us, so longer gaps are slept through (CPU_KERNELS.md section 8).
#include "device/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <cfenv>
#include <new>
#include <system_error>

#include "base/macros.h"
#include "device/cpu_topology.h"

namespace millrace::device {
namespace {

constexpr int kSpinUs = 30;

void pin_current_thread(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  if (pthread_setaffinity_np(pthread_self(), sizeof set, &set) != 0)
    LOG(LogLevel::kWarning, "cannot pin a thread to CPU {}", cpu);
}

}  // namespace

void Team::sync(Prefetch next) {
  ++n_syncs;
  next_alone = 0;
  if (barrier != nullptr) barrier->wait(thread, next);
}

Range Team::range(int64_t n_units) const {
  int64_t share = n_units / n_threads;
  int64_t extra = n_units % n_threads;
  int64_t begin = thread * share + std::min<int64_t>(thread, extra);
  return Range{begin, begin + share + (thread < extra ? 1 : 0)};
}

int64_t Team::take_next() {
  if (barrier == nullptr) return next_alone++;
  return barrier->tail().fetch_add(1, std::memory_order_relaxed);
}

ThreadPool::ThreadPool(int n_threads, bool pin) {
  CHECK(n_threads >= 1 && n_threads <= 1024, "thread pool of {} threads", n_threads);
  CpuTopology topology = read_cpu_topology();
  spin_us_ = n_threads <= topology.n_logical ? kSpinUs : 0;
  done_ = std::make_unique<Gate[]>(static_cast<size_t>(n_threads));
  auto cpu_of = [&](int thread) {
    auto index = static_cast<size_t>(thread);
    return pin && static_cast<size_t>(n_threads) <= topology.cores.size() ? topology.cores[index] : -1;
  };
  workers_.reserve(static_cast<size_t>(n_threads));
  barrier_ = std::make_unique<Barrier>(n_threads, spin_us_);  // what may throw comes before the first thread
  for (int thread = 1; thread < n_threads; ++thread) {
    try {
      workers_.emplace_back(&ThreadPool::worker, this, thread, cpu_of(thread));
    } catch (const std::system_error& error) {
      LOG(LogLevel::kWarning, "compute threads: {} of {}: {}", thread, n_threads, error.what());
      break;
    } catch (const std::bad_alloc&) {
      LOG(LogLevel::kWarning, "compute threads: {} of {}: out of memory", thread, n_threads);
      break;
    }
  }
  n_threads_ = 1 + static_cast<int>(workers_.size());
  if (n_threads_ != n_threads) barrier_ = std::make_unique<Barrier>(n_threads_, spin_us_);
  if (cpu_of(0) >= 0) pin_current_thread(cpu_of(0));
}

ThreadPool::~ThreadPool() {
  job_ = nullptr;
  start_.publish(start_.number.load(std::memory_order_relaxed) + 1);
  for (auto& thread : workers_) thread.join();
}

void ThreadPool::run(void (*job)(void* context, int thread), void* context) {
  CHECK(job != nullptr);
  std::fesetenv(FE_DFL_ENV);
  job_ = job;
  context_ = context;
  n_syncs_ = 0;
  barrier_->tail().store(0, std::memory_order_relaxed);
  uint32_t started = start_.number.load(std::memory_order_relaxed);
  start_.publish(started + 1);
  job(context, 0);
  for (int thread = 1; thread < n_threads_; ++thread) done_[static_cast<size_t>(thread)].wait_past(started, spin_us_);
}

void ThreadPool::worker(int thread, int cpu) {
  pthread_setname_np(pthread_self(), fmt::format("compute-{}", thread).c_str());
  if (cpu >= 0) pin_current_thread(cpu);
  std::fesetenv(FE_DFL_ENV);
  for (uint32_t started = 0;; ++started) {
    start_.wait_past(started, spin_us_);
    if (job_ == nullptr) return;
    job_(context_, thread);
    done_[static_cast<size_t>(thread)].publish(started + 1);
  }
}

}  // namespace millrace::device
