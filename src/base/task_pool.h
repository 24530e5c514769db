// TaskPool: a few unpinned threads that run small jobs (template rendering, tokenising) off the engine thread.
#pragma once

#include <cstddef>
#include <functional>
#include <thread>
#include <vector>

#include "base/bounded_queue.h"

namespace millrace {

// Thread: any. Jobs must not throw. The destructor runs what was accepted, then joins.
class TaskPool {
 public:
  // niceness: 0, or 1..19 for threads that give way to all others when the cores are busy.
  TaskPool(size_t n_threads, size_t queue_capacity, int niceness = 0);
  ~TaskPool();
  TaskPool(const TaskPool&) = delete;
  TaskPool& operator=(const TaskPool&) = delete;

  // False when the queue is full: the caller refuses the work with an error of its own.
  bool try_post(std::function<void()> job);

 private:
  BoundedQueue<std::function<void()>> queue_;
  std::vector<std::thread> threads_;
};

}  // namespace millrace
