// Classes of characters as the `tokenizers` library draws them (Rust's char methods and the unicode_categories crate).
// Thread: any.
#pragma once

#include <cstdint>

namespace millrace::text {

bool is_space_rune(uint32_t code);        // White_Space
bool is_number_rune(uint32_t code);       // Nd, Nl, No
bool is_punctuation_rune(uint32_t code);  // ASCII punctuation or category P
bool is_word_rune(uint32_t code);         // \w: Alphabetic, M, Nd, Pc, Join_Control
bool is_control_rune(uint32_t code);      // category Cc, Cf, Co, but not tab, newline, return
bool is_nonspacing_mark(uint32_t code);   // Mn
bool is_chinese_rune(uint32_t code);      // CJK ideographs as BERT lists them

}  // namespace millrace::text
