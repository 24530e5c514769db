#include "grammar/string_guard.h"

#include <algorithm>

namespace millrace::grammar {
namespace {

constexpr size_t kMaxCounted = 255;  // characters of one token

struct Prefix {
  size_t n_characters = 0;  // before the first quote that closes
  size_t close = std::string_view::npos;
};

// The part of a text that belongs to a string open at its beginning.
Prefix prefix_of(std::string_view text) {
  Prefix out;
  bool escaped = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (!escaped && c == '"') {
      out.close = i;
      return out;
    }
    if (!escaped && starts_character(c)) ++out.n_characters;
    escaped = !escaped && c == '\\';
  }
  return out;
}

void set_bit(std::vector<uint32_t>& bits, size_t i) { bits[i / 32] |= 1u << (i % 32); }

void clear(std::span<uint32_t> mask, const std::vector<uint32_t>& bits) {
  for (size_t i = 0; i < mask.size(); ++i) mask[i] &= ~bits[i];
}

}  // namespace

std::string length_marker(size_t index) {
  std::string out(1 + kMarkerDigits, static_cast<char>(kMarkerByte));
  for (size_t at = kMarkerDigits; at > 0; --at, index /= kMarkerBase) {
    out[at] = static_cast<char>(kMarkerDigit + index % kMarkerBase);
  }
  return out;
}

TokenLengths::TokenLengths(std::span<const std::string> tokens)
    : n_words_((tokens.size() + 31) / 32), markers_(n_words_), reopen_(n_words_) {
  std::vector<Prefix> prefixes;
  size_t longest = 0;
  for (const std::string& token : tokens) {
    prefixes.push_back(prefix_of(token));
    prefixes.back().n_characters = std::min(prefixes.back().n_characters, kMaxCounted);
    longest = std::max(longest, prefixes.back().n_characters);
  }
  longer_.assign(longest, Bits(n_words_));
  closers_.assign(longest + 1, Bits(n_words_));
  for (size_t i = 0; i < tokens.size(); ++i) {
    const std::string& token = tokens[i];
    const Prefix& prefix = prefixes[i];
    bool marked = std::ranges::any_of(token, [](char c) { return in_marker(c); });
    if (marked) set_bit(markers_, i);
    for (size_t r = 0; r < prefix.n_characters; ++r) set_bit(longer_[r], i);
    if (prefix.close != std::string_view::npos) {
      for (size_t r = prefix.n_characters + 1; r < closers_.size(); ++r) set_bit(closers_[r], i);
      size_t again = token.find('"', prefix.close + 1);
      if (again != std::string::npos && again + 1 < token.size()) set_bit(reopen_, i);
    }
    size_t quote = token.find('"');
    if (quote != std::string::npos && quote + 1 < token.size()) {
      openers_[token.substr(0, quote + 1)].push_back(static_cast<TokenId>(i));
    }
  }
}

void TokenLengths::cut(std::span<uint32_t> mask, uint32_t room, uint32_t need) const {
  if (room < longer_.size()) clear(mask, longer_[room]);
  if (need > 0) clear(mask, closers_[std::min<size_t>(need, closers_.size() - 1)]);
  clear(mask, reopen_);
}

void TokenLengths::cut_markers(std::span<uint32_t> mask) const { clear(mask, markers_); }

bool TokenLengths::reopens(TokenId token) const {
  auto bit = static_cast<size_t>(token);
  return (reopen_[bit / 32] >> (bit % 32) & 1) != 0;
}

void StringGuard::advance(std::string_view text, const std::function<LengthBounds(size_t n_bytes)>& bounds_here) {
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (!in_string_) {
      if (c != '"') continue;
      in_string_ = true;
      length_ = 0;
      bounds_ = bounds_here(i + 1);
    } else if (!escaped_ && c == '"') {
      in_string_ = false;
    } else {
      if (!escaped_ && starts_character(c)) ++length_;
      escaped_ = !escaped_ && c == '\\';
    }
  }
}

bool StringGuard::allows(std::string_view text, const std::function<LengthBounds(size_t n_bytes)>& bounds_here) const {
  StringGuard ahead = *this;
  for (size_t i = 0; i < text.size(); ++i) {
    bool was_open = ahead.in_string_;
    ahead.advance(text.substr(i, 1), [&](size_t) { return bounds_here(i + 1); });
    if (ahead.length_ > ahead.bounds_.max) return false;
    if (was_open && !ahead.in_string_ && ahead.length_ < ahead.bounds_.min) return false;
  }
  return true;
}

}  // namespace millrace::grammar
