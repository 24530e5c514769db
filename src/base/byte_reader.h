// ByteReader: the only way untrusted bytes become numbers. Every read is checked against the bytes left before
// anything is allocated; nothing is reinterpreted in place. Little-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace millrace {

class ByteReader {
 public:
  explicit ByteReader(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  size_t offset() const { return offset_; }                // bytes from the start
  size_t left() const { return bytes_.size() - offset_; }  // bytes not read yet

  // A little-endian integer or float; nothing (and no progress) when fewer bytes are left.
  template <class T>
  requires std::is_arithmetic_v<T> std::optional<T> read() {
    if (left() < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, bytes_.data() + offset_, sizeof(T));
    offset_ += sizeof(T);
    return value;
  }

  // A view of the next n bytes; nothing when fewer are left.
  std::optional<std::span<const uint8_t>> take(uint64_t n) {
    if (n > left()) return std::nullopt;
    auto view = bytes_.subspan(offset_, static_cast<size_t>(n));
    offset_ += static_cast<size_t>(n);
    return view;
  }

 private:
  std::span<const uint8_t> bytes_;
  size_t offset_ = 0;
};

// a * b and a + b, or nothing on overflow.
constexpr std::optional<uint64_t> checked_mul(uint64_t a, uint64_t b) {
  uint64_t out = 0;
  if (__builtin_mul_overflow(a, b, &out)) return std::nullopt;
  return out;
}
constexpr std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) {
  uint64_t out = 0;
  if (__builtin_add_overflow(a, b, &out)) return std::nullopt;
  return out;
}

inline std::string_view as_text(std::span<const uint8_t> bytes) {
  return {static_cast<const char*>(static_cast<const void*>(bytes.data())), bytes.size()};
}
inline std::span<const uint8_t> as_bytes(std::string_view text) {
  return {static_cast<const uint8_t*>(static_cast<const void*>(text.data())), text.size()};
}

}  // namespace millrace
