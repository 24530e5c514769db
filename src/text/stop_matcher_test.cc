// Stop strings over random splits: what is released, what is held back.
#include "text/stop_matcher.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "text/tokenizer_corpus_test.h"

namespace millrace::text {
namespace {

struct Expected {
  std::string text;
  bool stopped = false;
};

// The meaning, done the slow way: the match that ends first, then the one that begins first.
Expected slow(const std::string& text, const std::vector<std::string>& stops, bool include) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t best = 0;
    for (const std::string& stop : stops) {
      if (!stop.empty() && text.substr(0, end).ends_with(stop)) best = std::max(best, stop.size());
    }
    if (best > 0) return {text.substr(0, include ? end : end - best), true};
  }
  return {text, false};
}

void expect_stream(const std::string& text, const std::vector<std::string>& stops, bool include, uint64_t seed) {
  size_t longest = 0;
  for (const std::string& stop : stops) longest = std::max(longest, stop.size());
  corpus::Random random(seed);
  StopMatcher matcher(stops, include);
  std::string released;
  bool stopped = false;
  for (size_t at = 0; at < text.size() && !stopped;) {
    size_t end = at;
    for (uint32_t n = random.below(5); n > 0 && end < text.size(); --n) end += rune_at(text, end).n_bytes;
    const StopResult result = matcher.push(std::string_view(text).substr(at, end - at));
    released += result.text;
    stopped = result.stopped;
    at = end;
    ASSERT_EQ(result.text, repair_utf8(result.text));
    if (!stopped) {
      ASSERT_LE(at - released.size(), longest == 0 ? 0 : longest - 1);
    }
  }
  if (!stopped) released += matcher.finish();
  const Expected want = slow(text, stops, include);
  ASSERT_EQ(stopped, want.stopped) << text;
  ASSERT_EQ(released, want.text) << text;
}

TEST(StopMatcher, RandomTextsAndSplits) {
  const std::vector<std::string> units = {"a", "b", "ab", "\xC3\xA9", "\xF0\x9F\x98\x80", "\n"};
  corpus::Random random(1);
  for (uint64_t round = 0; round < 3000; ++round) {
    std::vector<std::string> stops(random.below(4));
    for (std::string& stop : stops) {
      for (uint32_t n = random.below(5); n > 0; --n) stop += random.pick<std::string>(units);
    }
    std::string text;
    for (uint32_t n = random.below(30); n > 0; --n) text += random.pick<std::string>(units);
    expect_stream(text, stops, round % 2 == 0, round);
    if (HasFatalFailure()) return;
  }
}

TEST(StopMatcher, SaysWhichStopString) {
  StopMatcher matcher({"xyz", "END"}, false);
  EXPECT_EQ(matcher.push("hello E").text, "hello ");
  EXPECT_EQ(matcher.push("N").text, "");
  const StopResult result = matcher.push("D of it");
  EXPECT_TRUE(result.stopped);
  EXPECT_EQ(result.index, 1);
  EXPECT_EQ(result.text, "");
  EXPECT_EQ(matcher.push("more").text, "");
}

TEST(StopMatcher, AStopStringMayBeginButNotEndWhereEndsAreBarred) {
  StopMatcher matcher({"END"}, false);
  EXPECT_EQ(matcher.push("an END", false).text, "an ");
  EXPECT_EQ(matcher.push(" and EN", false).text, "END and ");
  const StopResult result = matcher.push("D!");
  EXPECT_TRUE(result.stopped);
  EXPECT_EQ(result.text, "");
}

TEST(StopMatcher, ReleasesWhatWasNoStopAfterAll) {
  StopMatcher matcher({"</s>"}, false);
  EXPECT_EQ(matcher.push("a<").text, "a");
  EXPECT_EQ(matcher.push("/").text, "");
  EXPECT_EQ(matcher.push("b").text, "</b");
  EXPECT_EQ(matcher.push("<").text, "");
  EXPECT_EQ(matcher.finish(), "<");
}

}  // namespace
}  // namespace millrace::text
