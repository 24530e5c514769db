// Work whose instructions are counted: run under callgrind, with dumps behind this function, by
// tools/check/counted_work.py, which knows from the lines that are printed what each dump is of. Without callgrind it
// just runs. Thread: any.
#pragma once

#include <cstddef>
#include <cstdio>
#include <functional>
#include <string>

namespace millrace::testing {

// Its name is given to callgrind.
[[gnu::noinline]] inline void counted_work(const std::function<void()>& work) { work(); }

// size: what the work may be in proportion to; all works of one name are compared with each other.
inline void count_work(const std::string& name, size_t size, const std::function<void()>& work) {
  work();  // what is done once is done now
  std::printf("counted: %s: %zu\n", name.c_str(), size);
  std::fflush(stdout);
  counted_work(work);
}

}  // namespace millrace::testing
