// Binding, loading, draining, stopping.
#include "server/http_server.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "server/descriptors.h"
#include "server/health.h"
#include "tests/support/server_fixture.h"
#include "tests/support/temp_dir.h"

namespace millrace::server {
namespace {

using testing::eventually;
using testing::HttpClient;
using testing::TestServer;
using testing::with_limit;

TEST(HttpServer, PortIsBoundBeforeTheModelLoads) {
  std::atomic<bool> go{false};
  TestServer server({}, [&](const instance::ProgressFn& progress) -> Result<std::unique_ptr<instance::Instance>> {
    while (!go.load()) {
      progress({"weights", 0.5});
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return std::move(testing::make_echo().instance);
  });
  HttpClient client(server.port());
  auto health = client.get("/health");
  EXPECT_EQ(health.status, 503);
  EXPECT_EQ(health.json().find("state")->as_string(), "loading");
  EXPECT_EQ(health.json().find("error")->find("message")->as_string(), "Loading model");
  EXPECT_EQ(client.get("/health/live").status, 200);
  EXPECT_EQ(client.get("/health/ready").status, 503);
  EXPECT_EQ(client.get("/metrics").status, 200);
  for (const char* path : {"/v1/chat/completions", "/v1/completions", "/tokenize"}) {
    auto reply = client.post(path, "{}");
    EXPECT_EQ(reply.status, 503) << path;
    EXPECT_EQ(reply.json().find("error")->find("code")->as_string(), "loading");
    EXPECT_TRUE(reply.header("Retry-After"));
  }
  go.store(true);
  EXPECT_TRUE(eventually([&] { return client.get("/ready").status == 200; }));
  EXPECT_EQ(client.get("/health").json().find("status")->as_string(), "ok");
}

TEST(HttpServer, AFailedLoadIsItsError) {
  TestServer server({}, [](const instance::ProgressFn&) -> Result<std::unique_ptr<instance::Instance>> {
    return Error{ErrorCode::kBadFile, "x.gguf: not a model file", ""};
  });
  ASSERT_TRUE(eventually([&] { return server.ended(); }));
  Result<int> result = server.stop();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kBadFile);
}

TEST(HttpServer, ASignalEndsALoad) {
  TestServer server({}, [](const instance::ProgressFn& progress) -> Result<std::unique_ptr<instance::Instance>> {
    while (progress({"weights", 0.1})) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return Error{ErrorCode::kCancelled, "given up", ""};
  });
  server.server().shut_down();
  ASSERT_TRUE(eventually([&] { return server.ended(); }));
  Result<int> result = server.stop();
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(*result, 0);
}

TEST(HttpServer, BindRefusals) {
  TestServer server;
  ServerOptions options;
  options.port = server.port();
  auto taken = HttpServer::bind(options);
  ASSERT_FALSE(taken.ok());
  EXPECT_EQ(taken.error().code, ErrorCode::kResource);
  EXPECT_TRUE(taken.error().message.starts_with("cannot bind 127.0.0.1:"));
  ServerOptions open;
  open.host = "0.0.0.0";
  open.port = 0;
  auto refused = HttpServer::bind(open);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kUsage);
  EXPECT_NE(refused.error().message.find("--allow-open"), std::string::npos);
  open.allow_open = true;
  EXPECT_TRUE(HttpServer::bind(open).ok());
  ServerOptions bad;
  bad.host = "no.such.host.";
  bad.allow_open = true;
  EXPECT_EQ(HttpServer::bind(bad).error().code, ErrorCode::kResource);
}

TEST(HttpServer, ConnectionsLeaveDescriptorsForTheRest) {
  EXPECT_EQ(*connection_cap(16384, 1'000'000), 16384);
  EXPECT_EQ(*connection_cap(16384, 1024), 960);
  EXPECT_EQ(*connection_cap(10, 128), 10);
  auto refused = connection_cap(16384, 64);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kResource);
  EXPECT_NE(refused.error().message.find("ulimit -n"), std::string::npos);
}

