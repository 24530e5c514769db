// Messages from many threads while the engine runs on its own: every request ends once, and an idle engine sleeps.
// Run under the thread sanitizer by ./check.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "tests/support/collect_sink.h"
#include "tests/support/fake_worker.h"

namespace millrace::engine {
namespace {

TEST(EngineThreads, SubmitAndCancelWhileItRuns) {
  EngineOptions options;
  options.kv = {.block_tokens = 4, .n_blocks = 48, .block_bytes = 1, .max_len = 64, .groups = {{}}};
  options.sched.max_live = 6;
  options.sched.tok_cap = 32;
  support::FakeWorker worker({.kv = options.kv, .tok_cap = 32, .n_vocab = 50, .eos = 0});
  support::CollectSink sink;
  SystemClock clock;
  Engine engine(options, worker, sink, clock);
  std::thread loop([&] { engine.run(); });
  std::atomic<uint64_t> next_id{1};
  std::atomic<size_t> accepted{0};
  std::vector<std::thread> clients;
  for (uint32_t c = 0; c < 3; ++c) {
    clients.emplace_back([&, c] {
      for (uint32_t i = 0; i < 60; ++i) {
        flow::GenerateRequest request;
        request.id = next_id.fetch_add(1);
        request.prompt.assign(1 + (i * 7 + c) % 40, static_cast<TokenId>(1 + c));
        request.sampling.max_tokens = i % 12;
        request.n = 1 + i % 2;
        flow::RequestId id = request.id;
        size_t n = request.n;
        if (!engine.submit(std::move(request)).ok()) continue;
        accepted.fetch_add(n);
        if (i % 3 == 0) engine.cancel(id);
        if (i % 5 == 0) engine.park(id);
        if (i % 7 == 0) engine.cancel_fork(id, 0);
        if (i % 5 == 0) engine.resume(id);
        if (i % 11 == 0) engine.reset_prefix_cache();
        EXPECT_LE(engine.stats().n_running, 6u);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  while (engine.stats().has_work) std::this_thread::yield();
  uint64_t heartbeat = engine.stats().heartbeat;
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_LE(engine.stats().heartbeat, heartbeat + 2);  // asleep
  engine.begin_drain();
  engine.stop();
  loop.join();
  EXPECT_TRUE(engine.drained());
  EXPECT_EQ(sink.n_ended(), accepted.load());
  EXPECT_TRUE(worker.violations().empty());
  EXPECT_TRUE(sink.violations().empty());
}

}  // namespace
}  // namespace millrace::engine
