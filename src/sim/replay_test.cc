// An engine's inputs, recorded and played to a new engine, give the same plans; broken logs are refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>

#include "base/byte_reader.h"
#include "engine/event_log.h"
#include "engine/event_reader.h"
#include "engine/sessions.h"
#include "sim/cluster.h"
#include "sim/replay.h"
#include "tests/support/collect_sink.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_worker.h"
#include "tests/support/memory_tier.h"
#include "tests/support/temp_dir.h"
#include "tests/support/trace_world.h"

namespace millrace::sim {
namespace {

using flow::GenerateRequest;

std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Recording {
  std::string bytes;
  uint64_t plans_hash = 0;
  engine::EngineStats stats;
  uint64_t n_beams = 0;
  uint64_t n_restored = 0;     // blocks that sessions brought back
  uint64_t n_unreachable = 0;  // requests refused for the sake of their deadline
};

// kTiers: also a tier below the pool, sessions and beams. kServed: and what a server adds: any policies, targets, what
// is known of the machine, tenants, bands, windows, proposals.
enum class Life : uint8_t { kPlain, kTiers, kServed };

// A random life of an engine: requests, cancels, parks, resets, failing steps, at depth 1 or 2.
class RandomLife {
 public:
  RandomLife(uint64_t seed, Life life, engine::EventLog& log)
      : random_(seed),
        life_(life),
        dice_(seed * 31 + 7),
        options_(random_options(log)),
        worker_({.kv = options_.kv,
                 .tok_cap = 40,
                 .n_vocab = 50,
                 .eos = 0,
                 .eos_per_mille = 50,
                 .delay = options_.sched.depth - 1,
                 .max_draft = life == Life::kServed ? dice_.below(4) : 0}),
        tier_(worker_, [this](uint32_t n) { return below(n) == 0; }),
        engine_(with_tiers(), worker_, sink_, clock_) {
    worker_.fail_step = [this](const flow::StepPlan&) { return below(60) == 0; };
    worker_.fail_share = [this](const flow::Share&) { return below(300) == 0; };
  }

  Recording run() {
    for (int turn = 0; turn < 400; ++turn) {
      if (turn < 300 && below(4) == 0 && !engine_.submit(random_request()).ok()) continue;
      act();
      if (life_ != Life::kPlain && below(15) == 0) session_act();
      clock_.advance(kMillisecond * (1 + below(20)));
      engine_.step();
    }
    tier_.faults = false;
    for (flow::RequestId id = 1; id < next_id_; ++id) engine_.resume(id);
    for (int turn = 0; turn < 2000 && (engine_.step() || engine_.stats().has_work); ++turn) {
      clock_.advance(kMillisecond);
    }
    out_.stats = engine_.stats();
    for (const engine::StepRecord& step : engine_.recent_steps()) out_.plans_hash = step.state_hash;
    for (flow::RequestId id = 1; id < next_id_; ++id) {
      const support::ForkText& text = sink_.text(id);
      bool refused = !text.events.empty() && text.events.back().error.code == ErrorCode::kDeadlineUnreachable;
      out_.n_unreachable += refused ? 1u : 0u;
    }
    return std::move(out_);
  }

 private:
  uint32_t below(uint64_t n) { return static_cast<uint32_t>(random_() % n); }

  engine::EngineOptions random_options(engine::EventLog& log) {
    engine::EngineOptions options;
    options.kv = {.block_tokens = 4, .n_blocks = 20 + below(40), .block_bytes = 1, .max_len = 64, .groups = {{}}};
    if (below(2) == 0)
      options.kv.groups.push_back({.kind = flow::KvGroupKind::kWindow, .window_tokens = 9, .layers = {}});
    options.sched.max_live = 6;
    options.sched.tok_cap = 40;
    options.sched.budget_tokens = 24;
    options.sched.depth = 1 + below(2);
    options.sched.admit = below(2) == 0 ? sched::AdmitKind::kMaxUtil : sched::AdmitKind::kNoEvictPeak;
    options.event_log = &log;
    if (life_ != Life::kPlain) options.kv.block_bytes = static_cast<uint32_t>(4 * sizeof(support::FakeCell));
    if (life_ != Life::kServed) return options;
    support::random_policies(dice_, options.sched);
    options.sched.c_min = dice_.between(1, 6);
    sched::CostRegime regime{.c = {1e6 * dice_.between(1, 9), 5e5, 5e5, 100, 100}, .n_seen = 50};
    if (dice_.chance(50)) options.cost_prior = sched::CostModel(8, regime, regime);
    return options;
  }
  engine::EngineOptions with_tiers() {
    engine::EngineOptions options = options_;
    if (life_ == Life::kPlain) return options;
    options.tier = &tier_;
    options.tier_saves_all = below(2) == 0;
    options.block_bytes = [this](flow::BlockId id) { return worker_.bytes_of(id); };
    return options;
  }

