// OwnThread: lets a Backend whose submit() computes (WorkerGroup) compute aside, so that the engine plans step N + 1
// while step N runs (depth 2). Steps run one after the other in the order of submit().
//  1. The inner backend is called from the one thread of this class only; plans stay alive until their output was
//  taken.
//  2. `on_done` is called on that thread after each step, with no lock held (Engine::wake), until the destructor
//  returns.
//  3. The destructor finishes the steps that were submitted.
// Thread: submit, done, take_output: engine.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "flow/backend.h"

namespace millrace::runtime {

class OwnThread final : public flow::Backend {
 public:
  // `inner` outlives this. `on_start` is the first thing the thread does (its place on the cores); both may be empty.
  explicit OwnThread(flow::Backend& inner, std::function<void()> on_start = {});
  ~OwnThread() override;
  OwnThread(const OwnThread&) = delete;
  OwnThread& operator=(const OwnThread&) = delete;

  // Before the first submit().
  void set_on_done(std::function<void()> on_done) { on_done_ = std::move(on_done); }

  void submit(const flow::StepPlan& plan) override;
  bool done(uint64_t step) override;
  flow::StepOutput take_output(uint64_t step) override;

 private:
  void run();

  flow::Backend& inner_;
  std::function<void()> on_done_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<const flow::StepPlan*> plans_;  // guarded by mutex_
  std::deque<flow::StepOutput> outputs_;     // guarded by mutex_
  bool stopping_ = false;                    // guarded by mutex_
  std::thread thread_;
};

}  // namespace millrace::runtime
