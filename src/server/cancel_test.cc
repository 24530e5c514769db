// A request can end before its answer does, by its client's leaving or by POST /abort_request, in each of the states it
// goes through. In every one of them it is in no step planned afterwards, nothing of it stays, and its neighbours do
// not notice. The engine stands still while the request ends, so that what is counted does not depend on the machine.
#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/server_fixture.h"

namespace millrace::server {
namespace {

using testing::BusyWorkers;
using testing::EchoOptions;
using testing::eventually;
using testing::HttpClient;
using testing::TestServer;

enum class Way : uint8_t { kDisconnect, kReset, kAbort };

constexpr const char* kEndless = R"("max_tokens":2000,"ignore_eos":true)";

std::string prompt_of(char letter, size_t n) { return R"("prompt":")" + std::string(n, letter) + "\","; }

std::string completion(const std::string& members, bool stream) {
  return HttpClient::post_bytes("/v1/completions", "{" + members + R"(,"stream":)" + (stream ? "true}" : "false}"),
                                "X-Request-Id: victim\r\n");
}

// One server, the request that ends early, and what else a state needs.
struct World {
  TestServer server;
  bool stream;
  std::unique_ptr<HttpClient> victim;
  std::unique_ptr<HttpClient> neighbour;
  std::unique_ptr<BusyWorkers> busy;
  std::promise<void> compilers;  // kept waiting

  World(const ServerOptions& options, const EchoOptions& echo, bool streams)
      : server(options, echo), stream(streams), victim(std::make_unique<HttpClient>(server.port())) {
    server.backend().watched_token = 'w';
  }

