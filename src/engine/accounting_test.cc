// Rule L2: an error in the books of KV blocks costs the requests whose blocks it touches, and nobody else. The books
// are broken from outside, as only a bug of ours could; tests without contain_accounting_errors abort there.
#include <gtest/gtest.h>

#include <algorithm>

#include "cache/kv_cache.h"
#include "engine/engine.h"
#include "sched/seq_table.h"
#include "tests/support/fake_engine.h"
#include "tests/support/trace_world.h"

namespace millrace::engine {
namespace {

using flow::BlockId;
using flow::FinishReason;
using flow::GenerateRequest;

struct Rig {
  explicit Rig(EngineOptions options_in, uint32_t delay = 0)
      : options(contained(std::move(options_in))),
        worker_options{.kv = options.kv,
                       .tok_cap = options.sched.tok_cap,
                       .n_vocab = 50,
                       .eos = 0,
                       .eos_per_mille = 0,
                       .delay = delay},
        worker(worker_options),
        engine(options, worker, sink, clock) {}

  static EngineOptions contained(EngineOptions options) {
    options.contain_accounting_errors = true;
    return options;
  }
  GenerateRequest ask(uint32_t n_prompt, uint32_t max_tokens) {
    flow::RequestId id = next_id++;
    return support::fake_request(id, n_prompt, max_tokens, id);
  }
  void submit(const GenerateRequest& request) {
    GenerateRequest copy = request;
    ASSERT_TRUE(engine.submit(std::move(copy)).ok());
  }
  // A request that has four of its twelve tokens.
  GenerateRequest on_its_way() {
    GenerateRequest one = ask(18, 12);
    submit(one);
    while (sink.text(one.id).tokens.size() < 4) step();
    return one;
  }
  bool step() {
    clock.advance(kMillisecond);
    return engine.step();
  }
  void run() {
    for (int i = 0; i < 20'000 && (step() || engine.stats().has_work); ++i) {
    }
    EngineStats now = engine.stats();
    EXPECT_FALSE(now.has_work) << fmt::format(
        "{} running, {} waiting, blocks {} free {} cached {} active {} cooling {} in quarantine", now.n_running,
        now.n_waiting, now.kv_blocks_free, now.kv_blocks_cached, now.kv_blocks_active, now.kv_blocks_cooling,
        now.kv_blocks_quarantined);
  }
  cache::BlockPool& books() { return engine.cache().books(); }
  // The block that the first sequence writes next.
  BlockId last_block() { return engine.sequences().at(engine.sequences().live().front()).kv.table[0].back(); }
  bool right(const GenerateRequest& request, uint32_t fork = 0) {
    return sink.text(request.id, fork).tokens ==
           support::reference_text(worker_options, request, fork, engine.max_len()).tokens;
  }
  // All that is left of the fault is what is in quarantine: a new request is served, and nothing leaks.
  void expect_sound(uint32_t n_quarantined) {
    GenerateRequest next = ask(21, 9);
    submit(next);
    run();
    EXPECT_TRUE(right(next));
    engine.reset_prefix_cache();
    step();
    EngineStats stats = engine.stats();
    EXPECT_EQ(stats.kv_blocks_quarantined, n_quarantined);
    EXPECT_EQ(stats.kv_blocks_free + stats.kv_blocks_quarantined, stats.kv_blocks_total);
    EXPECT_EQ(engine.check_integrity(), "");
    EXPECT_TRUE(sink.violations().empty());
  }

