#include "text/line_limits.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace millrace::text {
namespace {

// What is shown of pieces that come a millisecond apart; "|" where the answer ended.
std::string shown(LineLimitOptions options, const std::vector<std::string>& pieces) {
  LineLimits limits(options);
  std::string out;
  int64_t ms = 0;
  for (std::string piece : pieces) {
    limits.push(piece, ms++);
    out += piece;
    if (limits.ended()) return out + "|";
  }
  return out;
}

TEST(LineLimits, ALineThatIsIndentedByLessEndsTheAnswer) {
  EXPECT_EQ(shown({.n_indent = 2}, {"x\n  a\n   b\n c"}), "x\n  a\n   b\n |");
  EXPECT_EQ(shown({.n_indent = 2}, {"x", "\n", " ", "\t", "a", "\n", "b", "c"}), "x\n \ta\n|");
  EXPECT_EQ(shown({.n_indent = 1}, {"x\n a\n\n b"}), "x\n a\n|") << "an empty line has no indentation";
  EXPECT_EQ(shown({.n_indent = 4}, {"the first line is free"}), "the first line is free");
  EXPECT_EQ(shown({.n_indent = 2}, {"x\n", " "}), "x\n ") << "nothing but blanks so far";
}

TEST(LineLimits, ANewLineBehindTheTimeEndsTheAnswer) {
  EXPECT_EQ(shown({.max_ms = 2}, {"a\n", "b", "c", "d", "e\nf", "g"}), "a\nbcde\nf|");
  EXPECT_EQ(shown({.max_ms = 2}, {"a", "b", "c", "d", "e"}), "abcde");
  EXPECT_EQ(shown({.max_ms = 2}, {"a\n", "b\n", "c\n"}), "a\nb\nc\n");
}

TEST(LineLimits, NeutralValuesLimitNothing) {
  EXPECT_TRUE(LineLimits({}).empty());
  EXPECT_TRUE(LineLimits({.n_indent = 0, .max_ms = -1}).empty());
  EXPECT_FALSE(LineLimits({.n_indent = 1}).empty());
  EXPECT_FALSE(LineLimits({.max_ms = 1}).empty());
}

}  // namespace
}  // namespace millrace::text
