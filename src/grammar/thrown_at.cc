#include "grammar/thrown_at.h"

#include <algorithm>

namespace millrace::grammar {

std::string thrown_at(std::string_view what) {
  constexpr std::string_view kOther = "an exception";
  constexpr size_t kStamp = std::string_view("[12:00:00] ").size();
  if (what.size() < kStamp || what.front() != '[' || what[kStamp - 2] != ']') return std::string(kOther);
  what.remove_prefix(kStamp);
  what = what.substr(0, what.find(": "));
  size_t colon = what.rfind(':');
  if (colon == std::string_view::npos) return std::string(kOther);
  std::string_view line = what.substr(colon + 1);
  std::string_view path = what.substr(0, colon);
  std::string_view file = path.substr(path.rfind('/') + 1);  // all of it without a folder
  auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (line.empty() || !std::all_of(line.begin(), line.end(), is_digit) || !file.ends_with(".cc")) {
    return std::string(kOther);
  }
  return std::string(file) + ":" + std::string(line);
}

}  // namespace millrace::grammar
