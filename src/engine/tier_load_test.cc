// A conversation whose blocks lie below the pool, and the tier is late, or brings only the begin of what was asked for,
// or comes when nobody waits any more: the text stays that of the request alone, and nothing is left behind.
#include <gtest/gtest.h>

#include "tests/support/fake_engine.h"

namespace millrace::engine {
namespace {

using flow::GenerateRequest;

struct Setting {
  uint32_t depth = 1;
  bool windows = false;
};

// What the tier does next; MemoryTier asks by the odds that it would have.
struct Faults {
  bool late = false;      // loads are not staged yet
  int32_t fails_at = -1;  // the block of the next load that is damaged; -1 = none
  int32_t n_read = 0;

  bool ask(uint32_t odds) {
    if (odds == 2) return late;
    return odds == 12 && n_read++ == fails_at;
  }
};

EngineOptions engine_options(const Setting& setting) {
  EngineOptions options = support::small_engine(setting.windows ? 32 : 20, 80, 4);
  if (setting.windows) support::add_window(options, 10);
  options.sched.depth = setting.depth;
  options.tier_saves_all = true;
  return options;
}

// A conversation of 41 tokens has been served, copied down and evicted.
struct Rig : support::FakeEngine {
  explicit Rig(const Setting& setting)
      : FakeEngine({.options = engine_options(setting),
                    .delay = setting.depth - 1,
                    .tier = true,
                    .chance = [this](uint32_t odds) { return faults.ask(odds); }}) {
    finish(request(41, 1, 1));
    run();
    finish(request(77, 1, 2));
    run();
    EXPECT_GE(stats().n_evictions, 10u);
    EXPECT_EQ(stats().tier_loads, 0u);
    faults.n_read = 0;
  }
  // Prompts of a kind begin with the same tokens.
  GenerateRequest request(uint32_t n_prompt, uint32_t max_tokens, uint32_t kind) {
    return support::fake_request(next_id++, n_prompt, max_tokens, kind);
  }
  void expect_right(const GenerateRequest& ask) { EXPECT_EQ(sink.text(ask.id).tokens, alone(ask)); }
  void expect_nothing_left() {
    faults = {};
    run_until([&] { return !stats().has_work && tier.n_open_loads() == 0; });
    run();
    EXPECT_EQ(stats().kv_blocks_active + stats().kv_blocks_cooling, 0u);
    EXPECT_EQ(stats().n_running + stats().n_waiting, 0u);
  }

