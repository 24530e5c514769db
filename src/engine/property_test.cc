// Random traces through the real engine over FakeWorker: after every step the books balance, and every text is that of
// the request alone. Rules checked: docs/contracts/cache.md and step.md. A failing seed is printed.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "engine/engine.h"
#include "sched/policies.h"
#include "tests/support/collect_sink.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_worker.h"
#include "tests/support/memory_tier.h"
#include "tests/support/trace_world.h"

namespace millrace::engine {
namespace {

using flow::FinishReason;
using flow::GenerateRequest;
using flow::KvGroupKind;
using support::CollectSink;
using support::Dice;
using support::FakeClock;
using support::FakeWorker;
using support::FakeWorkerOptions;

struct Case {
  EngineOptions options;
  FakeWorkerOptions worker;
  bool calm = false;  // no parks, failures or resets
  bool tier = false;  // a tier below the pool
};

Case random_case(uint64_t seed) {
  Dice dice(seed * 7919 + 1);
  Case c;
  sched::SchedOptions& sched = c.options.sched;
  do {
    c.options.kv = support::random_geometry(dice);
    sched.max_live = dice.between(1, 8);
    sched.c_min = dice.between(1, 6);
    sched.tok_cap = sched.max_live + sched.c_min + dice.below(64);
    sched.budget_tokens = dice.between(1, sched.tok_cap);
  } while (!Engine::validate(c.options).ok());
  sched.depth = dice.between(1, 2);
  sched.order = dice.kind_of(sched::order_rows());
  sched.admit = dice.kind_of(sched::admit_rows());
  sched.budget = dice.kind_of(sched::budget_rows());
  sched.row_tile = dice.between(1, 6);
  sched.quantum = dice.between(1, 200);
  sched.n_candidates = dice.chance(30) ? dice.between(1, 4) : 128;
  sched.itl_target = dice.chance(50) ? 0 : dice.between(1, 100) * kMicrosecond;
  sched.ttft_target = dice.chance(50) ? 0 : dice.between(1, 100) * kMillisecond;
  c.options.trie_hash_bits = dice.chance(30) ? 8 : 64;
  c.options.prefix_cache = !dice.chance(10);
  c.options.max_queued_requests = dice.between(4, 20);
  c.calm = dice.chance(30);
  c.tier = dice.chance(50);
  c.options.tier_saves_all = dice.chance(50);
  c.worker = {.kv = c.options.kv,
              .tok_cap = sched.tok_cap,
              .n_vocab = 50,
              .eos = 0,
              .eos_per_mille = dice.chance(50) ? 60u : 0u,
              .delay = sched.depth == 1 ? 0 : dice.below(3),
              .max_draft = dice.chance(50) ? 0 : dice.between(1, 5)};
  return c;
}

class World {
 public:
  World(uint64_t seed, const Case& c)
      : case_(c),
        dice_(seed),
        worker_(c.worker),
        tier_(worker_, [this](uint32_t n) { return dice_.below(n) == 0; }),
        engine_(with_tier(c), worker_, sink_, clock_) {
    for (auto& stem : stems_) {
      for (uint32_t i = 0; i < c.options.kv.max_len; ++i) stem.push_back(static_cast<TokenId>(dice_.between(1, 49)));
    }
    if (!c.calm) {
      worker_.fail_step = [this](const flow::StepPlan&) { return failures_on_ && dice_.chance(3); };
      worker_.fail_share = [this](const flow::Share&) { return failures_on_ && dice_.below(400) == 0; };
    }
  }

  void run(uint32_t n_events) {
    for (uint32_t i = 0; i < n_events && !testing::Test::HasFailure(); ++i) random_event();
    failures_on_ = false;
    tier_.faults = false;
    for (const GenerateRequest& request : requests_) engine_.resume(request.id);
    uint32_t limit = 200 + 40 * static_cast<uint32_t>(requests_.size()) * case_.options.kv.max_len;
    while ((step() || engine_.stats().has_work) && !testing::Test::HasFailure()) {
      EngineStats now = engine_.stats();
      ASSERT_GT(--limit, 0u) << fmt::format(
          "no progress: {} running, {} waiting, {} parked, {} steps, blocks {} free {} cached {} active {} leased, {} "
          "saved, {} loads, {} open",
          now.n_running, now.n_waiting, now.n_parked, now.n_steps, now.kv_blocks_free, now.kv_blocks_cached,
          now.kv_blocks_active, now.kv_blocks_leased, now.tier_saved_blocks, now.tier_loads, tier_.n_open_loads());
    }
    check_end();
  }
  uint64_t plans_hash() const { return worker_.plans_hash(); }
  EngineStats stats() const { return engine_.stats(); }
  uint32_t n_leased_at_end() const { return n_leased_at_end_; }
  size_t n_restored() const { return tier_.n_placed(); }

