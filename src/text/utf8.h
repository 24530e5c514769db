// UTF-8 as the tokenizers see it: characters one by one, invalid bytes marked, never refused.
// An invalid part is the longest prefix of a well-formed character (Unicode 15, section 3.9, U+FFFD practice).
// Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace millrace::text {

struct Rune {
  uint32_t code = 0xFFFD;  // U+FFFD when not valid
  uint32_t n_bytes = 1;    // >= 1; of an invalid part: its length
  bool valid = false;
};

// The character that starts at byte `at` (at < text.size()).
Rune rune_at(std::string_view text, size_t at);
void append_rune(std::string& out, uint32_t code);
// Every invalid part becomes U+FFFD.
std::string repair_utf8(std::string_view text);
// Length of an unfinished character at the end that more bytes could complete: 0..3.
size_t unfinished_tail_bytes(std::string_view text);
// End of the valid (or invalid) run that starts at `at`.
size_t end_of_run(std::string_view text, size_t at, bool valid);

}  // namespace millrace::text
