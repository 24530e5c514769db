// operator new of programs that compile constraints: allocations are where a compilation can be ended
// (compile_budget.h). Not in the library: each program names this file among its sources.
#include <cstdlib>
#include <new>

#include "grammar/compile_budget.h"

// weak: a sanitizer brings its own.
[[gnu::weak]] void* operator new(size_t size) {
  millrace::grammar::charge_allocation(size);
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
[[gnu::weak]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::weak]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }
