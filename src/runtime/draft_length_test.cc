// How many proposals are made follows what came of those before.
#include "runtime/draft_length.h"

#include <gtest/gtest.h>

namespace millrace::runtime {
namespace {

TEST(DraftLength, FollowsWhatWasRight) {
  DraftLength length;
  size_t begin = length.rows(1, 16);
  EXPECT_GE(begin, 4u);
  for (int i = 0; i < 40; ++i) length.learn(true);
  EXPECT_EQ(length.rows(1, 16), 16u);
  EXPECT_EQ(length.rows(1, 3), 3u);
  for (int i = 0; i < 12; ++i) length.learn(false);
  EXPECT_LT(length.rows(1, 16), begin);
}

// Among many streams a row costs what a token does: only sure proposals are worth it.
TEST(DraftLength, ManyStreamsAskForSureOnes) {
  DraftLength length;
  EXPECT_EQ(length.rows(64, 16), 0u);
  for (int i = 0; i < 30; ++i) length.learn(true);
  EXPECT_GT(length.rows(64, 16), 0u);
  EXPECT_LT(length.rows(64, 1000), length.rows(1, 1000));
}

TEST(DraftLength, TriesAgainSomeTime) {
  DraftLength length;
  for (int i = 0; i < 200; ++i) length.learn(false);
  EXPECT_EQ(length.rows(1, 16), 0u);
  int n_steps = 1;
  while (length.rows(1, 16) == 0) ++n_steps;
  EXPECT_LT(n_steps, 20);
}

}  // namespace
}  // namespace millrace::runtime
