// Crew: a few threads that do the parts of one job together, again and again. The caller is worker 0.
// Thread: run() from one.
#pragma once

#include <barrier>
#include <cstddef>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

namespace millrace::sim {

class Crew {
 public:
  explicit Crew(size_t n_workers) : together_(static_cast<std::ptrdiff_t>(n_workers)) {
    for (size_t worker = 1; worker < n_workers; ++worker) threads_.emplace_back([this, worker] { work(worker); });
  }
  ~Crew() {
    job_ = nullptr;
    together_.arrive_and_wait();
    for (std::thread& thread : threads_) thread.join();
  }
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  size_t size() const { return threads_.size() + 1; }
  // job(worker) on every worker at once; returns when all are done.
  void run(std::function<void(size_t)> job) {
    job_ = std::move(job);
    together_.arrive_and_wait();
    job_(0);
    together_.arrive_and_wait();
  }

 private:
  void work(size_t worker) {
    for (;;) {
      together_.arrive_and_wait();
      if (!job_) return;
      job_(worker);
      together_.arrive_and_wait();
    }
  }

  std::barrier<> together_;
  std::function<void(size_t)> job_;
  std::vector<std::thread> threads_;
};

}  // namespace millrace::sim
