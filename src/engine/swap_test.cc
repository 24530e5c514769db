// Preemption with a tier below the pool: the blocks go down as they are taken and come back when the sequence starts
// again. Over FakeWorker, whose texts change with any mix-up.
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "tests/support/collect_sink.h"
#include "tests/support/fake_clock.h"
#include "tests/support/memory_tier.h"

namespace millrace::engine {
namespace {

using flow::GenerateRequest;
using support::CollectSink;
using support::FakeClock;
using support::FakeWorker;
using support::FakeWorkerOptions;
using support::MemoryTier;

struct Setting {
  uint32_t depth = 1;
  bool tier = false;
  bool windows = false;
};

class Rig {
 public:
  explicit Rig(const Setting& setting)
      : options_(engine_options(setting)),
        worker_(worker_options()),
        tier_(worker_, [](uint32_t) { return false; }),
        engine_(with_tier(setting), worker_, sink_, clock_) {}
  ~Rig() {
    for (const std::string& text : worker_.violations()) ADD_FAILURE() << text;
    for (const std::string& text : sink_.violations()) ADD_FAILURE() << text;
  }

  FakeWorkerOptions worker_options() const { return {.kv = options_.kv, .tok_cap = 64, .n_vocab = 50, .delay = 1}; }
  EngineStats stats() const { return engine_.stats(); }
  uint32_t max_len() const { return engine_.max_len(); }
  const support::ForkText& text(flow::RequestId id) { return sink_.text(id); }

  GenerateRequest request(uint32_t n_prompt, uint32_t max_tokens, int16_t band) {
    GenerateRequest request;
    request.id = next_id_++;
    request.band = band;
    for (uint32_t i = 0; i < n_prompt; ++i) {
      request.prompt.push_back(static_cast<TokenId>(1 + (request.id * 7 + i * i) % 49));
    }
    request.sampling.max_tokens = max_tokens;
    request.sampling.ignore_eos = true;
    return request;
  }
  void submit(const GenerateRequest& request) {
    GenerateRequest copy = request;
    ASSERT_TRUE(engine_.submit(std::move(copy)).ok());
  }
  void run_until(const std::function<bool()>& done) {
    for (int turns = 0; !done() && turns < 2000; ++turns) {
      clock_.advance(kMillisecond);
      engine_.step();
      ASSERT_EQ(engine_.check_integrity(), "");
    }
    ASSERT_TRUE(done());
  }
  // Whenever it got a token (one more may come while the other starts), a request of a higher band takes the whole
  // pool; returns how often that happened.
  uint32_t run_interrupted(const GenerateRequest& ask) {
    submit(ask);
    uint32_t n = 0;
    while (!sink_.ended(ask.id) && !testing::Test::HasFailure()) {
      size_t n_tokens = sink_.text(ask.id).tokens.size() + 1;
      run_until([&] { return sink_.text(ask.id).tokens.size() >= n_tokens || sink_.ended(ask.id); });
      if (sink_.ended(ask.id)) break;
      GenerateRequest other = request(70, 1, 1);
      submit(other);
      run_until([&] { return sink_.ended(other.id); });
      ++n;
    }
    return n;
  }
  void run_alone(const GenerateRequest& ask) {
    submit(ask);
    run_until([&] { return sink_.ended(ask.id); });
  }
  Engine& engine() { return engine_; }
  CollectSink& sink() { return sink_; }

 private:
  static EngineOptions engine_options(const Setting& setting) {
    EngineOptions options;
    options.kv = {.block_tokens = 4, .n_blocks = 20, .block_bytes = 1, .max_len = 80, .groups = {{}}};
    if (setting.windows) {
      options.kv.n_blocks = 34;
      options.kv.groups.push_back({.kind = flow::KvGroupKind::kWindow, .window_tokens = 10, .layers = {}});
    }
    options.sched.order = sched::OrderKind::kPriority;
    options.sched.max_live = 4;
    options.sched.tok_cap = 64;
    options.sched.budget_tokens = 32;
    options.sched.depth = setting.depth;
    options.sched.k_preempt = 1000;
    return options;
  }
  EngineOptions with_tier(const Setting& setting) {
    EngineOptions options = options_;
    if (setting.tier) options.tier = &tier_;
    return options;
  }

  EngineOptions options_;
  FakeClock clock_;
  FakeWorker worker_;
  MemoryTier tier_;
  CollectSink sink_;
  Engine engine_;
  flow::RequestId next_id_ = 1;
};

class Swap : public ::testing::TestWithParam<Setting> {};

TEST_P(Swap, PreemptedAfterEveryTokenIsSwappedIsRecomputedIsLeftAlone) {
  Setting setting = GetParam();
  Rig alone(setting), recomputed(setting);
  setting.tier = true;
  Rig swapped(setting);
  GenerateRequest ask = alone.request(45, 24, 0);
  alone.run_alone(ask);
  recomputed.request(1, 1, 0);  // takes the same id
  swapped.request(1, 1, 0);
  uint32_t n = recomputed.run_interrupted(ask);
  uint32_t n_swaps = swapped.run_interrupted(ask);
  EXPECT_GE(n, 5u);
  EXPECT_GE(n_swaps, 5u);
  std::vector<TokenId> want = support::reference_text(alone.worker_options(), ask, 0, alone.max_len()).tokens;
  EXPECT_EQ(alone.text(ask.id).tokens, want);
  EXPECT_EQ(recomputed.text(ask.id).tokens, want);
  EXPECT_EQ(swapped.text(ask.id).tokens, want);
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
  GenerateRequest ask = rig.request(45, 24, 0);
  rig.submit(ask);
  rig.run_until([&] { return rig.sink().text(ask.id).tokens.size() >= 2; });
  GenerateRequest other = rig.request(70, 1, 1);
  rig.submit(other);
  rig.run_until([&] { return rig.stats().swap_loads == 1; });
  rig.engine().cancel(ask.id);
  rig.run_until([&] { return rig.sink().ended(ask.id) && !rig.stats().has_work; });
  for (int i = 0; i < 8; ++i) rig.engine().step();
  EXPECT_EQ(rig.stats().kv_blocks_active, 0u);
  EXPECT_EQ(rig.engine().check_integrity(), "");
}

INSTANTIATE_TEST_SUITE_P(Settings, Swap,
                         ::testing::Values(Setting{}, Setting{.depth = 2}, Setting{.windows = true},
                                           Setting{.depth = 2, .windows = true}),
                         [](const auto& info) {
                           return std::string(info.param.windows ? "Windows" : "Full") + "Depth" +
                                  std::to_string(info.param.depth);
                         });

}  // namespace
}  // namespace millrace::engine
