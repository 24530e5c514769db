// Character classes over utf8proc's tables.
#include "text/rune_class.h"

#include <utf8proc.h>

namespace millrace::text {
namespace {

utf8proc_category_t category_of(uint32_t code) { return utf8proc_category(static_cast<utf8proc_int32_t>(code)); }

bool in_range(uint32_t code, uint32_t low, uint32_t high) { return code >= low && code <= high; }

}  // namespace

bool is_space_rune(uint32_t code) {
  if (in_range(code, 0x09, 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0) return true;
  return code == 0x1680 || in_range(code, 0x2000, 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F ||
         code == 0x205F || code == 0x3000;
}

bool is_number_rune(uint32_t code) {
  const auto category = category_of(code);
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_NO;
}

bool is_punctuation_rune(uint32_t code) {
  if (code < 0x80) {
    return in_range(code, 0x21, 0x2F) || in_range(code, 0x3A, 0x40) || in_range(code, 0x5B, 0x60) ||
           in_range(code, 0x7B, 0x7E);
  }
  const auto category = category_of(code);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

bool is_word_rune(uint32_t code) {
  const auto category = category_of(code);
  if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) return true;
  if (category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME) return true;
  if (category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_PC) {
    return true;
  }
  // Other_Alphabetic outside M, and Join_Control (PropList.txt).
  return in_range(code, 0x24B6, 0x24E9) || in_range(code, 0x1F130, 0x1F149) || in_range(code, 0x1F150, 0x1F169) ||
         in_range(code, 0x1F170, 0x1F189) || code == 0x200C || code == 0x200D;
}

bool is_control_rune(uint32_t code) {
  if (code == '\t' || code == '\n' || code == '\r') return false;
  const auto category = category_of(code);
  return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_CO;
}

bool is_nonspacing_mark(uint32_t code) { return category_of(code) == UTF8PROC_CATEGORY_MN; }

bool is_chinese_rune(uint32_t code) {
  return in_range(code, 0x4E00, 0x9FFF) || in_range(code, 0x3400, 0x4DBF) || in_range(code, 0x20000, 0x2A6DF) ||
         in_range(code, 0x2A700, 0x2B73F) || in_range(code, 0x2B740, 0x2B81F) || in_range(code, 0x2B920, 0x2CEAF) ||
         in_range(code, 0xF900, 0xFAFF) || in_range(code, 0x2F800, 0x2FA1F);
}

}  // namespace millrace::text
