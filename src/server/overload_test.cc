// More work than there is room or time for: full queues, a full cache, deadlines, over real sockets with an echo
// instance.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "server/metrics.h"
#include "tests/support/server_fixture.h"

namespace millrace::server {
namespace {

using testing::EchoOptions;
using testing::eventually;
using testing::HttpClient;
using testing::stream_events;
using testing::TestServer;

TEST(Overload, FullQueueIs503WithRetryAfter) {
  EchoOptions echo;
  echo.max_queued_requests = 2;
  echo.max_live = 1;
  TestServer server({}, echo);
  server.backend().hold();
  std::vector<std::unique_ptr<HttpClient>> clients;
  std::string body = R"({"prompt":"abc","max_tokens":4})";
  int refused = 0;
  for (int i = 0; i < 8; ++i) {
    clients.push_back(std::make_unique<HttpClient>(server.port()));
    clients.back()->send(HttpClient::post_bytes("/v1/completions", body));
  }
  ASSERT_TRUE(eventually([&] { return server.instance().stats().n_refused >= 5; }));
  EXPECT_EQ(HttpClient(server.port()).get("/health").status, 200);  // a full queue is not ill health
  EXPECT_EQ(HttpClient(server.port()).get("/health/ready").status, 200);
  server.backend().release();
  for (auto& client : clients) {
    auto reply = client->read_reply();
    if (reply.status == 200) continue;
    ++refused;
    EXPECT_EQ(reply.status, 503);
    EXPECT_EQ(reply.json().find("error")->find("code")->as_string(), "queue_full");
    ASSERT_TRUE(reply.header("Retry-After"));
    EXPECT_TRUE(reply.header("retry-after-ms"));
  }
  EXPECT_GE(refused, 5);
  HttpClient(server.port()).get("/metrics");  // the engine counts them
  EXPECT_EQ(server.context().metrics.value(MetricId::kAdmissionRejections, 0), refused);
}

TEST(Overload, LowPriorityIsRefusedWhenTheCacheIsNearlyFull) {
  EchoOptions echo;
  echo.n_blocks = 16;
  echo.max_len = 512;
  TestServer server({}, echo);
  server.backend().run_to(3);  // the cache stays full until released
  HttpClient running(server.port());
  running.send(HttpClient::post_bytes(
      "/v1/completions", R"({"prompt":")" + std::string(480, 'a') + R"(","max_tokens":30,"ignore_eos":true})"));
  ASSERT_TRUE(eventually([&] { return server.instance().stats().kv_blocks_active >= 15; }));
  HttpClient low(server.port());
  auto refused = low.post("/v1/completions", R"({"prompt":"a","priority":1})");
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.json().find("error")->find("code")->as_string(), "memory_pressure");
  EXPECT_TRUE(refused.header("Retry-After"));
  EXPECT_EQ(server.context().metrics.value(MetricId::kRequestsShed, 5), 1.0);
  server.backend().release();
  EXPECT_EQ(HttpClient(server.port()).post("/v1/completions", R"({"prompt":"a"})").status, 200) << "others wait";
  EXPECT_EQ(running.read_reply().status, 200);
  EXPECT_EQ(low.post("/v1/completions", R"({"prompt":"a","priority":1})").status, 200);
}

TEST(Overload, DeadlinesEndQueuedAndRunningRequests) {
  TestServer server;
  server.backend().step_us = 20000;
  HttpClient client(server.port());
  auto reply = client.post("/v1/completions", R"({"prompt":"abc","max_tokens":500,"ignore_eos":true})",
                           "X-Request-Timeout-Ms: 150\r\n");
  EXPECT_EQ(reply.status, 504) << reply.body;
  EXPECT_EQ(reply.header("x-should-retry"), "false");
  // A machine that is too busy for a first token within the time gets more of it.
  auto streamed = [&](double seconds) {
    return client.post("/v1/completions",
                       R"({"prompt":"abc","max_tokens":2000,"ignore_eos":true,"stream":true,"timeout":)" +
                           std::to_string(seconds) + "}");
  };
  for (double seconds = 0.15; seconds < 30; seconds *= 2) {
    reply = streamed(seconds);
    if (reply.status == 200) break;
  }
  EXPECT_EQ(reply.status, 200);
  auto events = stream_events(reply.body);
  ASSERT_GE(events.size(), 2u);
  const Json* error = events[events.size() - 2].find("error");
  ASSERT_NE(error, nullptr) << reply.body;
  EXPECT_EQ(error->find("code")->as_string(), "deadline_exceeded");
  EXPECT_EQ(client.post("/v1/completions", R"({"prompt":"a"})", "X-Request-Timeout-Ms: 0\r\n").status, 400);
}

}  // namespace
}  // namespace millrace::server
