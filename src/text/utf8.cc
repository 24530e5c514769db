// UTF-8 decoding with repair.
#include "text/utf8.h"

namespace millrace::text {
namespace {

struct Lead {
  uint32_t n_bytes = 0;  // 0: not a lead byte
  uint8_t low = 0x80;    // range of the second byte
  uint8_t high = 0xBF;
};

Lead classify(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {};
}

struct Scan {
  uint32_t n_good = 0;  // bytes of the well-formed prefix
  uint32_t n_want = 0;  // bytes of the whole character
  uint32_t code = 0;
};

Scan scan(std::string_view text, size_t at) {
  const auto first = static_cast<uint8_t>(text[at]);
  const Lead lead = classify(first);
  if (lead.n_bytes == 0) return {1, 0, 0};
  if (lead.n_bytes == 1) return {1, 1, first};
  uint32_t code = first & (0x7Fu >> lead.n_bytes);
  for (uint32_t i = 1; i < lead.n_bytes; ++i) {
    if (at + i >= text.size()) return {i, lead.n_bytes, 0};
    const auto byte = static_cast<uint8_t>(text[at + i]);
    const uint8_t low = i == 1 ? lead.low : 0x80;
    const uint8_t high = i == 1 ? lead.high : 0xBF;
    if (byte < low || byte > high) return {i, 0, 0};
    code = (code << 6) | (byte & 0x3Fu);
  }
  return {lead.n_bytes, lead.n_bytes, code};
}

}  // namespace

Rune rune_at(std::string_view text, size_t at) {
  const Scan found = scan(text, at);
  if (found.n_good == found.n_want) return {found.code, found.n_good, true};
  return {0xFFFD, found.n_good, false};
}

void append_rune(std::string& out, uint32_t code) {
  const auto put = [&out](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | (code >> 6));
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | (code >> 12));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | (code >> 18));
    put(0x80 | ((code >> 12) & 0x3F));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

std::string repair_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Rune rune = rune_at(text, at);
    if (rune.valid) {
      out.append(text.substr(at, rune.n_bytes));
    } else {
      append_rune(out, 0xFFFD);
    }
    at += rune.n_bytes;
  }
  return out;
}

size_t unfinished_tail_bytes(std::string_view text) {
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const size_t at = text.size() - back;
    const auto byte = static_cast<uint8_t>(text[at]);
    if ((byte & 0xC0) == 0x80) continue;
    const Scan found = scan(text, at);
    return found.n_good == back && found.n_want > back ? back : 0;
  }
  return 0;
}

size_t end_of_run(std::string_view text, size_t at, bool valid) {
  while (at < text.size()) {
    const Rune rune = rune_at(text, at);
    if (rune.valid != valid) break;
    at += rune.n_bytes;
  }
  return at;
}

}  // namespace millrace::text