TEST(HttpServer, UnixSockets) {
  testing::TempDir folder;
  ServerOptions options;
  options.uds = folder.path() + "/socket";
  {
    TestServer server(options);
    EXPECT_EQ(server.server().url(), "unix:" + options.uds);
    struct stat info {};
    ASSERT_EQ(::lstat(options.uds.c_str(), &info), 0);
    EXPECT_TRUE(S_ISSOCK(info.st_mode));
    EXPECT_EQ(info.st_mode & 0777u, 0600u);
    HttpClient client(options.uds);
    EXPECT_EQ(client.get("/health").status, 200);
    auto reply = client.post("/v1/completions", R"({"prompt":"abc","max_tokens":20,"stream":true})");
    EXPECT_TRUE(reply.complete);
    auto large = client.post("/tokenize", R"({"prompt":")" + std::string(100'000, 'a') + "\"}");
    EXPECT_EQ(large.json().find("count")->as_int(), 100'000);
    auto taken = HttpServer::bind(options);
    ASSERT_FALSE(taken.ok());
    EXPECT_EQ(taken.error().code, ErrorCode::kResource);
    EXPECT_NE(taken.error().message.find("another server listens there"), std::string::npos);
    EXPECT_EQ(client.get("/health").status, 200) << "the refused one has not taken the socket away";
  }
  EXPECT_FALSE(file_exists(options.uds)) << "removed at the end";
  {
    boost::asio::io_context loop;
    boost::asio::local::stream_protocol::acceptor left(loop, options.uds);
  }
  ASSERT_TRUE(file_exists(options.uds)) << "as after a crash";
  EXPECT_TRUE(HttpServer::bind(options).ok());
  ASSERT_TRUE(write_file_atomic(options.uds, "text").ok());
  auto refused = HttpServer::bind(options);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("no socket is there"), std::string::npos);
  options.uds = folder.path() + "/" + std::string(108, 'a');
  EXPECT_EQ(HttpServer::bind(options).error().code, ErrorCode::kResource);
  options.uds = folder.path() + "/none/socket";
  EXPECT_EQ(HttpServer::bind(options).error().code, ErrorCode::kResource);
}

TEST(HttpServer, DrainFinishesWhatRunsAndRefusesTheRest) {
  testing::EchoOptions echo;
  echo.max_live = 2;
  TestServer server(with_limit(LimitId::kDrainSeconds, 3600), echo);
  server.backend().step_us = 10'000;  // long answers until all has been looked at
  std::string body = R"({"prompt":"abcdefghij","max_tokens":2000,"ignore_eos":true,"stream":true})";
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(std::make_unique<HttpClient>(server.port()));
    clients.back()->send(HttpClient::post_bytes("/v1/completions", body));
  }
  HttpClient idle(server.port());
  EXPECT_EQ(idle.get("/version").status, 200);
  ASSERT_TRUE(
      eventually([&] { return server.instance().stats().n_running == 2 && server.instance().stats().n_waiting == 3; }));
  server.server().shut_down();
  EXPECT_TRUE(eventually([&] { return !server.context().serving(); }));
  HttpClient late(server.port());
  auto refused = late.post("/v1/completions", body);
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.header("Connection"), "close");
  EXPECT_TRUE(refused.header("Retry-After"));
  HttpClient probe(server.port());
  EXPECT_EQ(probe.get("/health/live").status, 200);
  HttpClient ready(server.port());
  EXPECT_EQ(ready.get("/health/ready").status, 503);
  EXPECT_TRUE(idle.wait_closed());
  server.backend().step_us = 0;
  int finished = 0;
  int turned_away = 0;
  for (auto& client : clients) {
    auto reply = client->read_reply();
    if (reply.status == 503) {
      EXPECT_EQ(reply.json().find("error")->find("code")->as_string(), "draining");
      ++turned_away;
    } else {
      EXPECT_EQ(reply.status, 200);
      EXPECT_TRUE(reply.body.ends_with("data: [DONE]\n\n"));
      EXPECT_EQ(reply.body.find("\"error\""), std::string::npos);
      ++finished;
    }
  }
  EXPECT_EQ(finished, 2);
  EXPECT_EQ(turned_away, 3);
  ASSERT_TRUE(eventually([&] { return server.ended(); }));
  EXPECT_EQ(*server.stop(), 0);
}