 private:
  EngineOptions with_tier(const Case& c) {
    EngineOptions options = c.options;
    if (c.tier) options.tier = &tier_;
    return options;
  }

  void random_event() {
    if (dice_.chance(25)) submit();
    if (!requests_.empty() && dice_.chance(12)) {
      flow::RequestId id = requests_[dice_.below(static_cast<uint32_t>(requests_.size()))].id;
      switch (dice_.below(case_.calm ? 2 : 6)) {
        case 0:
          engine_.cancel(id);
          break;
        case 1:
          engine_.cancel_fork(id, dice_.below(3));
          break;
        case 2:
          engine_.park(id);
          break;
        case 5:
          if (dice_.chance(20)) engine_.reset_prefix_cache();
          break;
        default:
          engine_.resume(id);
          break;
      }
    }
    clock_.advance(dice_.chance(2) && !case_.calm ? 10 * kSecond : kMillisecond);
    step();
  }

  void submit() {
    uint32_t longest = engine_.max_len();
    GenerateRequest request = support::random_request(dice_, longest, 3, stems_);
    request.id = next_id_++;
    request.cache_salt = request.scope == 0 ? "" : "salt";
    request.retention = dice_.chance(20) ? static_cast<uint8_t>(dice_.below(8)) : uint8_t{0};
    bool has_full = std::ranges::any_of(case_.options.kv.groups,
                                        [](const auto& group) { return group.kind == KvGroupKind::kFull; });
    if (has_full && dice_.chance(20)) {
      request.window_tokens = std::max(2u, case_.options.kv.block_tokens) + dice_.below(2) * 7;
      request.sink_tokens = dice_.below(3) * 5;
      request.scope += 2 + 10 * request.window_tokens + 1000 * request.sink_tokens;
    }
    if (dice_.chance(20)) {
      request.tenant = dice_.below(3);
      request.session = fmt::format("session {}", dice_.below(4));
      request.session_ttl = dice_.between(1, 400) * kMillisecond;
    }
    if (!case_.calm && dice_.chance(10)) request.deadline = clock_.now() + dice_.below(200) * kMillisecond + 1;
    GenerateRequest copy = request;
    Result<void> taken = engine_.submit(std::move(copy));
    if (taken.ok()) {
      requests_.push_back(std::move(request));
    } else if (request.prompt.size() < longest) {
      EXPECT_EQ(taken.error().code, ErrorCode::kQueueFull);
    }
  }

  bool step() {
    bool busy = engine_.step();
    std::string fault = engine_.check_integrity();
    EXPECT_EQ(fault, "");
    for (const std::string& text : worker_.violations()) ADD_FAILURE() << text;
    for (const std::string& text : sink_.violations()) ADD_FAILURE() << text;
    return busy;
  }

  void check_end() {
    n_leased_at_end_ = engine_.stats().kv_blocks_leased;
    clock_.advance(kSecond);  // every lease has expired
    step();
    for (const GenerateRequest& request : requests_) {
      for (uint32_t k = 0; k < request.n; ++k) check_text(request, k);
    }
    EngineStats stats = engine_.stats();
    EXPECT_FALSE(stats.has_work);
    EXPECT_EQ(stats.n_running + stats.n_waiting + stats.n_parked, 0u);
    EXPECT_EQ(stats.queued_tokens, 0u);
    EXPECT_EQ(stats.kv_blocks_active + stats.kv_blocks_cooling, 0u);
    if (case_.calm && case_.options.sched.admit == sched::AdmitKind::kNoEvictPeak) {
      EXPECT_EQ(stats.n_preemptions, 0u);
    }
    EXPECT_EQ(tier_.n_open_loads(), 0u);
    engine_.reset_prefix_cache();
    step();
    EXPECT_EQ(engine_.stats().kv_blocks_free, stats.kv_blocks_total);
    engine_.begin_drain();
    step();
    EXPECT_TRUE(engine_.drained());
  }

