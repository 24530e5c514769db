// FakeEngine: a real engine over FakeWorker on a fake clock, with a tier in memory if asked for; what the engine's
// tests share. After every step the books balance; at its end the worker and the sink have seen no broken promise.
// Thread: the test's.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "tests/support/collect_sink.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_worker.h"
#include "tests/support/memory_tier.h"

namespace millrace::support {

// Of a test with parameters, as in "WindowsDepth2".
inline std::string setting_name(bool windows, uint32_t depth) {
  return std::string(windows ? "Windows" : "Full") + "Depth" + std::to_string(depth);
}

class StepRecords final : public engine::StepObserver {
 public:
  void on_step(const engine::StepRecord& record) override { all.push_back(record); }
  std::vector<engine::StepRecord> all;
};

struct FakeSetup {
  engine::EngineOptions options;
  uint32_t eos_per_mille = 0;
  uint32_t delay = 0;                              // turns that a step takes
  bool tier = false;                               // a MemoryTier below the pool
  std::function<bool(uint32_t)> chance = nullptr;  // of its faults; none: it has none
  bool bytes = false;                              // sessions can be saved and restored
};

// Blocks of 4 tokens, one Full KvGroup, steps of at most 64 rows, 32 of them of prompts.
inline engine::EngineOptions small_engine(uint32_t n_blocks = 64, uint32_t max_len = 128, uint32_t max_live = 8) {
  engine::EngineOptions options;
  options.kv = {.block_tokens = 4, .n_blocks = n_blocks, .block_bytes = 1, .max_len = max_len, .groups = {{}}};
  options.sched.max_live = max_live;
  options.sched.tok_cap = 64;
  options.sched.budget_tokens = 32;
  return options;
}

// A KvGroup of a window beside those there are.
inline void add_window(engine::EngineOptions& options, uint32_t window_tokens) {
  options.kv.groups.push_back({.kind = flow::KvGroupKind::kWindow, .window_tokens = window_tokens, .layers = {}});
}

struct FakeEngine {
  explicit FakeEngine(FakeSetup setup_in)
      : setup(std::move(setup_in)),
        worker(worker_of(setup)),
        tier(
            worker, setup.chance != nullptr ? setup.chance : [](uint32_t) { return false; }),
        engine(wired(), worker, sink, clock, &records) {}
  ~FakeEngine() {
    for (const std::string& text : worker.violations()) ADD_FAILURE() << text;
    for (const std::string& text : sink.violations()) ADD_FAILURE() << text;
    EXPECT_EQ(engine.check_integrity(), "");
  }
  FakeEngine(const FakeEngine&) = delete;
  FakeEngine& operator=(const FakeEngine&) = delete;

  flow::RequestId submit(flow::GenerateRequest request) {
    flow::RequestId id = request.id;
    Result<void> taken = engine.submit(std::move(request));
    EXPECT_TRUE(taken.ok()) << taken.error().message;
    return id;
  }
  bool step() {
    clock.advance(kMillisecond);
    bool busy = engine.step();
    EXPECT_EQ(engine.check_integrity(), "");
    return busy;
  }
  // Until there is nothing to do.
  void run() {
    for (int i = 0; i < 10'000 && step(); ++i) {
    }
  }
  void run_until(const std::function<bool()>& done) {
    for (int turns = 0; !done() && turns < 3000 && !::testing::Test::HasFailure(); ++turns) step();
    ASSERT_TRUE(done());
  }
  // Until it has ended, forks and all.
  void finish(const flow::GenerateRequest& request) {
    submit(request);
    run_until([&] {
      for (uint32_t fork = 0; fork < request.n; ++fork) {
        if (!sink.ended(request.id, fork)) return false;
      }
      return true;
    });
  }
  engine::EngineStats stats() const { return engine.stats(); }
  // What the request gets when nobody else is there.
  std::vector<TokenId> alone(const flow::GenerateRequest& request, uint32_t fork = 0) const {
    return reference_text(worker_of(setup), request, fork, engine.max_len()).tokens;
  }
  const flow::TokenEvent& last(flow::RequestId id, uint32_t fork = 0) { return sink.text(id, fork).events.back(); }

  FakeSetup setup;
  FakeClock clock;
  FakeWorker worker;
  MemoryTier tier;
  CollectSink sink;
  StepRecords records;
  engine::Engine engine;

 private:
  static FakeWorkerOptions worker_of(const FakeSetup& setup) {
    return {.kv = setup.options.kv,
            .tok_cap = setup.options.sched.tok_cap,
            .n_vocab = 50,
            .eos = 0,
            .eos_per_mille = setup.eos_per_mille,
            .delay = setup.delay};
  }
  engine::EngineOptions wired() {
    engine::EngineOptions options = setup.options;
    if (setup.tier) options.tier = &tier;
    if (setup.bytes) options.block_bytes = [this](flow::BlockId id) { return worker.bytes_of(id); };
    return options;
  }
};

}  // namespace millrace::support
