// The cost model against synthetic machines whose coefficients are known.
#include "sched/cost_model.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace millrace::sched {
namespace {

// A machine: two regimes, and noise of some percent.
struct Machine {
  CostCoefficients small{2e6, 0.1e6, 0.12e6, 20, 30};
  CostCoefficients large{0.5e6, 0.3e6, 0.25e6, 20, 40};
  uint32_t split = 16;

  double exact(const StepShape& s) const {
    const CostCoefficients& c = s.n_rows() <= split ? small : large;
    return c[0] + c[1] * s.n_prefill + c[2] * s.n_decode + c[3] * static_cast<double>(s.ctx_decode) +
           c[4] * static_cast<double>(s.ctx_prefill);
  }
};

class Shapes {
 public:
  explicit Shapes(uint64_t seed) : engine_(seed) {}
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(engine_() % n); }
  double noise(double part) { return 1.0 + part * (static_cast<double>(below(20001)) / 10000.0 - 1.0); }
  StepShape next(bool small) {
    StepShape shape;
    shape.n_decode = below(small ? 13 : 200);
    shape.n_prefill = small ? below(17 - shape.n_decode) : 17 + below(500);
    if (shape.n_rows() == 0) shape.n_decode = 1;
    shape.ctx_decode = uint64_t{shape.n_decode} * below(4000);
    shape.ctx_prefill = row_context(below(4000), shape.n_prefill);
    return shape;
  }

 private:
  std::mt19937_64 engine_;
};

TEST(CostModel, RecoversTheCoefficientsFromNoisySteps) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Machine machine;
    CostModel model(machine.split);
    Shapes shapes(seed);
    for (int i = 0; i < 1000; ++i) {
      StepShape shape = shapes.next(i % 2 == 0);
      model.observe(shape, static_cast<Tick>(machine.exact(shape) * shapes.noise(0.02)));
    }
    for (size_t k = 0; k < 5; ++k) {
      double tolerance = k == 0 ? 0.5 : 0.15;  // the constant is small beside large steps
      EXPECT_NEAR(model.small().c[k], machine.small[k], tolerance * machine.small[k]) << k;
      if (k > 0) {
        EXPECT_NEAR(model.large().c[k], machine.large[k], tolerance * machine.large[k]) << k;
      }
    }
    for (int i = 0; i < 200; ++i) {
      StepShape shape = shapes.next(i % 2 == 0);
      double exact = machine.exact(shape);
      EXPECT_NEAR(static_cast<double>(model.predict(shape)), exact, 0.08 * exact + 0.1e6);
    }
  }
}

TEST(CostModel, FollowsAMachineThatChanges) {
  Machine machine;
  CostModel model(machine.split);
  Shapes shapes(7);
  for (int i = 0; i < 3000; ++i) {
    if (i == 1000) {
      for (double& c : machine.small) c *= 2;
      for (double& c : machine.large) c *= 2;
    }
    StepShape shape = shapes.next(i % 2 == 0);
    model.observe(shape, static_cast<Tick>(machine.exact(shape)));
  }
  StepShape shape{.n_prefill = 100, .n_decode = 8, .ctx_decode = 4000, .ctx_prefill = row_context(0, 100)};
  EXPECT_NEAR(static_cast<double>(model.predict(shape)), machine.exact(shape), 0.05 * machine.exact(shape));
}

// Whatever it saw: more work is never predicted to take less time.
TEST(CostModel, PredictionsGrowWithTheWork) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    CostModel model(16);
    Shapes shapes(seed);
    uint32_t n_seen = shapes.below(40);
    for (uint32_t i = 0; i < n_seen; ++i) {
      model.observe(shapes.next(shapes.below(2) == 0), static_cast<Tick>(1000 + shapes.below(50'000'000)));
    }
    for (int i = 0; i < 200; ++i) {
      StepShape less = shapes.next(shapes.below(2) == 0);
      StepShape more = less;
      more.n_prefill += shapes.below(30);
      more.n_decode += shapes.below(30);
      more.ctx_decode += shapes.below(1000);
      more.ctx_prefill += shapes.below(1000);
      ASSERT_LE(model.predict(less), model.predict(more));
    }
  }
}

TEST(CostModel, SameStepsGiveTheSameModel) {
  auto learned = [] {
    CostModel model(16);
    Shapes shapes(3);
    for (int i = 0; i < 100; ++i) model.observe(shapes.next(i % 3 == 0), 1'000'000 + shapes.below(1'000'000));
    return model;
  };
  CostModel a = learned();
  CostModel b = learned();
  EXPECT_EQ(a.small().c, b.small().c);
  EXPECT_EQ(a.large().c, b.large().c);
}

