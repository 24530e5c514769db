// Models that share cores: one computes at a time, and waiting is a sign of life while the others go on.
#include "runtime/turns.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace millrace::runtime {
namespace {

TEST(Turns, OneComputesAtATime) {
  Turns turns;
  int n_inside = 0;  // guarded by the turn
  int n_together = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int step = 0; step < 200; ++step) {
        turns.take({});
        if (++n_inside != 1) ++n_together;
        --n_inside;
        turns.give();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(n_together, 0);
}

// Three wait behind a fourth that hangs; each step that ends is heard by all that wait behind it.
TEST(Turns, WhoWaitsBeatsWithTheStepsOfTheOthersAndNotWithout) {
  Turns turns;
  std::atomic<int> n_waiting{0};
  std::atomic<int> n_beats{0};
  turns.take({});
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      ++n_waiting;
      turns.take([&] { ++n_beats; });
      turns.give();
    });
  }
  while (n_waiting < 3) std::this_thread::yield();
  EXPECT_EQ(n_beats, 0);
  turns.give();
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(n_beats, 1);  // 6 when all three waited already
  EXPECT_LE(n_beats, 6);
}

}  // namespace
}  // namespace millrace::runtime