TEST(HttpServer, DrainLimitEndsStreamsWithAnErrorEvent) {
  ServerOptions options;
  CHECK(options.limits.set(LimitId::kDrainSeconds, 1).ok());
  TestServer server(options);
  server.backend().step_us = 5000;
  HttpClient client(server.port());
  client.send(HttpClient::post_bytes("/v1/completions",
                                     R"({"prompt":"ab","max_tokens":2000,"ignore_eos":true,"stream":true})"));
  ASSERT_TRUE(eventually([&] { return server.instance().stats().n_running == 1; }));
  server.server().shut_down();
  auto reply = client.read_reply();
  EXPECT_TRUE(reply.complete);
  EXPECT_NE(reply.body.find("\"code\":\"draining\""), std::string::npos);
  EXPECT_TRUE(reply.body.ends_with("data: [DONE]\n\n"));
  EXPECT_EQ(*server.stop(), 0);
}

TEST(HttpServer, SecondSignalDoesNotWaitForStreams) {
  TestServer server(with_limit(LimitId::kDrainSeconds, 600));
  server.backend().step_us = 100'000;  // the stream takes 200 s
  HttpClient client(server.port());
  client.send(HttpClient::post_bytes("/v1/completions",
                                     R"({"prompt":"ab","max_tokens":2000,"ignore_eos":true,"stream":true})"));
  ASSERT_TRUE(eventually([&] { return server.instance().stats().n_running == 1; }));
  server.server().shut_down();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(server.ended());
  server.server().shut_down();
  EXPECT_TRUE(eventually([&] { return server.ended(); }));
}

TEST(HttpServer, ReaderThatNeverReadsDoesNotHoldTheEnd) {
  ServerOptions options;
  CHECK(options.limits.set(LimitId::kSseRingBytes, 8 * 1024).ok());
  CHECK(options.limits.set(LimitId::kDrainSeconds, 600).ok());
  testing::EchoOptions echo;
  echo.max_len = 16384;
  echo.n_blocks = 1024;
  TestServer server(options, echo);
  HttpClient client(server.port());
  client.set_receive_buffer(4096);
  client.send(HttpClient::post_bytes("/v1/completions",
                                     R"({"prompt":"ab","max_tokens":16000,"ignore_eos":true,"stream":true})"));
  ASSERT_TRUE(eventually([&] { return server.context().metrics.value(MetricId::kStreamsParked) == 1.0; }));
  server.server().shut_down();
  server.server().shut_down();
  EXPECT_TRUE(eventually([&] { return server.ended(); }));
  EXPECT_EQ(*server.stop(), 0);
}

TEST(Health, TableOfProbes) {
  struct Row {
    HealthState state;
    int health;
    int live;
    int ready;
  };
  const Row rows[] = {
      {HealthState::kLoading, 503, 200, 503},  {HealthState::kReady, 200, 200, 200},
      {HealthState::kDraining, 503, 200, 503}, {HealthState::kStalled, 503, 503, 503},
      {HealthState::kDead, 503, 503, 503},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(probe_status(Probe::kHealth, row.state), row.health);
    EXPECT_EQ(probe_status(Probe::kLive, row.state), row.live);
    EXPECT_EQ(probe_status(Probe::kReady, row.state), row.ready);
  }
}

TEST(Health, AFrozenEngineIsSeenAndTheWatchdogEndsTheProcess) {
  const std::string request = HttpClient::post_bytes("/v1/completions", R"({"prompt":"ab"})");
  {
    TestServer server(with_limit(LimitId::kLiveStallSeconds, 1));
    HttpClient probe(server.port());
    EXPECT_EQ(probe.get("/live").status, 200);
    server.backend().hold();
    HttpClient client(server.port());
    client.send(request);
    EXPECT_TRUE(eventually([&] { return probe.get("/live").status == 503; }));
    server.backend().release();
    EXPECT_EQ(client.read_reply().status, 200);
    EXPECT_TRUE(eventually([&] { return probe.get("/live").status == 200; }));
  }
  testing::EchoOptions echo;
  CHECK(echo.limits.set(LimitId::kWatchdogSeconds, 1).ok());
  TestServer server({}, echo);
  server.backend().hold();
  HttpClient client(server.port());
  client.send(request);
  EXPECT_TRUE(eventually([&] { return server.ended(); }));
  EXPECT_EQ(*server.stop(), 5);
}

}  // namespace
}  // namespace millrace::server
