// The GPT-2 byte alphabet: printable Latin-1 stays, the other 68 bytes take U+0100 and on in order.
#include "text/byte_alphabet.h"

#include <array>

#include "text/utf8.h"

namespace millrace::text {
namespace {

constexpr bool stays(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<uint16_t, 256> rune{};   // by byte
  std::array<int16_t, 0x144> byte{};  // by rune; -1: none
};

constexpr Alphabet make_alphabet() {
  Alphabet out;
  for (auto& entry : out.byte) entry = -1;
  uint16_t next = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const auto rune = stays(byte) ? static_cast<uint16_t>(byte) : next++;
    out.rune[byte] = rune;
    out.byte[rune] = static_cast<int16_t>(byte);
  }
  return out;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

uint32_t rune_of_byte(uint8_t byte) { return kAlphabet.rune[byte]; }

std::optional<uint8_t> byte_of_rune(uint32_t code) {
  if (code >= kAlphabet.byte.size() || kAlphabet.byte[code] < 0) return std::nullopt;
  return static_cast<uint8_t>(kAlphabet.byte[code]);
}

std::string to_byte_alphabet(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char byte : bytes) append_rune(out, rune_of_byte(static_cast<uint8_t>(byte)));
  return out;
}

std::optional<std::string> from_byte_alphabet(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Rune rune = rune_at(text, at);
    const auto byte = rune.valid ? byte_of_rune(rune.code) : std::nullopt;
    if (!byte) return std::nullopt;
    out.push_back(static_cast<char>(*byte));
    at += rune.n_bytes;
  }
  return out;
}

}  // namespace millrace::text
