// The GPT-2 byte alphabet: each byte has one printable character; byte-level vocabularies are written in it.
// Source: openai/gpt-2 encoder.py, bytes_to_unicode(). Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace millrace::text {

uint32_t rune_of_byte(uint8_t byte);
std::optional<uint8_t> byte_of_rune(uint32_t code);
std::string to_byte_alphabet(std::string_view bytes);
// Nothing when a character is outside the alphabet.
std::optional<std::string> from_byte_alphabet(std::string_view text);

}  // namespace millrace::text
