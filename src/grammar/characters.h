// CharReader: the characters of an untrusted text, one after the other, with their byte offsets.
// Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace millrace::grammar {

constexpr uint32_t kNotUtf8 = UINT32_MAX;

// The character that begins at text[at] (at < size) and its bytes; kNotUtf8 and 1 when it is not well-formed.
struct Character {
  uint32_t value = kNotUtf8;
  size_t n_bytes = 1;
};
Character character_at(std::string_view text, size_t at);

class CharReader {
 public:
  explicit CharReader(std::string_view text) : text_(text) {}

  bool at_end() const { return at_ >= text_.size(); }
  size_t position() const { return at_; }  // in bytes
  // The byte `ahead` bytes further, 0 past the end.
  unsigned char peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? static_cast<unsigned char>(text_[at_ + ahead]) : 0;
  }
  // The next character; kNotUtf8 for a byte that begins none. Not at the end.
  uint32_t next();
  bool take(char c);
  bool take(std::string_view word);
  // Decimal digits as a number below 2^30; nothing when there are none or it is larger.
  std::optional<uint32_t> number();
  std::optional<uint32_t> hex(size_t n_digits);
  std::optional<uint32_t> hex_until(char end);

 private:
  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace millrace::grammar