TEST(CostModel, APriorCountsAtOnceAndIsCorrected) {
  Machine machine;
  CostModel fresh(machine.split);
  EXPECT_FALSE(fresh.known());
  EXPECT_EQ(fresh.predict({.n_prefill = 100}), 0);
  CostModel model(machine.split, {.c = machine.large, .n_seen = 100}, {.c = machine.large, .n_seen = 100});
  EXPECT_TRUE(model.known());
  StepShape step{.n_decode = 8, .ctx_decode = 4000};
  Tick before = model.predict(step);
  Shapes shapes(5);
  for (int i = 0; i < 2000; ++i) {
    StepShape shape = shapes.next(true);
    model.observe(shape, static_cast<Tick>(machine.exact(shape)));
  }
  EXPECT_GT(std::abs(static_cast<double>(before) - machine.exact(step)), 0.1 * machine.exact(step));
  EXPECT_NEAR(static_cast<double>(model.predict(step)), machine.exact(step), 0.03 * machine.exact(step));
}

// The first steps of a real server: two short requests, slowed by other work, and then a crowd behind a long prefix.
TEST(CostModel, ShortContextsSayNothingOfLongOnes) {
  struct Seen {
    StepShape shape;
    Tick us;
  };
  const std::vector<Seen> steps = {{{2, 0, 0, 1}, 3'843},           {{0, 1, 2, 0}, 3'691},
                                   {{112, 0, 0, 6'216}, 54'473},    {{223, 1, 112, 24'753}, 110'593},
                                   {{0, 2, 336, 0}, 4'637},         {{0, 2, 338, 0}, 11'138},
                                   {{0, 2, 340, 0}, 10'663},        {{0, 2, 342, 0}, 5'641},
                                   {{0, 2, 344, 0}, 8'231},         {{0, 2, 346, 0}, 12'679},
                                   {{0, 1, 229, 0}, 5'289},         {{512, 0, 0, 130'816}, 284'956},
                                   {{512, 0, 0, 392'960}, 342'237}, {{512, 0, 0, 537'506}, 424'771}};
  CostModel model(16);
  for (const Seen& step : steps) model.observe(step.shape, step.us * kMicrosecond);
  StepShape crowd{.n_decode = 32, .ctx_decode = 34'538};
  EXPECT_LT(model.predict(crowd), 90 * kMillisecond);
  for (int i = 0; i < 20; ++i) model.observe(crowd, 30 * kMillisecond);
  EXPECT_LT(model.predict(crowd), 60 * kMillisecond);
}

// An expectation that is ten times too long is put right by few steps.
TEST(CostModel, FarTooLongAnExpectationIsSoonPutRight) {
  CostRegime dear{.c = {1e6, 1e6, 1e6, 10'000, 10'000}, .n_seen = 10};
  CostModel model(16, dear, dear);
  StepShape crowd{.n_decode = 32, .ctx_decode = 34'538};
  EXPECT_GT(model.predict(crowd), 300 * kMillisecond);
  for (int i = 0; i < 20; ++i) model.observe(crowd, 30 * kMillisecond);
  EXPECT_LT(model.predict(crowd), 100 * kMillisecond);
}

TEST(CostModel, LatenessIsThatOfTheLatestSteps) {
  Machine machine;
  CostModel model(machine.split);
  Shapes shapes(11);
  auto play = [&](double noise) {
    for (int i = 0; i < 3000; ++i) {
      StepShape shape = shapes.next(i % 2 == 0);
      model.observe(shape, static_cast<Tick>(machine.exact(shape) * shapes.noise(noise)));
    }
  };
  play(0.02);
  EXPECT_NEAR(model.lateness(), 1.02, 0.03);
  play(0.5);
  EXPECT_NEAR(model.lateness(), 1.48, 0.15);
  play(0.02);
  EXPECT_NEAR(model.lateness(), 1.02, 0.03);
}

TEST(CostModel, OneSleepingStepChangesLittle) {
  Machine machine;
  CostModel model(machine.split);
  Shapes shapes(9);
  for (int i = 0; i < 500; ++i) {
    StepShape shape = shapes.next(true);
    model.observe(shape, static_cast<Tick>(machine.exact(shape)));
  }
  StepShape step{.n_decode = 8, .ctx_decode = 4000};
  Tick before = model.predict(step);
  model.observe(step, 60 * kSecond);
  EXPECT_LT(model.predict(step), 2 * before);
}

}  // namespace
}  // namespace millrace::sched
