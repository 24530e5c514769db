// What a process gives up for good once it needs it no more: starting programs, and opening sockets. A seccomp filter
// (a list of allowed and forbidden system calls in the kernel) sees to it; a forbidden call fails with EPERM.
// Linux on x86-64. Thread: any; it holds for all threads, those to come, and child processes.
#pragma once

#include "base/result.h"

namespace millrace {

enum class Sandbox : uint8_t {
  kOff,
  kAuto,  // where the kernel has it; a warning where not
  kOn     // or nothing is served
};

struct SandboxRules {
  bool sockets = false;  // may be opened: something connects while the process runs
};

// kResource: what the kernel says; then nothing is forbidden.
Result<void> enter_sandbox(const SandboxRules& rules);

}  // namespace millrace
