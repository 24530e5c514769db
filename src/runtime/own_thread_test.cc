// A backend on a thread of its own: steps come back in order, each once, while others are submitted.
#include "runtime/own_thread.h"

#include <gtest/gtest.h>

#include <atomic>

namespace millrace::runtime {
namespace {

// Computes in submit(): the token of a share is its step.
class Counting final : public flow::Backend {
 public:
  void submit(const flow::StepPlan& plan) override {
    output_ = {.step = plan.step};
    for (const flow::Share& share : plan.shares) {
      flow::ShareResult result;
      result.slot = share.slot;
      result.token = static_cast<TokenId>(plan.step);
      output_.shares.push_back(std::move(result));
    }
  }
  bool done(uint64_t step) override { return output_.step == step; }
  flow::StepOutput take_output(uint64_t) override { return std::move(output_); }

 private:
  flow::StepOutput output_;
};

TEST(OwnThread, TwoStepsInFlightComeBackInOrder) {
  constexpr uint64_t kSteps = 2000;
  Counting inner;
  std::atomic<uint64_t> n_done{0};
  std::atomic<bool> started{false};
  {
    OwnThread aside(inner, [&] { started = true; });
    aside.set_on_done([&] { n_done.fetch_add(1); });
    flow::StepPlan plans[2];
    auto send = [&](uint64_t step) {
      flow::StepPlan& plan = plans[step % 2];
      plan.step = step;
      plan.shares.assign(step % 3 + 1, {.slot = static_cast<flow::SlotId>(step % 5)});
      aside.submit(plan);
    };
    send(1);
    for (uint64_t step = 1; step <= kSteps; ++step) {
      if (step < kSteps) send(step + 1);
      while (!aside.done(step)) std::this_thread::yield();
      EXPECT_FALSE(aside.done(step + 5));
      flow::StepOutput output = aside.take_output(step);
      ASSERT_EQ(output.step, step);
      ASSERT_EQ(output.shares.size(), step % 3 + 1);
      ASSERT_EQ(output.shares[0].token, static_cast<TokenId>(step));
      ASSERT_EQ(output.shares[0].slot, step % 5);
    }
  }
  EXPECT_EQ(n_done.load(), kSteps);
  EXPECT_TRUE(started.load());
}

TEST(OwnThread, TheEndWaitsForWhatWasSubmitted) {
  Counting inner;
  std::atomic<uint64_t> n_done{0};
  flow::StepPlan plan{.step = 1, .shares = {{.slot = 3}}};
  {
    OwnThread aside(inner);
    aside.set_on_done([&] { n_done.fetch_add(1); });
    aside.submit(plan);
  }
  EXPECT_EQ(n_done.load(), 1u);
}

}  // namespace
}  // namespace millrace::runtime
