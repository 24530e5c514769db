// An engine's inputs, recorded and played to a new engine, give the same plans; broken logs are refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>

#include "base/byte_reader.h"
#include "engine/event_log.h"
#include "engine/event_reader.h"
#include "sim/replay.h"
#include "tests/support/collect_sink.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_worker.h"
#include "tests/support/temp_dir.h"

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
};

// A random life of an engine: requests, cancels, parks, resets, failing steps, at depth 1 or 2.
Recording record(uint64_t seed, const std::string& path, uint64_t max_bytes) {
  std::mt19937_64 random(seed);
  auto below = [&](uint64_t n) { return static_cast<uint32_t>(random() % n); };
  engine::EngineOptions options;
  options.kv = {.block_tokens = 4, .n_blocks = 20 + below(40), .block_bytes = 1, .max_len = 64, .groups = {{}}};
  if (below(2) == 0)
    options.kv.groups.push_back({.kind = flow::KvGroupKind::kWindow, .window_tokens = 9, .layers = {}});
  options.sched.max_live = 6;
  options.sched.tok_cap = 40;
  options.sched.budget_tokens = 24;
  options.sched.depth = 1 + below(2);
  options.sched.admit = below(2) == 0 ? sched::AdmitKind::kMaxUtil : sched::AdmitKind::kNoEvictPeak;
  auto log = engine::EventLog::create(path, max_bytes);
  EXPECT_TRUE(log.ok());
  options.event_log = log->get();
  support::FakeWorker worker({.kv = options.kv,
                              .tok_cap = 40,
                              .n_vocab = 50,
                              .eos = 0,
                              .eos_per_mille = 50,
                              .delay = options.sched.depth - 1});
  worker.fail_step = [&](const flow::StepPlan&) { return below(60) == 0; };
  worker.fail_share = [&](const flow::Share&) { return below(300) == 0; };
  support::CollectSink sink;
  support::FakeClock clock;
  engine::Engine engine(options, worker, sink, clock);
  uint64_t next_id = 1;
  for (int turn = 0; turn < 400; ++turn) {
    if (turn < 300 && below(4) == 0) {
      GenerateRequest r{.id = next_id++, .n = 1 + below(2)};
      r.prompt.assign(1 + below(30), static_cast<TokenId>(1 + below(3)));
      r.sampling.max_tokens = below(20);
      r.sampling.eos_token_ids = {0};
      r.sampling.n_prompt_logprobs = below(5) == 0 ? 0 : -1;
      if (below(8) == 0) r.deadline = clock.now() + below(100) * kMillisecond + 1;
      if (!engine.submit(std::move(r)).ok()) continue;
    }
    flow::RequestId id = 1 + below(next_id);
    switch (below(20)) {
      case 0:
        engine.cancel(id);
        break;
      case 1:
        engine.park(id);
        break;
      case 2:
        engine.cancel_fork(id, below(2));
        break;
      case 3:
        if (below(6) == 0) engine.reset_prefix_cache();
        break;
      default:
        engine.resume(id);
        break;
    }
    clock.advance(kMillisecond * (1 + below(20)));
    engine.step();
  }
  for (flow::RequestId id = 1; id < next_id; ++id) engine.resume(id);
  for (int turn = 0; turn < 2000 && (engine.step() || engine.stats().has_work); ++turn) clock.advance(kMillisecond);
  Recording out{.stats = engine.stats()};
  for (const engine::StepRecord& step : engine.recent_steps()) out.plans_hash = step.state_hash;
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
  std::string good = record(5, dir.path() + "/log", 6000).bytes;
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
