// The five macros of the program: CHECK, DCHECK, LOG, TRY, FAULT_POINT. Nothing else is a macro.
#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace {

enum class LogLevel : int { kDebug, kInfo, kWarning, kError };

// Thread: any. Writes one line to stderr when level >= the level set.
void log_line(LogLevel level, std::string_view line);
void set_log_level(LogLevel level);
bool log_enabled(LogLevel level);

[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& detail);

// True when the named fault is armed (tests only; see base/fault.h). The shipped build compiles FAULT_POINT to false.
bool fault_armed(std::string_view name);

}  // namespace millrace

// Our own bug: prints and aborts. Must be unreachable from any input. CHECK(cond) or CHECK(cond, "fmt {}", value).
#define CHECK(condition, ...)                                                                  \
  do {                                                                                         \
    if (!(condition)) [[unlikely]]                                                             \
      ::millrace::check_failed(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__)); \
  } while (false)

#ifdef NDEBUG
#define DCHECK(condition) \
  do {                    \
  } while (false && (condition))
#else
#define DCHECK(condition) CHECK(condition)
#endif

// LOG(LogLevel::kInfo, "loaded {} tensors", n)
#define LOG(level, ...)                                                                          \
  do {                                                                                           \
    if (::millrace::log_enabled(level)) ::millrace::log_line(level, ::fmt::format(__VA_ARGS__)); \
  } while (false)

// auto x = TRY(f());  returns f's error from the calling function, else yields its value. TRY(g()) for Result<void>.
#define TRY(expression)                \
  ({                                   \
    auto try_result = (expression);    \
    if (!try_result.ok()) [[unlikely]] \
      return try_result.take_error();  \
    std::move(try_result).value();     \
  })

#ifdef MILLRACE_FAULTS
#define FAULT_POINT(name) ::millrace::fault_armed(name)
#else
#define FAULT_POINT(name) false
#endif