  GenerateRequest random_request() {
    GenerateRequest r{.id = next_id_++, .n = 1 + below(2)};
    r.prompt.assign(1 + below(30), static_cast<TokenId>(1 + below(3)));
    r.sampling.max_tokens = below(20);
    r.sampling.eos_token_ids = {0};
    r.sampling.n_prompt_logprobs = below(5) == 0 ? 0 : -1;
    if (below(8) == 0) r.deadline = clock_.now() + below(100) * kMillisecond + 1;
    if (life_ == Life::kServed) serve(r);
    if (life_ == Life::kPlain) return r;
    r.prompt.assign(1 + below(40), static_cast<TokenId>(1 + below(2)));
    if (below(3) == 0) r.session = "s" + std::to_string(below(3));
    if (!r.session.empty() && below(2) == 0) r.session_ttl = below(60) * kMillisecond;
    r.cache_salt = below(6) == 0 ? "salt" : "";
    r.scope = r.cache_salt.empty() ? 0 : 1;
    if (r.window_tokens > 0) r.scope += 2 + 10 * r.window_tokens + 1000 * r.sink_tokens;
    if (below(5) == 0 && r.sampling.n_prompt_logprobs < 0 && r.window_tokens == 0) {
      r.n = 1;
      r.beam_width = 2 + below(2);
      r.sampling.max_tokens = 1 + below(12);
      r.sampling.n_logprobs = static_cast<int32_t>(flow::beam_candidates(r.beam_width, 1));
      ++out_.n_beams;
    }
    return r;
  }

  void serve(GenerateRequest& r) {
    r.tenant = dice_.below(3);
    r.weight = 1 + r.tenant;
    r.band = static_cast<int16_t>(static_cast<int>(dice_.below(3)) - 1);
    r.retention = static_cast<uint8_t>(dice_.below(8));
    r.use_prefix_cache = !dice_.chance(10);
    if (dice_.chance(30)) r.ttft_slo = dice_.between(1, 50) * kMillisecond;
    if (dice_.chance(30)) r.itl_slo = dice_.between(1, 50) * kMicrosecond;
    if (dice_.chance(20)) r.sampling.stop_token_ids = {static_cast<TokenId>(dice_.between(1, 49))};
    if (dice_.chance(20)) r.sampling.min_tokens = dice_.below(r.sampling.max_tokens + 1);
    r.sampling.ignore_eos = dice_.chance(20);
    if (!dice_.chance(15)) return;
    r.window_tokens = dice_.between(4, 12);
    r.sink_tokens = dice_.below(6);
  }

  void act() {
    flow::RequestId id = 1 + below(next_id_);
    switch (below(20)) {
      case 0:
        engine_.cancel(id);
        break;
      case 1:
        engine_.park(id);
        break;
      case 2:
        engine_.cancel_fork(id, below(2));
        break;
      case 3:
        if (below(6) == 0) engine_.reset_prefix_cache();
        break;
      default:
        engine_.resume(id);
        break;
    }
  }

  void session_act() {
    auto task = std::make_shared<engine::SessionTask>();
    task->verb = static_cast<engine::SessionVerb>(below(3));
    task->name = "s" + std::to_string(below(3));
    task->max_bytes = below(4) == 0 ? 300 : 1 << 20;
    if (task->verb == engine::SessionVerb::kRestore && !saved_) return;
    if (task->verb == engine::SessionVerb::kRestore) task->copy = *saved_;
    task->done = [this, task = task.get()](Result<void> result) {
      if (!result.ok()) return;
      if (task->verb == engine::SessionVerb::kRestore) out_.n_restored += task->n_tokens;
      if (task->verb == engine::SessionVerb::kSave) saved_ = task->copy;
    };
    engine_.session(task);
  }