  Faults faults;
  flow::RequestId next_id = 1;
};

class TierLoads : public ::testing::TestWithParam<Setting> {};

TEST_P(TierLoads, AConversationThatReturnsWaitsForItsBlocks) {
  Rig rig(GetParam());
  rig.faults.late = true;
  GenerateRequest back = rig.request(48, 9, 1);
  rig.submit(back);
  for (int i = 0; i < 20; ++i) rig.step();
  EXPECT_TRUE(rig.sink.text(back.id).tokens.empty());
  EXPECT_EQ(rig.stats().n_waiting, 1u);
  EXPECT_EQ(rig.stats().kv_blocks_active, 0u) << "who waits holds nothing";
  rig.faults.late = false;
  rig.run_until([&] { return rig.sink.ended(back.id); });
  rig.expect_right(back);
  EXPECT_EQ(rig.last(back.id).n_cached, 40u);
  rig.expect_nothing_left();
}

TEST_P(TierLoads, ALateLoadIsNotWaitedForAndDoesNoHarmWheneverItComes) {
  for (int turns_late = 0; turns_late < 14; ++turns_late) {
    Rig rig(GetParam());
    rig.faults.late = true;
    GenerateRequest back = rig.request(48, 9, 1), twin = rig.request(48, 9, 1);
    rig.submit(back);
    rig.step();
    rig.clock.advance(2 * kSecond);  // 1 s and a quarter for 1,024 tokens are over
    for (int i = 0; i < turns_late; ++i) rig.step();
    rig.submit(twin);  // waits for the load that is under way, or finds what was computed meanwhile
    rig.faults.late = false;
    rig.run_until([&] { return rig.sink.ended(back.id) && rig.sink.ended(twin.id); });
    rig.expect_right(back);
    rig.expect_right(twin);
    if (turns_late > 0) {
      EXPECT_EQ(rig.last(back.id).n_cached, 0u) << turns_late;
    }
    rig.expect_nothing_left();
    if (HasFailure()) return;
  }
}

TEST_P(TierLoads, ALoadThatFailsMidwayGivesItsBegin) {
  for (int32_t fails_at = 0; fails_at < 10; ++fails_at) {
    Rig rig(GetParam());
    rig.faults.fails_at = fails_at;
    GenerateRequest back = rig.request(48, 9, 1), twin = rig.request(45, 5, 1);
    rig.submit(back);
    rig.submit(twin);
    rig.run_until([&] { return rig.sink.ended(back.id) && rig.sink.ended(twin.id); });
    rig.expect_right(back);
    rig.expect_right(twin);
    if (!GetParam().windows) {
      EXPECT_EQ(rig.last(back.id).n_cached, 4 * static_cast<uint32_t>(fails_at));
    }
    EXPECT_EQ(rig.stats().tier_failed_loads, 1u);
    rig.expect_nothing_left();
    if (HasFailure()) return;
  }
}

TEST_P(TierLoads, WhoLeavesBeforeItsLoadIsThereLeavesNothing) {
  Rig rig(GetParam());
  rig.faults.late = true;
  GenerateRequest gone = rig.request(48, 9, 1), expired = rig.request(48, 9, 1);
  expired.deadline = rig.clock.now() + 30 * kMillisecond;
  rig.submit(gone);
  rig.submit(expired);
  rig.step();
  rig.engine.cancel(gone.id);
  for (int i = 0; i < 40; ++i) rig.step();
  EXPECT_EQ(rig.last(gone.id).finish, flow::FinishReason::kCancelled);
  EXPECT_EQ(rig.last(expired.id).error.code, ErrorCode::kDeadlineExceeded);
  rig.expect_nothing_left();
  GenerateRequest back = rig.request(48, 9, 1);
  rig.finish(back);
  rig.expect_right(back);
  EXPECT_EQ(rig.last(back.id).n_cached, 40u) << "what came for nobody is there for the next";
}

// vLLM #45388: the end of a load was seen only by a walk of the queue that stopped at a head which could not start.
TEST(PublicBugs, Vllm45388AFinishedLoadIsSeenBehindABlockedHead) {
  for (uint32_t depth : {1u, 2u}) {
    Rig rig({.depth = depth});
    GenerateRequest runner = rig.request(16, 60, 3), head = rig.request(60, 2, 4), back = rig.request(44, 3, 1);
    rig.submit(runner);
    for (int i = 0; i < 6; ++i) rig.step();  // it holds 6 blocks of 20
    rig.faults.late = true;
    rig.submit(head);
    rig.submit(back);
    for (int i = 0; i < 5; ++i) rig.step();
    EXPECT_EQ(rig.stats().n_waiting, 2u);
    EXPECT_EQ(rig.stats().n_deferred, 1u);
    rig.faults.late = false;
    rig.run_until([&] { return rig.sink.ended(back.id); });
    EXPECT_FALSE(rig.sink.ended(runner.id));
    EXPECT_TRUE(rig.sink.text(head.id).tokens.empty()) << "the head can start beside nobody";
    EXPECT_EQ(rig.last(back.id).n_cached, 40u);
    rig.expect_nothing_left();
    for (const GenerateRequest& ask : {runner, head, back}) rig.expect_right(ask);
  }
}

INSTANTIATE_TEST_SUITE_P(Settings, TierLoads,
                         ::testing::Values(Setting{}, Setting{.depth = 2}, Setting{.windows = true},
                                           Setting{.depth = 2, .windows = true}),
                         [](const auto& info) { return support::setting_name(info.param.windows, info.param.depth); });

}  // namespace
}  // namespace millrace::engine