  void send_victim(const std::string& members) {
    victim->send(completion(members, stream));
    ASSERT_TRUE(eventually([&] { return server.context().n_generations == (neighbour == nullptr ? 1u : 2u); }));
    // the thread of the sockets has done all that it does at once
    ASSERT_EQ(HttpClient(server.port()).get("/version").status, 200);
  }
  void send_neighbour(const std::string& members) {
    neighbour = std::make_unique<HttpClient>(server.port());
    neighbour->send(HttpClient::post_bytes("/v1/completions", "{" + members + R"(,"ignore_eos":true})"));
    ASSERT_TRUE(eventually([&] { return server.instance().stats().n_requests == 1; }));
  }
  // One step after the other, until `there` holds while the next one waits.
  void step_until(const std::function<bool()>& there) {
    constexpr int kMost = 200;
    for (int i = 0; i < kMost; ++i) {
      ASSERT_TRUE(eventually([&] { return server.backend().held(); }));
      if (there()) return;
      server.backend().run_to(server.backend().n_steps + 1);
    }
    FAIL() << "not there after " << kMost << " steps";
  }
  engine::EngineStats stats() { return server.instance().stats(); }
  bool victim_gone() { return server.context().n_generations == (neighbour == nullptr ? 0u : 1u); }
};

struct State {
  const char* name;
  void (*set_up)(ServerOptions& server, EchoOptions& echo);
  void (*reach)(World& world);
  bool streams_only = false;
  uint32_t most_depth = 2;
};

void nothing_special(ServerOptions& server, EchoOptions& echo) {
  (void)server;
  (void)echo;
}

void reach_tokenising(World& world) {
  world.busy = std::make_unique<BusyWorkers>(world.server, 0, 2);
  world.send_victim(prompt_of('w', 8) + kEndless);
}

void reach_compiling(World& world) {
  std::shared_future<void> wait = world.compilers.get_future().share();
  auto n_stuck = std::make_shared<std::atomic<int>>(0);
  for (const char* regex : {"x", "y"}) {  // as many as there are threads
    auto posted = world.server.instance().constraints().post({.kind = flow::ConstraintKind::kRegex, .text = regex},
                                                             [wait, n_stuck](const auto&) {
                                                               ++*n_stuck;
                                                               wait.wait();
                                                             });
    ASSERT_TRUE(posted.ok());
  }
  ASSERT_TRUE(eventually([&] { return n_stuck->load() == 2; }));
  world.send_victim(prompt_of('w', 8) + R"("structured_outputs":{"regex":"[ab]+"},)" + kEndless);
  BusyWorkers later(world.server, 0, 2);  // the text workers have been through what came before
}

void one_slot(ServerOptions& server, EchoOptions& echo) {
  (void)server;
  echo.max_live = 1;
}

void reach_queued(World& world) {
  world.send_neighbour(prompt_of('a', 8) + R"("max_tokens":100)");
  world.step_until([&] { return world.stats().n_running == 1; });
  world.send_victim(prompt_of('w', 8) + kEndless);
  world.step_until([&] { return world.stats().n_waiting == 1; });
}

void reach_prefill(World& world) {
  world.send_victim(prompt_of('w', 2000) + R"("max_tokens":40,"ignore_eos":true)");
  world.step_until([&] { return world.stats().n_running == 1; });
  ASSERT_EQ(world.stats().generated_tokens, 0u);
}

void reach_decode(World& world) {
  world.send_victim(prompt_of('w', 8) + kEndless);
  world.step_until([&] { return world.stats().generated_tokens >= 5; });
}

void reach_draft_check(World& world) {
  world.server.backend().n_proposed = 3;
  world.send_victim(prompt_of('w', 8) + kEndless);
  world.step_until([&] { return world.stats().draft_tokens >= 6; });
}

void small_pool(ServerOptions& server, EchoOptions& echo) {
  (void)server;
  echo.n_blocks = 4;
  echo.max_len = 128;
}

void reach_preempted(World& world) {
  world.send_neighbour(prompt_of('a', 50) + R"("max_tokens":40)");
  world.step_until([&] { return world.stats().n_running == 1; });
  world.send_victim(prompt_of('w', 50) + R"("max_tokens":40,"ignore_eos":true)");
  world.step_until([&] { return world.stats().n_preemptions == 1 && world.stats().n_waiting == 1; });
}

void small_ring(ServerOptions& server, EchoOptions& echo) {
  CHECK(server.limits.set(LimitId::kSseRingBytes, 8 * 1024).ok());
  CHECK(server.limits.set(LimitId::kParkSeconds, 600).ok());
  CHECK(server.limits.set(LimitId::kSendStallSeconds, 600).ok());
  echo.max_len = 16384;
  echo.n_blocks = 1024;
}

void reach_parked(World& world) {
  world.server.backend().step_us = 200;  // else the answer may be complete before it is parked
  world.server.backend().release();
  world.victim->set_receive_buffer(4096);
  world.send_victim(prompt_of('w', 8) + R"("max_tokens":16000,"ignore_eos":true)");
  ASSERT_TRUE(eventually([&] { return world.stats().n_parked == 1; }));
}

void long_drain(ServerOptions& server, EchoOptions& echo) {
  (void)echo;
  CHECK(server.limits.set(LimitId::kDrainSeconds, 3600).ok());
}

void reach_draining(World& world) {
  reach_decode(world);
  world.server.server().shut_down();
  ASSERT_TRUE(eventually([&] { return !world.server.context().serving(); }));
}

constexpr State kStates[] = {
    {"tokenising", nothing_special, reach_tokenising},
    {"compiling", nothing_special, reach_compiling},
    {"queued", one_slot, reach_queued},
    {"prefill", nothing_special, reach_prefill},
    {"decode", nothing_special, reach_decode},
    {"parked", small_ring, reach_parked, true},
    {"draft check", nothing_special, reach_draft_check, false, 1},  // with two in flight chance has a say
    {"preempted", small_pool, reach_preempted},
    {"draining", long_drain, reach_draining}};

void end_victim(World& world, Way way) {
  if (way == Way::kDisconnect) world.victim->close();
  if (way == Way::kReset) world.victim->reset();
  if (way != Way::kAbort) return;
  auto reply = HttpClient(world.server.port()).post("/abort_request", R"({"rid":"victim"})");
  EXPECT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(reply.json().find("aborted")->as_int(), 1);
  auto last = world.victim->read_reply();
  bool told = last.status == 409 || last.body.find(R"("code":"cancelled")") != std::string::npos;
  EXPECT_TRUE(told) << last.status << last.body.substr(0, 200);
}

void end_in(const State& state, uint32_t depth, bool stream, Way way) {
  ServerOptions options;
  options.sse_header_delay_ms = 600'000;  // however slow the machine: no stream begins before its first token
  EchoOptions echo;
  echo.depth = depth;
  state.set_up(options, echo);
  World world(options, echo, stream);
  TestServer& server = world.server;
  server.backend().hold();
  state.reach(world);
  if (::testing::Test::HasFatalFailure()) {
    server.backend().release();
    world.compilers.set_value();
    return;
  }
  uint64_t before = server.backend().n_watched_steps;
  const bool drains = !server.context().serving();
  end_victim(world, way);
  EXPECT_TRUE(eventually([&] { return world.victim_gone(); }));
  if (world.busy != nullptr) world.busy->release();
  world.compilers.set_value();
  server.backend().release();
  if (world.neighbour != nullptr) {
    auto reply = world.neighbour->read_reply();
    EXPECT_EQ(reply.status, 200) << reply.body;
    EXPECT_EQ(reply.json().find("choices")->as_array()[0].find("finish_reason")->as_string(), "length");
  }
  // a server that ends takes its instance with it: there its end says that nothing is left
  EXPECT_TRUE(eventually([&] {
    if (drains) return server.ended();
    engine::EngineStats now = world.stats();
    return now.n_running == 0 && now.n_waiting == 0 && now.kv_blocks_active == 0 && now.kv_blocks_cooling == 0 &&
           now.n_requests_ended == now.n_requests && server.instance().router().n_open() == 0 &&
           server.context().n_generations == 0;
  }));
  EXPECT_LE(server.backend().n_watched_steps - before, depth) << "steps that were under way as it ended";
}

TEST(Cancel, EndsARequestInEveryStateAndLeavesNothing) {
  for (const State& state : kStates) {
    for (uint32_t depth : {1u, 2u}) {
      for (bool stream : {true, false}) {
        if (depth > state.most_depth || (state.streams_only && !stream)) continue;
        for (Way way : {Way::kDisconnect, Way::kReset, Way::kAbort}) {
          SCOPED_TRACE(std::string(state.name) + (stream ? ", a stream" : ", whole") + ", depth " +
                       std::to_string(depth) + ", way " + std::to_string(static_cast<int>(way)));
          end_in(state, depth, stream, way);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

}  // namespace
}  // namespace millrace::server
