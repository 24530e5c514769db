#include "weights/name_check.h"

#include <fmt/core.h>

#include <cstddef>
#include <cstdint>

#include "base/result.h"

namespace millrace::weights {
namespace {

// Bytes of the well-formed UTF-8 sequence at the start of text, or 0 (Unicode 15, table 3-7).
size_t utf8_length(std::string_view text) {
  auto byte = [text](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  auto tail = [&](size_t i) { return (byte(i) & 0xC0u) == 0x80u; };
  uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return tail(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    bool overlong = lead == 0xE0 && byte(1) < 0xA0;
    bool surrogate = lead == 0xED && byte(1) > 0x9F;
    return tail(1) && tail(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    bool overlong = lead == 0xF0 && byte(1) < 0x90;
    bool beyond = lead == 0xF4 && byte(1) > 0x8F;
    return tail(1) && tail(2) && tail(3) && !overlong && !beyond ? 4 : 0;
  }
  return 0;
}

}  // namespace

bool is_clean_name(std::string_view name) {
  while (!name.empty()) {
    auto first = static_cast<uint8_t>(name.front());
    if (first < 0x20 || first == 0x7F) return false;
    size_t n = utf8_length(name);
    if (n == 0) return false;
    name.remove_prefix(n);
  }
  return true;
}

std::string show_name(std::string_view name) {
  constexpr size_t kMaxBytes = 64;
  if (is_clean_name(name)) return quote_for_message(name, kMaxBytes);
  std::string out;
  for (size_t i = 0; i < name.size() && i < kMaxBytes; ++i) {
    auto byte = static_cast<uint8_t>(name[i]);
    if (byte >= 0x20 && byte < 0x7F) {
      out += name[i];
    } else {
      out += fmt::format("\\x{:02x}", byte);
    }
  }
  if (name.size() > kMaxBytes) out += "...";
  return out;
}

}  // namespace millrace::weights
