#include "grammar/compile_budget.h"

#include <utility>

namespace millrace::grammar {
namespace {

constexpr uint32_t kClockEvery =
    64;  // allocations between two looks at the clock: some microseconds of the core's work

// The one thing that an allocation can find its budget by.
thread_local CompileBudget* current = nullptr;

}  // namespace

CompileBudget::CompileBudget(std::chrono::milliseconds time, size_t bytes)
    : deadline_(std::chrono::steady_clock::now() + time), bytes_left_(bytes) {
  current = this;
}

CompileBudget::~CompileBudget() { current = nullptr; }

// Bytes are those asked for in all, freed ones included: a bound on the work, and so on what can be held at once.
void CompileBudget::charge(size_t bytes) {
  if (spent_ != Spent::kNothing) return;  // unwinding may allocate
  if (bytes > bytes_left_) spent_ = Spent::kMemory;
  if (spent_ == Spent::kNothing && ++until_clock_ >= kClockEvery) {
    until_clock_ = 0;
    if (std::chrono::steady_clock::now() > deadline_) spent_ = Spent::kTime;
  }
  if (spent_ != Spent::kNothing) throw OverBudget();
  bytes_left_ -= bytes;
}

void charge_allocation(size_t bytes) {
  if (current != nullptr) current->charge(bytes);
}

}  // namespace millrace::grammar
