// Decode steps of a running batch allocate nothing in cache, sched and engine (the backend and the sink are not
// counted).
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

#include "engine/engine.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_worker.h"

namespace {

thread_local bool counting = false;
thread_local size_t n_allocations = 0;

}  // namespace

// weak: a sanitizer brings its own
[[gnu::weak]] void* operator new(size_t size) {
  if (counting) ++n_allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  std::abort();
}
[[gnu::weak]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::weak]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace millrace::engine {
namespace {

class Uncounted {
 public:
  Uncounted() : before_(std::exchange(counting, false)) {}
  ~Uncounted() { counting = before_; }

 private:
  bool before_;
};

class UncountedWorker final : public flow::Backend {
 public:
  explicit UncountedWorker(support::FakeWorkerOptions options) : worker_(std::move(options)) {}
  void submit(const flow::StepPlan& plan) override {
    Uncounted scope;
    worker_.submit(plan);
  }
  bool done(uint64_t step) override { return worker_.done(step); }
  flow::StepOutput take_output(uint64_t step) override {
    Uncounted scope;
    return worker_.take_output(step);
  }

 private:
  support::FakeWorker worker_;
};

class NoSink final : public flow::EventSink {
 public:
  void deliver(std::span<flow::TokenEvent> events) override { n_events += events.size(); }
  size_t n_events = 0;
};

TEST(EngineAllocations, DecodeStepsAllocateNothing) {
  counting = true;
  auto probe = std::make_unique<EngineOptions>();
  counting = false;
  if (n_allocations == 0) return;  // a sanitizer replaced operator new: the release build is where this counts
  EngineOptions& options = *probe;
  options.kv = {.block_tokens = 4, .n_blocks = 2048, .block_bytes = 1, .max_len = 512, .groups = {{}}};
  options.kv.groups.push_back({.kind = flow::KvGroupKind::kWindow, .window_tokens = 20, .layers = {}});
  options.sched.max_live = 16;
  UncountedWorker worker({.kv = options.kv, .n_vocab = 100});
  NoSink sink;
  support::FakeClock clock;
  Engine engine(options, worker, sink, clock);
  for (flow::RequestId id = 1; id <= 16; ++id) {
    flow::GenerateRequest request;
    request.id = id;
    request.prompt.assign(10 + id, static_cast<TokenId>(id));
    request.sampling.max_tokens = 400;
    request.sampling.seed = id;
    ASSERT_TRUE(engine.submit(std::move(request)).ok());
  }
  for (int i = 0; i < 60; ++i) engine.step();
  sink.n_events = 0;
  n_allocations = 0;
  counting = true;
  for (int i = 0; i < 200; ++i) engine.step();
  counting = false;
  EXPECT_EQ(n_allocations, 0u);
  EXPECT_EQ(sink.n_events, 16u * 200u);
}

}  // namespace
}  // namespace millrace::engine
