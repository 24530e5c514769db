#include "base/log_event.h"

#include <atomic>
#include <cstdio>
#include <ctime>
#include <string>

#include "base/json.h"

namespace millrace {
namespace {

constexpr int64_t kMsPerSecond = 1000;

std::atomic<LogFormat>& format_setting() {
  static std::atomic<LogFormat> format{LogFormat::kText};
  return format;
}

std::string stamp(const char* pattern, int64_t unix_ms) {
  auto seconds = static_cast<std::time_t>(unix_ms / kMsPerSecond);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  size_t n = std::strftime(text, sizeof text, pattern, &parts);
  return fmt::format("{}.{:03}", std::string_view(text, n), unix_ms % kMsPerSecond);
}

// A log line is one line, whatever is in it.
std::string one_line(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c < ' ' || c > '~') c = '?';
  }
  return out;
}

void append_value(std::string& out, const LogField& field, bool json) {
  if (const auto* text = std::get_if<std::string_view>(&field.value)) {
    if (json) {
      append_json_string(out, one_line(*text));
    } else {
      out += one_line(*text);
    }
  } else if (const auto* whole = std::get_if<int64_t>(&field.value)) {
    out += std::to_string(*whole);
  } else {
    append_json_double(out, std::get<double>(field.value));
  }
}

}  // namespace

void set_log_format(LogFormat format) { format_setting().store(format, std::memory_order_relaxed); }

std::string log_text(LogFormat format, int64_t unix_ms, LogLevel level, std::string_view message,
                     std::span<const LogField> fields) {
  constexpr const char* kNames[] = {"debug", "info", "warning", "error"};
  const char* name = kNames[static_cast<int>(level)];
  std::string out;
  if (format == LogFormat::kText) {
    out = fmt::format("{} {}: {}", stamp("%H:%M:%S", unix_ms), name, message);
    for (const LogField& field : fields) {
      out.append(" ").append(field.name).append("=");
      append_value(out, field, false);
    }
    return out;
  }
  out = fmt::format(R"({{"time":"{}Z","level":"{}","message":)", stamp("%Y-%m-%dT%H:%M:%S", unix_ms), name);
  append_json_string(out, one_line(message));
  for (const LogField& field : fields) {
    out += ',';
    append_json_string(out, field.name);
    out += ':';
    append_value(out, field, true);
  }
  out += '}';
  return out;
}

void log_event(LogLevel level, std::string_view message, std::span<const LogField> fields) {
  if (!log_enabled(level)) return;
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  int64_t unix_ms = int64_t{now.tv_sec} * kMsPerSecond + now.tv_nsec / 1'000'000;
  LogFormat format = format_setting().load(std::memory_order_relaxed);
  std::string line = log_text(format, unix_ms, level, message, fields);
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stderr);
}

void log_line(LogLevel level, std::string_view line) { log_event(level, line, {}); }

}  // namespace millrace
