// Log lines with named values, and the format of all log lines: text for people, or one JSON object a line.
//   22:44:01.123 info: POST /v1/models 200 ms=0.4 request_id=abc
//   {"time":"2026-11-21T22:44:01.123Z","level":"info","message":"POST /v1/models 200","ms":0.4,"request_id":"abc"}
// LOG of base/macros.h writes lines without values in the same format.
// Thread: any.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <variant>

#include "base/macros.h"

namespace millrace {

enum class LogFormat : uint8_t { kText, kJson };
void set_log_format(LogFormat format);

struct LogField {
  std::string_view name;
  std::variant<std::string_view, int64_t, double> value;
};

// One line to stderr when `level` is logged. Bytes that are no ASCII text are replaced.
void log_event(LogLevel level, std::string_view message, std::span<const LogField> fields);
// The line as it would be written, without its end; `unix_ms` is its time.
std::string log_text(LogFormat format, int64_t unix_ms, LogLevel level, std::string_view message,
                     std::span<const LogField> fields);

}  // namespace millrace
