#include "grammar/short_texts.h"

#include <bit>

namespace millrace::grammar {

ShortTexts::ShortTexts(const std::vector<std::string_view>& texts) : slots_(std::bit_ceil(2 * texts.size() + 2), 0) {
  for (std::string_view text : texts) {
    if (text.size() > kMostBytes) continue;
    uint64_t key = kEmpty;
    for (char c : text) key = longer(key, static_cast<uint8_t>(c));
    slots_[slot_of(key)] = key;
  }
}

bool ShortTexts::contains(uint64_t key) const { return slots_[slot_of(key)] == key; }

size_t ShortTexts::slot_of(uint64_t key) const {
  constexpr uint64_t kGolden = 0x9E3779B97F4A7C15;  // of multiplicative hashing (Knuth, TAOCP 3, 6.4)
  size_t slot = static_cast<size_t>(key * kGolden >> 32) & (slots_.size() - 1);
  while (slots_[slot] != 0 && slots_[slot] != key) slot = (slot + 1) & (slots_.size() - 1);
  return slot;
}

}  // namespace millrace::grammar