  void check_text(const GenerateRequest& request, uint32_t k) {
    const support::ForkText& text = sink_.text(request.id, k);
    ASSERT_NE(text.finish, FinishReason::kNone) << "request " << request.id << " fork " << k << " did not end";
    support::FakeText alone = support::reference_text(case_.worker, request, k, engine_.max_len());
    bool cut = text.finish == FinishReason::kCancelled || text.finish == FinishReason::kError;
    if (cut) {
      ASSERT_LE(text.tokens.size(), alone.tokens.size());
      alone.tokens.resize(text.tokens.size());
    } else {
      EXPECT_EQ(text.finish, alone.finish);
    }
    EXPECT_EQ(text.tokens, alone.tokens) << "request " << request.id << " fork " << k;
    const flow::TokenEvent& last = text.events.back();
    EXPECT_EQ(last.n_output, text.tokens.size());
    EXPECT_EQ(last.n_prompt, request.prompt.size());
    if (request.sampling.n_prompt_logprobs >= 0 && k == 0 && !cut) {
      const auto& logprobs = text.events.front().prompt_logprobs;
      ASSERT_EQ(logprobs.size(), request.prompt.size() - 1);
      for (size_t i = 0; i < logprobs.size(); ++i) EXPECT_EQ(logprobs[i].chosen.token, request.prompt[i + 1]);
    }
    if (request.sampling.n_logprobs >= 0) {
      for (const flow::TokenEvent& event : text.events) EXPECT_EQ(event.logprobs != nullptr, event.token != kNoToken);
    }
  }

  Case case_;
  Dice dice_;
  FakeClock clock_;
  FakeWorker worker_;
  support::MemoryTier tier_;
  CollectSink sink_;
  Engine engine_;
  std::vector<TokenId> stems_[3];
  std::vector<GenerateRequest> requests_;
  flow::RequestId next_id_ = 1;
  bool failures_on_ = true;
  uint32_t n_leased_at_end_ = 0;
};

std::string describe(uint64_t seed, const Case& c) {
  std::string text =
      fmt::format("seed {}: B {} blocks {} max_len {} live {} cap {} budget {} depth {} policies {} {} {} groups", seed,
                  c.options.kv.block_tokens, c.options.kv.n_blocks, c.options.kv.max_len, c.options.sched.max_live,
                  c.options.sched.tok_cap, c.options.sched.budget_tokens, c.options.sched.depth,
                  sched::row_of(c.options.sched.order).name, sched::row_of(c.options.sched.admit).name,
                  sched::row_of(c.options.sched.budget).name);
  for (const flow::KvGroup& group : c.options.kv.groups) text += fmt::format(" {}", group.window_tokens);
  return text;
}

TEST(EngineProperty, RandomTracesKeepTheBooksAndTheTexts) {
  constexpr uint64_t kSeeds = 400;
  uint64_t n_steps = 0, n_preemptions = 0, n_hits = 0, n_failed = 0, n_evictions = 0, n_leased = 0, n_restored = 0;
  uint64_t n_swapped_out = 0, n_swap_loads = 0, n_right = 0, n_wrong = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Case c = random_case(seed);
    SCOPED_TRACE(describe(seed, c));
    World world(seed, c);
    world.run(120);
    if (HasFailure()) return;
    EngineStats stats = world.stats();
    n_steps += stats.n_steps;
    n_preemptions += stats.n_preemptions;
    n_hits += stats.prefix_hit_tokens;
    n_failed += stats.n_failed_steps;
    n_evictions += stats.n_evictions;
    n_leased += world.n_leased_at_end();
    n_restored += world.n_restored();
    n_swapped_out += stats.swapped_out_blocks;
    n_swap_loads += stats.swap_loads;
    n_right += stats.draft_tokens_accepted;
    n_wrong += stats.draft_tokens - stats.draft_tokens_accepted;
  }
  // the traces reach what they are meant to reach
  EXPECT_GT(n_steps, kSeeds * 50);
  EXPECT_GT(n_preemptions, kSeeds / 4);
  EXPECT_GT(n_hits, kSeeds * 100);
  EXPECT_GT(n_failed, kSeeds / 4);
  EXPECT_GT(n_evictions, kSeeds);
  EXPECT_GT(n_leased, kSeeds / 4);
  EXPECT_GT(n_restored, kSeeds * 2);
  EXPECT_GT(n_swapped_out, kSeeds / 4);
  EXPECT_GT(n_swap_loads, kSeeds / 8);
  EXPECT_GT(n_right, kSeeds * 10);
  EXPECT_GT(n_wrong, kSeeds * 10);
}

TEST(EngineProperty, SameEventsGiveSamePlansWhateverTheHash) {
  for (uint64_t seed = 1000; seed < 1040; ++seed) {
    Case c = random_case(seed);
    SCOPED_TRACE(describe(seed, c));
    c.options.trie_hash_bits = 64;
    World first(seed, c);
    first.run(100);
    c.options.trie_hash_bits = 8;
    c.options.hash_secret = 0x1234567890abcdef;
    World second(seed, c);
    second.run(100);
    EXPECT_EQ(first.plans_hash(), second.plans_hash());
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace millrace::engine
