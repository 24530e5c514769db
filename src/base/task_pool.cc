#include "base/task_pool.h"

#include <sys/resource.h>
#include <unistd.h>

namespace millrace {

TaskPool::TaskPool(size_t n_threads, size_t queue_capacity, int niceness) : queue_(queue_capacity) {
  threads_.reserve(n_threads);
  auto work = [this, niceness] {
    // On Linux the priority of a process id that is a thread's is that thread's own.
    if (niceness > 0) ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), niceness);
    while (auto job = queue_.pop()) (*job)();
  };
  try {
    for (size_t i = 0; i < n_threads; ++i) threads_.emplace_back(work);
  } catch (...) {  // a thread that is not joined would end the process
    queue_.close();
    for (std::thread& thread : threads_) thread.join();
    throw;
  }
}

TaskPool::~TaskPool() {
  queue_.close();
  for (std::thread& thread : threads_) thread.join();
}

bool TaskPool::try_post(std::function<void()> job) { return queue_.try_push(std::move(job)); }

}  // namespace millrace
