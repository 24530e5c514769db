// ShortTexts: which texts of few bytes are tokens, asked for in some nanoseconds. A text is a key: 1, and its bytes
// behind it, the first one highest.
// Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace millrace::grammar {

class ShortTexts {
 public:
  static constexpr size_t kMostBytes = 7;
  static constexpr uint64_t kEmpty = 1;

  static uint64_t longer(uint64_t key, uint8_t byte) { return key << 8 | byte; }

  // Longer ones are left out.
  explicit ShortTexts(const std::vector<std::string_view>& texts);
  bool contains(uint64_t key) const;

 private:
  size_t slot_of(uint64_t key) const;  // that holds it, or is free for it
  std::vector<uint64_t> slots_;        // open addressing, a power of two of them; 0: free
};

}  // namespace millrace::grammar
