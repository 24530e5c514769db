// TokenWalk against following each token by itself.
#include "grammar/token_walk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/philox.h"
#include "grammar/compile_budget.h"

namespace millrace::grammar {
namespace {

using Tokens = std::vector<std::pair<int32_t, std::string>>;
using Automaton = std::map<int32_t, WalkState>;

Tokens sorted(const std::vector<std::string>& texts) {
  Tokens out;
  for (size_t i = 0; i < texts.size(); ++i) out.emplace_back(static_cast<int32_t>(i), texts[i]);
  std::ranges::sort(out, {}, &std::pair<int32_t, std::string>::second);
  return out;
}

// One byte after the other, from the first edge that fits.
WalkOutcome follow(const Automaton& automaton, int32_t state, const std::string& text) {
  bool certain = true;
  for (size_t n = 0; n < text.size(); ++n) {
    const WalkState& at = automaton.at(state);
    auto byte = static_cast<unsigned char>(text[n]);
    std::array<int, 256> n_ways{};
    for (const WalkEdge& edge : at.edges) {
      for (size_t b = edge.first; b <= edge.last; ++b) ++n_ways[b];
    }
    certain = certain && at.bytes_only && std::ranges::max(n_ways) <= 1 && (n == 0 || !at.ends);
    auto way = std::ranges::find_if(at.edges, [&](const WalkEdge& e) { return e.first <= byte && byte <= e.last; });
    if (way == at.edges.end()) return certain ? WalkOutcome::kRefused : WalkOutcome::kUnknown;
    state = way->target;
  }
  return WalkOutcome::kTaken;
}

TEST(TokenWalk, IsThatOfEachTokenByItself) {
  std::vector<std::string> texts;
  for (uint32_t i = 0; i < 600; ++i) {
    PhiloxBlock bits = philox4x32(3, {i, 0, 0, 0});
    std::string& text = texts.emplace_back();
    for (uint32_t k = 0; k < 1 + bits[0] % 7; ++k) text += static_cast<char>('a' + (bits[1] >> k * 4) % 3);
    if (bits[2] % 8 == 0) text.back() = '\xC3';
  }
  Tokens tokens = sorted(texts);
  TokenWalk walk(tokens);
  size_t n_of[3] = {};
  for (uint32_t seed = 0; seed < 40; ++seed) {
    Automaton automaton;
    for (int32_t state = 0; state < 6; ++state) {
      PhiloxBlock bits = philox4x32(4, {seed, static_cast<uint32_t>(state), 0, 0});
      WalkState& made = automaton[state];
      made.bytes_only = bits[0] % 8 != 0;
      made.ends = bits[0] / 8 % 6 == 0;
      for (uint32_t k = 0; k < 3; ++k) {
        if ((bits[1] >> k * 2) % 4 == 0) continue;
        auto byte = static_cast<uint8_t>('a' + k);
        bool wide = (bits[2] >> k) % 8 == 0;  // two ways for the next byte, perhaps
        made.edges.push_back(
            {byte, static_cast<uint8_t>(byte + (wide ? 1 : 0)), static_cast<int32_t>(bits[3] >> k * 5) & 3});
      }
      if (bits[2] / 64 % 2 == 0) made.edges.push_back({0x80, 0xFF, 5});
    }
    for (int32_t state = 0; state < 6; ++state) {
      auto got = walk.walk({static_cast<int32_t>(seed), state}, {{0, static_cast<int32_t>(tokens.size())}},
                           [&](int32_t asked) { return automaton.at(asked); });
      ASSERT_EQ(got.size(), tokens.size());
      for (size_t i = 0; i < tokens.size(); ++i) {
        ASSERT_EQ(got[i], follow(automaton, state, tokens[i].second)) << tokens[i].second << " from " << state;
        ++n_of[static_cast<size_t>(got[i])];
      }
      for (size_t i = 0; i < tokens.size(); i += 7) {
        auto refused = [](WalkOutcome outcome) { return outcome == WalkOutcome::kRefused; };
        size_t end = std::min(i + 50, tokens.size());
        auto at = [&](size_t k) { return got.begin() + static_cast<std::ptrdiff_t>(k); };
        auto next = std::find_if_not(at(i), at(end), refused) - got.begin();
        EXPECT_EQ(walk.next_possible(static_cast<int32_t>(i), static_cast<int32_t>(end)), next);
      }
    }
  }
  EXPECT_GT(*std::ranges::min_element(n_of), 1000u);
}

TEST(TokenWalk, ItsWorkCounts) {
  Tokens tokens = sorted(std::vector<std::string>(5000, "abcdefgh"));
  CompileBudget budget({.core_ms = 10'000, .steps = 1'000'000, .bytes = 1 << 30});
  TokenWalk walk(tokens);
  uint64_t made = budget.n_steps();
  EXPECT_GT(made, 100u);
  walk.walk({}, {{0, 5000}}, [](int32_t) { return WalkState{.edges = {{'a', 'z', 0}}}; });
  EXPECT_GT(budget.n_steps(), made + 100);
}

}  // namespace
}  // namespace millrace::grammar
