#include "grammar/compile_budget.h"

#include <ctime>

namespace millrace::grammar {
namespace {

constexpr uint64_t kClockEvery = 256;  // allocations between two looks at the clock, which is a system call

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

void CompileBudget::charge(size_t bytes) {
  if (spent_ != Spent::kNothing) return;  // unwinding may allocate
  ++n_allocations_;
  n_bytes_ += bytes;
  if (n_bytes_ > limits_.bytes) spent_ = Spent::kMemory;
  if (n_allocations_ > limits_.allocations) spent_ = Spent::kWork;
  if (n_allocations_ % kClockEvery == 0 && thread_time_ns() > deadline_ns_) spent_ = Spent::kTime;
  if (spent_ != Spent::kNothing) throw OverBudget();
}

void charge_allocation(size_t bytes) {
  if (current != nullptr) current->charge(bytes);
}

}  // namespace millrace::grammar