  EngineOptions options;
  support::FakeWorkerOptions worker_options;
  support::FakeClock clock;
  support::FakeWorker worker;
  support::CollectSink sink;
  Engine engine;
  flow::RequestId next_id = 1;
};

class Accounting : public ::testing::TestWithParam<uint32_t> {
 protected:
  EngineOptions options() const {
    EngineOptions out = support::small_engine();
    out.sched.depth = GetParam();
    return out;
  }
};

TEST_P(Accounting, ABlockFreedUnderARequestEndsThatRequestAndNoOther) {
  Rig rig(options(), GetParam() - 1);
  GenerateRequest hit = rig.ask(18, 40), other = rig.ask(23, 40);
  rig.submit(hit);
  rig.submit(other);
  while (rig.sink.text(hit.id).tokens.size() < 8) rig.step();
  BlockId freed = rig.last_block();
  rig.books().release(freed, 0);
  rig.run();
  EXPECT_EQ(rig.sink.text(hit.id).finish, FinishReason::kError);
  EXPECT_EQ(rig.sink.text(hit.id).events.back().error.code, ErrorCode::kInternal);
  EXPECT_EQ(rig.sink.text(other.id).finish, FinishReason::kLength);
  EXPECT_TRUE(rig.right(other));
  EXPECT_GE(rig.engine.stats().n_accounting_errors, 1u);
  EXPECT_EQ(rig.books().block(freed).state, cache::BlockState::kQuarantined);
  rig.expect_sound(1);
}

TEST_P(Accounting, ABlockThatNobodyGivesBackIsFoundWhenTheEngineIsIdle) {
  Rig rig(options(), GetParam() - 1);
  GenerateRequest one = rig.on_its_way();
  rig.books().hold(rig.last_block());
  rig.run();
  EXPECT_TRUE(rig.right(one));
  EXPECT_EQ(rig.engine.stats().n_accounting_errors, 1u);
  EXPECT_EQ(rig.engine.stats().kv_blocks_active, 0u);
  rig.expect_sound(0);
}

TEST_P(Accounting, AFreeBlockThatSomebodyHoldsIsNotGivenAway) {
  Rig rig(options(), GetParam() - 1);
  GenerateRequest one = rig.on_its_way();
  BlockId free = 0;
  while (rig.books().block(free).state != cache::BlockState::kFree) ++free;
  rig.books().hold(free);
  rig.run();
  EXPECT_TRUE(rig.right(one));
  EXPECT_EQ(rig.engine.stats().n_accounting_errors, 1u);
  rig.expect_sound(1);
}

TEST_P(Accounting, APrefixWhoseBlockIsAnothersIsNotUsed) {
  Rig rig(options(), GetParam() - 1);
  GenerateRequest first = rig.ask(18, 4);
  rig.submit(first);
  rig.run();
  BlockId cached = rig.engine.cache().pool().oldest_cached();
  rig.books().clear_node(cached);  // the prefix still names it
  GenerateRequest again = first, other = rig.ask(30, 20);
  again.id = rig.next_id++;
  rig.submit(other);
  while (rig.sink.text(other.id).tokens.size() < 2) rig.step();
  rig.submit(again);
  rig.run();
  bool refused = rig.sink.text(again.id).finish == FinishReason::kError;
  EXPECT_TRUE(refused || rig.right(again));
  EXPECT_TRUE(rig.right(other) || rig.sink.text(other.id).finish == FinishReason::kError);
  EXPECT_GE(rig.engine.stats().n_accounting_errors, 1u);
  rig.expect_sound(1);
}

INSTANTIATE_TEST_SUITE_P(Depth, Accounting, ::testing::Values(1, 2));

// Whatever is wrong with a block, wherever: everybody's request ends, and afterwards the server is as new.
TEST(AccountingProperty, NoErrorInTheBooksOfBlocksEndsTheEngine) {
  uint64_t n_errors = 0, n_quarantined = 0;
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE(seed);
    support::Dice dice(seed);
    EngineOptions options = support::small_engine(40, 80, 4);
    options.sched.depth = dice.between(1, 2);
    support::random_policies(dice, options.sched);
    if (dice.chance(50)) support::add_window(options, 10);
    if (!Engine::validate(options).ok()) continue;
    Rig rig(options, options.sched.depth - 1);
    std::vector<flow::RequestId> sent;
    for (int turn = 0; turn < 120; ++turn) {
      if (dice.chance(20)) {
        GenerateRequest request = rig.ask(dice.between(1, 60), dice.between(1, 15));
        request.n = dice.between(1, 3);
        sent.push_back(request.id);
        rig.submit(request);
      }
      if (dice.chance(6)) {
        BlockId id = dice.below(options.kv.n_blocks);
        switch (dice.below(4)) {
          case 0:
            rig.books().release(id, 0);
            break;
          case 1:
            rig.books().hold(id);
            break;
          case 2:
            rig.books().clear_node(id);
            break;
          default:
            if (rig.books().counts().quarantined < 10) rig.books().take(0, 0);
            break;
        }
      }
      rig.step();
    }
    rig.run();
    for (flow::RequestId id : sent) EXPECT_TRUE(rig.sink.ended(id));
    rig.engine.reset_prefix_cache();  // finds what is wrong with a prefix that nobody has asked for since
    rig.run();
    n_errors += rig.engine.stats().n_accounting_errors;
    n_quarantined += rig.engine.stats().kv_blocks_quarantined;
    rig.expect_sound(rig.engine.stats().kv_blocks_quarantined);
    if (HasFailure()) return;
  }
  EXPECT_GT(n_errors, 300u);
  EXPECT_GT(n_quarantined, 100u);
}

TEST(AccountingDeathTest, WithoutAServerBehindItAnErrorAborts) {
  support::FakeEngine rig({.options = support::small_engine()});
  EXPECT_DEATH(rig.engine.cache().books().release(0, 0), "accounting error: a block is released that nobody holds");
}

}  // namespace
}  // namespace millrace::engine