  std::mt19937_64 random_;
  Life life_;
  support::Dice dice_;  // of what kServed adds
  engine::EngineOptions options_;
  support::FakeWorker worker_;
  support::CollectSink sink_;
  support::FakeClock clock_;
  support::MemoryTier tier_;
  std::optional<flow::SessionCopy> saved_;
  Recording out_;
  uint64_t next_id_ = 1;
  engine::Engine engine_;
};

Recording record(uint64_t seed, const std::string& path, uint64_t max_bytes, Life life = Life::kPlain) {
  auto log = engine::EventLog::create(path, max_bytes);
  EXPECT_TRUE(log.ok());
  Recording out = RandomLife(seed, life, **log).run();
  log->reset();
  out.bytes = slurp(path);
  return out;
}

TEST(Replay, GivesTheSamePlans) {
  testing::TempDir dir;
  uint64_t n_preemptions = 0;
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    Recording recording = record(seed, dir.path() + "/log", 1 << 24);
    auto report = replay(as_bytes(recording.bytes));
    ASSERT_TRUE(report.ok()) << report.error().message;
    EXPECT_FALSE(report->difference.has_value()) << *report->difference;
    EXPECT_TRUE(report->complete);
    EXPECT_EQ(report->n_plans, recording.stats.n_steps);
    EXPECT_GT(report->n_plans, 20u);
    EXPECT_EQ(report->steps.size(), recording.stats.n_steps);
    std::string csv = steps_csv(report->steps);
    EXPECT_EQ(static_cast<size_t>(std::ranges::count(csv, '\n')), report->steps.size() + 1);
    EXPECT_EQ(report->stats.generated_tokens, recording.stats.generated_tokens);
    EXPECT_EQ(report->stats.n_preemptions, recording.stats.n_preemptions);
    EXPECT_EQ(report->stats.n_finished_error, recording.stats.n_finished_error);
    n_preemptions += recording.stats.n_preemptions;
  }
  EXPECT_GT(n_preemptions, 10u);  // the lives reach what is hard
}

// What a tier answered and what sessions asked for is recorded; its bytes are not, and decide nothing.
TEST(Replay, TiersSessionsSwapAndBeamsGiveTheSamePlans) {
  testing::TempDir dir;
  uint64_t n_loads = 0, n_swaps = 0, n_beams = 0, n_restored = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    Recording recording = record(seed, dir.path() + "/log", 1 << 24, Life::kTiers);
    auto report = replay(as_bytes(recording.bytes));
    ASSERT_TRUE(report.ok()) << report.error().message;
    ASSERT_FALSE(report->difference.has_value()) << *report->difference;
    EXPECT_TRUE(report->complete);
    EXPECT_EQ(report->n_plans, recording.stats.n_steps);
    EXPECT_EQ(report->stats.generated_tokens, recording.stats.generated_tokens);
    EXPECT_EQ(report->stats.tier_loaded_tokens, recording.stats.tier_loaded_tokens);
    EXPECT_EQ(report->stats.swap_loads, recording.stats.swap_loads);
    n_loads += recording.stats.tier_loads;
    n_swaps += recording.stats.swap_loads;
    n_beams += recording.n_beams;
    n_restored += recording.n_restored;
  }
  EXPECT_GT(n_loads, 60u);  // the lives reach what is hard
  EXPECT_GT(n_swaps, 10u);
  EXPECT_GT(n_beams, 60u);
  EXPECT_GT(n_restored, 60u);
}

TEST(Replay, ALifeAsAServerLeadsItGivesTheSamePlans) {
  testing::TempDir dir;
  uint64_t n_loads = 0, n_swaps = 0, n_beams = 0, n_restored = 0, n_unreachable = 0, n_right = 0, n_cancelled = 0;
  for (uint64_t seed = 1; seed <= 120; ++seed) {
    SCOPED_TRACE(seed);
    Recording recording = record(seed, dir.path() + "/log", 1 << 24, Life::kServed);
    auto report = replay(as_bytes(recording.bytes));
    ASSERT_TRUE(report.ok()) << report.error().message;
    ASSERT_FALSE(report->difference.has_value()) << *report->difference;
    EXPECT_TRUE(report->complete);
    EXPECT_EQ(report->n_plans, recording.stats.n_steps);
    EXPECT_EQ(report->stats.generated_tokens, recording.stats.generated_tokens);
    EXPECT_EQ(report->stats.n_finished_error, recording.stats.n_finished_error);
    EXPECT_EQ(report->stats.draft_tokens_accepted, recording.stats.draft_tokens_accepted);
    n_loads += recording.stats.tier_loads;
    n_swaps += recording.stats.swap_loads;
    n_beams += recording.n_beams;
    n_restored += recording.n_restored;
    n_unreachable += recording.n_unreachable;
    n_right += recording.stats.draft_tokens_accepted;
    n_cancelled += recording.stats.n_finished_cancelled;
  }
  EXPECT_GT(n_loads, 60u);  // the lives reach what is hard
  EXPECT_GT(n_swaps, 10u);
  EXPECT_GT(n_beams, 60u);
  EXPECT_GT(n_restored, 60u);
  EXPECT_GT(n_unreachable, 60u);
  EXPECT_GT(n_right, 60u);
  EXPECT_GT(n_cancelled, 60u);
}

