#include "grammar/short_texts.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/philox.h"

namespace millrace::grammar {
namespace {

uint64_t key_of(std::string_view text) {
  uint64_t key = ShortTexts::kEmpty;
  for (char c : text) key = ShortTexts::longer(key, static_cast<uint8_t>(c));
  return key;
}

TEST(ShortTexts, HoldsWhatItWasGivenAndNothingElse) {
  std::set<std::string, std::less<>> given;
  auto random_text = [](uint32_t i, uint32_t part) {
    PhiloxBlock bits = philox4x32(part, {i, 0, 0, 0});
    std::string text;
    for (uint32_t n = 0; n < 1 + bits[0] % 9; ++n) text += static_cast<char>(bits[1] >> (3 * n) & 7);
    return text;
  };
  for (uint32_t i = 0; i < 3000; ++i) given.insert(random_text(i, 0));
  ShortTexts texts(std::vector<std::string_view>(given.begin(), given.end()));
  size_t n_held = 0;
  for (uint32_t i = 0; i < 3000; ++i) {
    for (uint32_t part : {0u, 1u}) {
      std::string text = random_text(i, part);
      if (text.size() > ShortTexts::kMostBytes) continue;
      EXPECT_EQ(texts.contains(key_of(text)), given.contains(text));
      n_held += given.contains(text) ? 1u : 0u;
    }
  }
  EXPECT_GT(n_held, 3000u / 2);
  EXPECT_FALSE(ShortTexts({}).contains(key_of("a")));
}

}  // namespace
}  // namespace millrace::grammar
