#include "grammar/compile_budget.h"

#include <ctime>

namespace millrace::grammar {
namespace {

constexpr uint64_t kClockEvery = 4096;  // steps between two looks at the clock, which is a system call

// The one thing that an allocation can find its budget by.
thread_local CompileBudget* current = nullptr;

int64_t thread_time_ns() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

CompileBudget::CompileBudget(const CompileLimits& limits)
    : limits_(limits), deadline_ns_(thread_time_ns() + limits.core_ms * 1'000'000) {
  current = this;
}

CompileBudget::~CompileBudget() { current = nullptr; }

CompileBudget::Pause::Pause() : paused_(current) { current = nullptr; }

CompileBudget::Pause::~Pause() { current = paused_; }

void CompileBudget::charge(uint64_t steps, size_t bytes) {
  if (spent_ != Spent::kNothing) return;  // unwinding may allocate
  bool look = n_steps_ / kClockEvery != (n_steps_ + steps) / kClockEvery;
  n_steps_ += steps;
  n_bytes_ += bytes;
  if (look && thread_time_ns() > deadline_ns_) spent_ = Spent::kTime;
  if (n_bytes_ > limits_.bytes) spent_ = Spent::kMemory;
  if (n_steps_ > limits_.steps) spent_ = Spent::kWork;
  if (spent_ != Spent::kNothing) throw OverBudget();
}

void charge_allocation(size_t bytes) {
  if (current != nullptr) current->charge(kStepsOfAllocation + bytes / kBytesPerStep, bytes);
}

void charge_steps(size_t n) {
  if (current != nullptr) current->charge(n, 0);
}

}  // namespace millrace::grammar
