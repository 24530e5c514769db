// What one compilation may spend. The core knows no limits of its own, so they are looked at where it allocates: a
// program that wants them kept replaces operator new by one that calls charge_allocation() first (src/app/main.cc
// does). Thread: the budget is the calling thread's own.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <new>

namespace millrace::grammar {

enum class Spent : uint8_t { kNothing, kTime, kMemory };

// Thrown by charge_allocation(); caught where the core is called.
class OverBudget : public std::bad_alloc {
 public:
  const char* what() const noexcept override { return "over budget"; }
};

// While one lives, allocations of this thread count.
class CompileBudget {
 public:
  CompileBudget(std::chrono::milliseconds time, size_t bytes);
  ~CompileBudget();
  CompileBudget(const CompileBudget&) = delete;
  CompileBudget& operator=(const CompileBudget&) = delete;

  // What ran out, or kNothing.
  Spent spent() const { return spent_; }
  void charge(size_t bytes);

 private:
  std::chrono::steady_clock::time_point deadline_;
  size_t bytes_left_;
  uint32_t until_clock_ = 0;
  Spent spent_ = Spent::kNothing;
};

// Throws OverBudget when this thread has a budget that is spent. Costs one comparison otherwise.
void charge_allocation(size_t bytes);

}  // namespace millrace::grammar
