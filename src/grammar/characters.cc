#include "grammar/characters.h"

namespace millrace::grammar {
namespace {

std::optional<uint32_t> hex_digit(unsigned char c) {
  if (c >= '0' && c <= '9') return c - uint32_t{'0'};
  if (c >= 'a' && c <= 'f') return c - uint32_t{'a'} + 10;
  if (c >= 'A' && c <= 'F') return c - uint32_t{'A'} + 10;
  return std::nullopt;
}

}  // namespace

// Well-formed UTF-8 of The Unicode Standard 15.0, table 3-7.
Character character_at(std::string_view text, size_t at) {
  auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  uint32_t lead = byte(at);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xC2 || lead > 0xF4) return {};
  size_t n = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  uint32_t value = lead & (0xFFu >> (n + 1));
  for (size_t i = 1; i < n; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return {};
    value = value << 6 | (byte(at + i) & 0x3F);
  }
  constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < kLeast[n] || value > 0x10FFFF || surrogate) return {};
  return {value, n};
}

uint32_t CharReader::next() {
  Character character = character_at(text_, at_);
  at_ += character.n_bytes;
  return character.value;
}

bool CharReader::take(char c) {
  if (at_end() || text_[at_] != c) return false;
  ++at_;
  return true;
}

bool CharReader::take(std::string_view word) {
  if (text_.substr(at_, word.size()) != word) return false;
  at_ += word.size();
  return true;
}

std::optional<uint32_t> CharReader::number() {
  constexpr uint32_t kMost = 1u << 30;
  if (peek() < '0' || peek() > '9') return std::nullopt;
  uint64_t value = 0;
  while (peek() >= '0' && peek() <= '9') {
    value = value * 10 + (peek() - uint32_t{'0'});
    if (value >= kMost) return std::nullopt;
    ++at_;
  }
  return static_cast<uint32_t>(value);
}

std::optional<uint32_t> CharReader::hex(size_t n_digits) {
  uint32_t value = 0;
  for (size_t i = 0; i < n_digits; ++i) {
    auto digit = hex_digit(peek());
    if (!digit) return std::nullopt;
    value = value << 4 | *digit;
    ++at_;
  }
  return value;
}

std::optional<uint32_t> CharReader::hex_until(char end) {
  constexpr size_t kMostDigits = 6;
  uint32_t value = 0;
  for (size_t i = 0; i <= kMostDigits; ++i) {
    if (i > 0 && take(end)) return value;
    auto digit = hex_digit(peek());
    if (!digit || i == kMostDigits) return std::nullopt;
    value = value << 4 | *digit;
    ++at_;
  }
  return std::nullopt;
}

}  // namespace millrace::grammar
