// Lengths of JSON strings, counted beside the core instead of inside it: a counted repetition costs the core a mask per
// count when it compiles, or milliseconds per mask when it runs, while one bitset per length costs neither.
//  1. A bounded string is an unbounded one in the grammar, and right behind its opening quote the grammar also takes a
//     marker: control characters that no JSON string holds, which name the bounds. Tokens with such bytes are never
//     allowed, so markers are only ever asked about.
//  2. Where several strings are possible at one place all their bounds hold: never more than the schema allows.
// Thread: TokenLengths any; StringGuard is its matcher's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace millrace::grammar {

struct LengthBounds {
  uint32_t min = 0;
  uint32_t max = UINT32_MAX;  // characters; an escape is one
  bool operator==(const LengthBounds&) const = default;
};

constexpr size_t kMaxLengthBounds = 4096;  // different ones in one grammar
// A marker is its first byte and kMarkerDigits digits of 4 bits, the highest first.
constexpr int kMarkerByte = 0x0E;
constexpr int kMarkerDigit = 0x10;  // the byte of digit 0
constexpr int kLastMarkerDigit = 0x1F;
constexpr size_t kMarkerBase = 16;
constexpr int kMarkerDigits = 3;
constexpr bool is_marker_digit(int byte) { return byte >= kMarkerDigit && byte <= kLastMarkerDigit; }
constexpr bool in_marker(int byte) { return byte == kMarkerByte || is_marker_digit(byte); }
// The marker of bounds number `index`.
std::string length_marker(size_t index);

// Of UTF-8.
constexpr bool starts_character(int byte) { return (byte & 0xC0) != 0x80; }

// What a vocabulary's tokens do to a string that is open where they begin.
class TokenLengths {
 public:
  explicit TokenLengths(std::span<const std::string> tokens);

  // In an open string that may take at most `room` more characters and needs at least `need`: clears what does not fit.
  void cut(std::span<uint32_t> mask, uint32_t room, uint32_t need) const;
  // Tokens that hold a marker's byte.
  void cut_markers(std::span<uint32_t> mask) const;
  // Never allowed inside of a string.
  bool reopens(TokenId token) const;
  // Tokens that begin outside of a string and hold something behind an opening quote, by their text up to that quote.
  const std::map<std::string, std::vector<TokenId>, std::less<>>& openers() const { return openers_; }

 private:
  using Bits = std::vector<uint32_t>;
  size_t n_words_;
  std::vector<Bits> longer_;   // [r]: tokens with more than r characters before a closing quote
  std::vector<Bits> closers_;  // [r]: tokens that close with fewer than r characters before
  Bits markers_;
  Bits reopen_;  // close the string and put something into a further one
  std::map<std::string, std::vector<TokenId>, std::less<>> openers_;
};

// Follows the text of one answer: whether a string is open and how long it is.
class StringGuard {
 public:
  // For each byte that was accepted. `bounds_here` is called behind each opening quote.
  void advance(std::string_view text, const std::function<LengthBounds(size_t n_bytes)>& bounds_here);

  bool in_string() const { return in_string_; }
  bool escaped() const { return escaped_; }  // a backslash is open
  uint32_t room() const { return bounds_.max == UINT32_MAX ? UINT32_MAX : bounds_.max - length_; }
  uint32_t need() const { return bounds_.min > length_ ? bounds_.min - length_ : 0; }
  // Whether a text keeps to the bounds of what it opens and closes; bounds_here as in advance().
  bool allows(std::string_view text, const std::function<LengthBounds(size_t n_bytes)>& bounds_here) const;

 private:
  bool in_string_ = false;
  bool escaped_ = false;
  uint32_t length_ = 0;
  LengthBounds bounds_;
};

}  // namespace millrace::grammar
