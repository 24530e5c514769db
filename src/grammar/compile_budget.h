// What one compilation, or one token of a constraint (matcher.cc), may spend. The core knows no limits of its own, so
// they are looked at where it allocates: a program that wants them kept replaces operator new by one that calls
// charge_allocation() first (charged_new.cc); and where it follows the bytes of tokens, which allocates nothing
// (cmake/xgrammar.cmake). Work is counted in steps, the same on every machine and under any load; time is the thread's
// own on a core, a last resort for all other work. Thread: the budget is the calling thread's own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

namespace millrace::grammar {

enum class Spent : uint8_t { kNothing, kTime, kWork, kMemory };

constexpr uint64_t kStepsOfAllocation = 6;  // and the work beside it: 100 to 250 ns where a step takes 25
constexpr uint64_t kBytesPerStep = 1024;    // allocated ones: the pages of large blocks are new

struct CompileLimits {
  int64_t core_ms = 0;  // of the thread's own time
  uint64_t steps = 0;   // a byte of a token that the parser follows is one, an allocation kStepsOfAllocation
  uint64_t bytes = 0;   // asked for in all, freed ones included
};

// Thrown by the functions below; caught where the core is called.
class OverBudget : public std::bad_alloc {
 public:
  const char* what() const noexcept override { return "over budget"; }
};

// While one lives, allocations of this thread count.
class CompileBudget {
 public:
  explicit CompileBudget(const CompileLimits& limits);
  ~CompileBudget();
  CompileBudget(const CompileBudget&) = delete;
  CompileBudget& operator=(const CompileBudget&) = delete;

  // While one lives, allocations of this thread do not count.
  class Pause {
   public:
    Pause();
    ~Pause();
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    CompileBudget* paused_;
  };

  // What ran out, or kNothing.
  Spent spent() const { return spent_; }
  uint64_t n_steps() const { return n_steps_; }
  uint64_t n_bytes() const { return n_bytes_; }
  void charge(uint64_t steps, size_t bytes);

 private:
  CompileLimits limits_;
  int64_t deadline_ns_;
  uint64_t n_steps_ = 0;
  uint64_t n_bytes_ = 0;
  Spent spent_ = Spent::kNothing;
};

// Throw OverBudget when this thread has a budget that is spent. Cost one comparison otherwise.
void charge_allocation(size_t bytes);
void charge_steps(size_t n);

}  // namespace millrace::grammar
