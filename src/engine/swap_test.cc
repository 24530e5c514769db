// Preemption with a tier below the pool: the blocks go down as they are taken and come back when the sequence starts
// again. Over FakeWorker, whose texts change with any mix-up.
#include <gtest/gtest.h>

#include "tests/support/fake_engine.h"

namespace millrace::engine {
namespace {

using flow::GenerateRequest;

struct Setting {
  uint32_t depth = 1;
  bool tier = false;
  bool windows = false;
};

EngineOptions engine_options(const Setting& setting) {
  EngineOptions options = support::small_engine(setting.windows ? 34 : 20, 80, 4);
  if (setting.windows) support::add_window(options, 10);
  options.sched.order = sched::OrderKind::kPriority;
  options.sched.depth = setting.depth;
  options.sched.k_preempt = 1000;
  return options;
}

struct Rig : support::FakeEngine {
  explicit Rig(const Setting& setting)
      : FakeEngine(
            {.options = engine_options(setting), .delay = 1, .tier = setting.tier, .chance = [this](uint32_t odds) {
               return hangs && odds == 2;
             }}) {}

  GenerateRequest request(uint32_t n_prompt, uint32_t max_tokens, int16_t band) {
    flow::RequestId id = next_id++;
    GenerateRequest request = support::fake_request(id, n_prompt, max_tokens, id);
    request.band = band;
    return request;
  }
  // A request that was preempted behind its second token and whose blocks are being loaded.
  GenerateRequest coming_back() {
    GenerateRequest ask = request(45, 24, 0);
    submit(ask);
    run_until([&] { return sink.text(ask.id).tokens.size() >= 2; });
    finish(request(70, 1, 1));
    run_until([&] { return stats().swap_loads == 1; });
    return ask;
  }
  // Whenever it got a token (one more may come while the other starts), a request of a higher band takes the whole
  // pool; returns how often that happened.
  uint32_t run_interrupted(const GenerateRequest& ask) {
    submit(ask);
    uint32_t n = 0;
    while (!sink.ended(ask.id) && !testing::Test::HasFailure()) {
      size_t n_tokens = sink.text(ask.id).tokens.size() + 1;
      run_until([&] { return sink.text(ask.id).tokens.size() >= n_tokens || sink.ended(ask.id); });
      if (sink.ended(ask.id)) break;
      finish(request(70, 1, 1));
      ++n;
    }
    return n;
  }

  flow::RequestId next_id = 1;
  bool hangs = false;  // no load is ever staged
};

class Swap : public ::testing::TestWithParam<Setting> {};

TEST_P(Swap, PreemptedAfterEveryTokenIsSwappedIsRecomputedIsLeftAlone) {
  Setting setting = GetParam();
  Rig alone(setting), recomputed(setting);
  setting.tier = true;
  Rig swapped(setting);
  GenerateRequest ask = alone.request(45, 24, 0);
  alone.finish(ask);
  recomputed.request(1, 1, 0);  // takes the same id
  swapped.request(1, 1, 0);
  uint32_t n = recomputed.run_interrupted(ask);
  uint32_t n_swaps = swapped.run_interrupted(ask);
  EXPECT_GE(n, 5u);
  EXPECT_GE(n_swaps, 5u);
  std::vector<TokenId> want = alone.alone(ask);
  EXPECT_EQ(alone.sink.text(ask.id).tokens, want);
  EXPECT_EQ(recomputed.sink.text(ask.id).tokens, want);
  EXPECT_EQ(swapped.sink.text(ask.id).tokens, want);
  EXPECT_GE(recomputed.stats().n_preemptions + 2, n);
  EXPECT_GE(swapped.stats().n_preemptions + 2, n_swaps);
  EXPECT_GE(swapped.stats().swap_loads + 2, n_swaps);
  EXPECT_GE(swapped.stats().swapped_out_blocks, 5u);  // what was not copied ahead
  EXPECT_LT(swapped.stats().recomputed_tokens, uint64_t{n_swaps} * 8);
  EXPECT_GT(recomputed.stats().recomputed_tokens, uint64_t{n} * 30);
}

TEST_P(Swap, ASequenceThatEndsWhileItsBlocksAreLoadedLeavesNothing) {
  Setting setting = GetParam();
  setting.tier = true;
  Rig rig(setting);
  GenerateRequest ask = rig.coming_back();
  rig.engine.cancel(ask.id);
  rig.run_until([&] { return rig.sink.ended(ask.id) && !rig.stats().has_work; });
  for (int i = 0; i < 8; ++i) rig.engine.step();
  EXPECT_EQ(rig.stats().kv_blocks_active, 0u);
  EXPECT_EQ(rig.engine.check_integrity(), "");
}

TEST_P(Swap, ALoadThatHangsIsWaitedForUntilItsDeadlineAndThenComputed) {
  Setting setting = GetParam();
  setting.tier = true;
  Rig rig(setting);
  rig.hangs = true;
  GenerateRequest ask = rig.coming_back();
  size_t n_tokens = rig.sink.text(ask.id).tokens.size();
  for (int i = 0; i < 500; ++i) rig.step();  // a millisecond each
  EXPECT_EQ(rig.sink.text(ask.id).tokens.size(), n_tokens);
  EXPECT_EQ(rig.stats().kv_blocks_active, 0u) << "who waits holds nothing";
  rig.clock.advance(kSecond);
  rig.run_until([&] { return rig.sink.ended(ask.id); });
  EXPECT_EQ(rig.sink.text(ask.id).tokens, rig.alone(ask));
  EXPECT_EQ(rig.tier.n_open_loads(), 1u) << "it hangs still";
  EXPECT_GT(rig.stats().recomputed_tokens, 32u);
  EXPECT_FALSE(rig.stats().has_work);
}

INSTANTIATE_TEST_SUITE_P(Settings, Swap,
                         ::testing::Values(Setting{}, Setting{.depth = 2}, Setting{.windows = true},
                                           Setting{.depth = 2, .windows = true}),
                         [](const auto& info) { return support::setting_name(info.param.windows, info.param.depth); });

}  // namespace
}  // namespace millrace::engine
