#include "base/macros.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <set>

#include "base/fault.h"

namespace millrace {
namespace {

std::atomic<int>& level_setting() {
  static std::atomic<int> level{static_cast<int>(LogLevel::kInfo)};
  return level;
}

struct Faults {
  std::mutex mutex;
  std::set<std::string, std::less<>> armed;
};

Faults& faults() {
  static Faults instance;
  return instance;
}

// MILLRACE_KILL_AT=NAME[:N], read in builds with faults only: the process dies, as by kill -9, when it passes the
// point NAME for the N-th time.
struct KillPoint {
  KillPoint() {
    const char* text = std::getenv("MILLRACE_KILL_AT");
    if (text == nullptr) return;
    name = text;
    size_t colon = name.find(':');
    if (colon == std::string::npos) return;
    int n = 1;
    std::from_chars(name.data() + colon + 1, name.data() + name.size(), n);
    left = n;
    name.resize(colon);
  }
  std::string name;
  std::atomic<int> left{1};
};

void die_here(std::string_view name) {
  static KillPoint point;
  if (name == point.name && --point.left == 0) ::kill(::getpid(), SIGKILL);
}

}  // namespace

void set_log_level(LogLevel level) { level_setting().store(static_cast<int>(level), std::memory_order_relaxed); }

bool log_enabled(LogLevel level) { return static_cast<int>(level) >= level_setting().load(std::memory_order_relaxed); }

void check_failed(const char* file, int line, const char* condition, const std::string& detail) {
  std::fprintf(stderr, "CHECK failed at %s:%d: %s %s\n", file, line, condition, detail.c_str());
  std::abort();
}

void arm_fault(std::string_view name) {
  std::lock_guard lock(faults().mutex);
  faults().armed.emplace(name);
}

void disarm_faults() {
  std::lock_guard lock(faults().mutex);
  faults().armed.clear();
}

bool fault_armed(std::string_view name) {
  die_here(name);
  std::lock_guard lock(faults().mutex);
  return faults().armed.contains(name);
}

}  // namespace millrace