// The run as a load: the answers are as long as they were, prompts share what they shared, and it can be served
// otherwise.
TEST(Replay, ARecordedRunIsALoad) {
  testing::TempDir dir;
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    Recording recording = record(seed, dir.path() + "/log", 1 << 24);
    auto load = read_trace(dir.path() + "/log");
    ASSERT_TRUE(load.ok()) << load.error().message;
    uint64_t n_tokens = 0;
    for (const SimRequest& request : load->requests) n_tokens += request.n_output;
    EXPECT_EQ(n_tokens, recording.stats.generated_tokens);
    EXPECT_EQ(load->requests.front().arrival, 0);
    EXPECT_TRUE(std::ranges::is_sorted(load->requests, {}, &SimRequest::arrival));
    for (SimRequest& request : load->requests) request.deadline = 0;
    ReplicaSpec replica;
    replica.engine.kv = {.block_tokens = 4, .n_blocks = 100, .block_bytes = 1, .max_len = 64, .groups = {{}}};
    replica.engine.sched.max_live = 6;
    replica.engine.sched.tok_cap = 40;
    replica.engine.sched.budget_tokens = 24;
    replica.engine.max_queued_requests = UINT32_MAX;
    replica.cost = load_cost("llama3-8b-a100").value();
    ClusterSpec spec;
    spec.replicas = {replica};
    auto report = Cluster::create(spec, *load).value()->run();
    ASSERT_TRUE(report.ok()) << report.error().message;
    EXPECT_EQ(report->n_finished, load->requests.size());
    EXPECT_GT(report->hit_rate(), 0.1);
  }
  EXPECT_EQ(read_trace(dir.write("cut", "MRLOG\x05")).error().code, ErrorCode::kBadFile);
}

TEST(Replay, PredictionsAreComparedWithWhatWasMeasured) {
  std::vector<engine::StepRecord> steps(100);
  for (size_t i = 0; i < steps.size(); ++i) {
    steps[i].took = kMillisecond;
    steps[i].predicted = kMillisecond + static_cast<Tick>(i) * 10 * kMicrosecond;  // 0 to 99 % off
  }
  EXPECT_NEAR(prediction_error(steps).median, 0.5, 0.011);
  EXPECT_NEAR(prediction_error(steps).p95, 0.95, 0.011);
  steps[99].predicted = 0;  // not known yet
  EXPECT_NEAR(prediction_error(steps).p95, 0.94, 0.011);
  EXPECT_EQ(prediction_error({}).median, 0);
}

TEST(Replay, AnotherPlanIsNamed) {
  testing::TempDir dir;
  Recording recording = record(7, dir.path() + "/log", 1 << 24);
  std::string other = recording.bytes;
  size_t at = other.find("\"budget_tokens\":24");
  ASSERT_NE(at, std::string::npos);
  other.replace(at, 18, "\"budget_tokens\":23");
  auto report = replay(as_bytes(other));
  ASSERT_TRUE(report.ok()) << report.error().message;
  ASSERT_TRUE(report->difference.has_value());
  EXPECT_NE(report->difference->find("recorded"), std::string::npos) << *report->difference;
}

TEST(Replay, ABoundedLogReplaysUpToItsEnd) {
  testing::TempDir dir;
  Recording recording = record(3, dir.path() + "/log", 4000);
  EXPECT_LE(recording.bytes.size(), 4001u);
  auto report = replay(as_bytes(recording.bytes));
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_FALSE(report->difference.has_value()) << *report->difference;
  EXPECT_FALSE(report->complete);
  EXPECT_GT(report->n_plans, 5u);
}

TEST(Replay, BrokenLogsAreRefused) {
  testing::TempDir dir;
  std::string good = record(5, dir.path() + "/log", 6000, Life::kTiers).bytes;
  EXPECT_EQ(replay(as_bytes("")).error().code, ErrorCode::kBadFile);
  EXPECT_EQ(replay(as_bytes("MRLOG\x07{}")).error().code, ErrorCode::kBadFile);
  std::mt19937_64 random(1);
  for (int i = 0; i < 300; ++i) {  // any outcome but a crash
    std::string bad = good;
    for (uint64_t n = 1 + random() % 3; n > 0; --n) bad[random() % bad.size()] = static_cast<char>(random());
    if (random() % 4 == 0) bad.resize(random() % bad.size());
    auto report = replay(as_bytes(bad));
    if (!report.ok()) {
      EXPECT_FALSE(report.error().message.empty());
    }
  }
}

}  // namespace
}  // namespace millrace::sim
