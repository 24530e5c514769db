// strftime_now(): a date as strftime prints it in the C locale. Civil dates from days: Howard Hinnant,
// "chrono-Compatible Low-Level Date Algorithms", days_from_civil and civil_from_days.
#include <fmt/core.h>

#include <array>
#include <string>

#include "text/jinja_filters.h"

namespace millrace::text::jinja {
namespace {

constexpr std::array<std::string_view, 12> kMonths = {"January",   "February", "March",    "April",
                                                      "May",       "June",     "July",     "August",
                                                      "September", "October",  "November", "December"};
constexpr std::array<std::string_view, 7> kDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                   "Thursday", "Friday", "Saturday"};
constexpr int64_t kDaySeconds = 86400;

struct Moment {
  int64_t year = 1970;
  int month = 1;  // 1..12
  int day = 1;
  int year_day = 1;  // 1..366
  int week_day = 4;  // 0 = Sunday
  int hour = 0;
  int minute = 0;
  int second = 0;
};

int64_t days_from_civil(int64_t y, int m, int d) {
  y -= m <= 2 ? 1 : 0;
  int64_t era = (y >= 0 ? y : y - 399) / 400;
  int64_t yoe = y - era * 400;
  int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
  return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

Moment moment_of(int64_t unix_seconds) {
  int64_t days = unix_seconds / kDaySeconds - (unix_seconds % kDaySeconds < 0 ? 1 : 0);
  auto seconds = static_cast<int>(unix_seconds - days * kDaySeconds);
  int64_t z = days + 719468;
  int64_t era = (z >= 0 ? z : z - 146096) / 146097;
  int64_t doe = z - era * 146097;
  int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  int64_t mp = (5 * doy + 2) / 153;
  Moment out;
  out.day = static_cast<int>(doy - (153 * mp + 2) / 5 + 1);
  out.month = static_cast<int>(mp < 10 ? mp + 3 : mp - 9);
  out.year = yoe + era * 400 + (out.month <= 2 ? 1 : 0);
  out.year_day = static_cast<int>(days - days_from_civil(out.year, 1, 1)) + 1;
  out.week_day = static_cast<int>(((days % 7) + 11) % 7);
  out.hour = seconds / 3600;
  out.minute = seconds / 60 % 60;
  out.second = seconds % 60;
  return out;
}

std::string number(int value, int width, bool plain) {
  return plain ? fmt::format("{}", value) : fmt::format("{:0{}}", value, width);
}

// One conversion; plain is glibc's "-" flag (no padding).
std::string convert(char code, bool plain, const Moment& t, int64_t unix_seconds) {
  int hour12 = t.hour % 12 == 0 ? 12 : t.hour % 12;
  switch (code) {
    case 'Y':
      return fmt::format("{}", t.year);
    case 'y':
      return number(static_cast<int>(t.year % 100), 2, plain);
    case 'm':
      return number(t.month, 2, plain);
    case 'd':
      return number(t.day, 2, plain);
    case 'e':
      return plain ? fmt::format("{}", t.day) : fmt::format("{:2}", t.day);
    case 'B':
      return std::string(kMonths[static_cast<size_t>(t.month - 1)]);
    case 'b':
    case 'h':
      return std::string(kMonths[static_cast<size_t>(t.month - 1)].substr(0, 3));
    case 'A':
      return std::string(kDays[static_cast<size_t>(t.week_day)]);
    case 'a':
      return std::string(kDays[static_cast<size_t>(t.week_day)].substr(0, 3));
    case 'w':
      return number(t.week_day, 1, plain);
    case 'u':
      return number(t.week_day == 0 ? 7 : t.week_day, 1, plain);
    case 'j':
      return number(t.year_day, 3, plain);
    case 'H':
      return number(t.hour, 2, plain);
    case 'I':
      return number(hour12, 2, plain);
    case 'M':
      return number(t.minute, 2, plain);
    case 'S':
      return number(t.second, 2, plain);
    case 'f':
      return "000000";
    case 'p':
      return t.hour < 12 ? "AM" : "PM";
    case 's':
      return fmt::format("{}", unix_seconds);
    case 'Z':
    case 'z':
      return "";
    case 'n':
      return "\n";
    case 't':
      return "\t";
    case '%':
      return "%";
    default:
      return {'%', code};
  }
}

}  // namespace

std::string format_time(std::string_view format, int64_t unix_seconds) {
  Moment t = moment_of(unix_seconds);
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 >= format.size()) {
      out += format[i];
      continue;
    }
    bool plain = format[i + 1] == '-' && i + 2 < format.size();
    i += plain ? 2 : 1;
    switch (format[i]) {
      case 'F':
        out += format_time("%Y-%m-%d", unix_seconds);
        break;
      case 'T':
      case 'X':
        out += format_time("%H:%M:%S", unix_seconds);
        break;
      case 'R':
        out += format_time("%H:%M", unix_seconds);
        break;
      case 'D':
      case 'x':
        out += format_time("%m/%d/%y", unix_seconds);
        break;
      case 'c':
        out += format_time("%a %b %e %H:%M:%S %Y", unix_seconds);
        break;
      default:
        out += convert(format[i], plain, t, unix_seconds);
    }
  }
  return out;
}

}  // namespace millrace::text::jinja
