// /tokenize and /detokenize over real sockets: who does the work, replies in pieces, what a large body costs in memory.
#include "server/tokens.h"

#include <gtest/gtest.h>

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

constexpr size_t kLarge = 300 * 1024;  // a body for the worker of large jobs
constexpr size_t kSmall = 0;

std::string tokenize_body(size_t n_bytes) { return R"({"prompt":")" + std::string(n_bytes, 'a') + "\"}"; }

TEST(Tokens, TheIoThreadNeverTokenises) {
  TestServer server;
  BusyWorkers bulk(server, kLarge, 1);
  HttpClient large(server.port());
  large.send(HttpClient::post_bytes("/tokenize", tokenize_body(kLarge)));
  // Streams, small bodies and probes go on: whole answers, while the large one has not begun.
  for (int i = 0; i < 20; ++i) {
    HttpClient other(server.port());
    auto stream = other.post("/v1/completions", R"({"prompt":"abc","max_tokens":40,"ignore_eos":true,"stream":true})");
    EXPECT_TRUE(stream.complete);
    EXPECT_TRUE(stream.body.ends_with("data: [DONE]\n\n"));
    EXPECT_EQ(other.post("/tokenize", R"({"prompt":"hi"})").json().find("count")->as_int(), 2);
    EXPECT_EQ(other.get("/health").status, 200);
  }
  EXPECT_FALSE(large.receive(0)) << "only the busy worker could have answered";
  bulk.release();
  auto reply = large.read_reply();
  EXPECT_EQ(reply.json().find("count")->as_int(), static_cast<int64_t>(kLarge));

  BusyWorkers text(server, kSmall, 2);
  HttpClient small(server.port());
  HttpClient detokenize(server.port());
  small.send(HttpClient::post_bytes("/tokenize", R"({"prompt":"hi"})"));
  detokenize.send(HttpClient::post_bytes("/detokenize", R"({"tokens":[104,105]})"));
  HttpClient probe(server.port());
  for (int i = 0; i < 20; ++i) EXPECT_EQ(probe.get("/version").status, 200);
  EXPECT_FALSE(small.receive(0) || detokenize.receive(0));
  text.release();
  EXPECT_EQ(small.read_reply().json().find("count")->as_int(), 2);
  EXPECT_EQ(detokenize.read_reply().body, R"({"prompt":"hi"})");
}

TEST(Tokens, LargeChatBodiesAreParsedAside) {
  TestServer server;
  BusyWorkers bulk(server, kLarge, 1);
  HttpClient client(server.port());
  std::string text(kLarge, 'a');
  client.send(
      HttpClient::post_bytes("/v1/chat/completions", R"({"messages":[{"role":"user","content":")" + text + R"("}]})"));
  HttpClient probe(server.port());
  for (int i = 0; i < 20; ++i) EXPECT_EQ(probe.get("/version").status, 200);
  EXPECT_FALSE(client.receive(0));
  bulk.release();
  auto reply = client.read_reply();
  EXPECT_EQ(reply.status, 400);
  EXPECT_EQ(reply.json().find("error")->find("code")->as_string(), "context_length_exceeded");
}

TEST(Tokens, LargeRepliesAreTheSameInChunks) {
  TestServer server;
  HttpClient client(server.port());
  size_t n = 200'000;
  auto reply = client.post("/tokenize", R"({"content":")" + std::string(n, 'a') + R"(","with_pieces":true})");
  EXPECT_TRUE(reply.complete);
  EXPECT_GT(reply.chunks.size(), 10u);
  EXPECT_EQ(reply.header("Content-Type"), "application/json");
  Json body = reply.json();
  ASSERT_EQ(body.find("tokens")->size(), n);
  EXPECT_EQ(body.find("tokens")->as_array()[n - 1].dump(), R"({"id":97,"piece":"a"})");
  EXPECT_EQ(client.get("/version").status, 200) << "the connection goes on";

  std::string tokens = "[";
  for (size_t i = 0; i < n; ++i) tokens += i == 0 ? "195" : i % 2 == 1 ? ",164" : ",195";  // the two bytes of U+00E4
  auto text = client.post("/detokenize", R"({"tokens":)" + tokens + "]}").json().find("prompt")->as_string();
  ASSERT_EQ(text.size(), n);
  EXPECT_TRUE(text.starts_with("\xC3\xA4\xC3\xA4") && text.ends_with("\xC3\xA4"));

  HttpClient old(server.port());
  std::string large = tokenize_body(n);
  auto whole =
      old.request("POST /tokenize HTTP/1.0\r\nContent-Length: " + std::to_string(large.size()) + "\r\n\r\n" + large);
  EXPECT_EQ(whole.json().find("count")->as_int(), static_cast<int64_t>(n));
  EXPECT_EQ(whole.header("Connection"), "close");
}

TEST(Tokens, AClientThatLeavesCostsNothingMore) {
  TestServer server;
  BusyWorkers bulk(server, kLarge, 1);
  {
    HttpClient client(server.port());
    client.send(HttpClient::post_bytes("/tokenize", tokenize_body(kLarge)));
    EXPECT_TRUE(eventually([&] { return server.context().n_connections == 1; }));
  }
  bulk.release();
  EXPECT_TRUE(eventually([&] { return server.context().n_connections == 0; }));
}

TEST(Tokens, DrainWaitsForWhatWasAccepted) {
  TestServer server;
  HttpClient client(server.port());
  {
    BusyWorkers bulk(server, kLarge, 1);
    client.send(HttpClient::post_bytes("/tokenize", tokenize_body(kLarge)));
    ASSERT_TRUE(eventually([&] { return server.context().n_calls == 1; }));
    server.server().shut_down();
    ASSERT_TRUE(eventually([&] { return !server.context().serving(); }));
    EXPECT_FALSE(server.ended());
  }
  auto reply = client.read_reply();
  EXPECT_EQ(reply.status, 200);
  EXPECT_TRUE(reply.complete);
  EXPECT_EQ(reply.header("Connection"), "close");
}

TEST(Tokens, AStopLeavesQueuedWorkUndone) {
  TestServer server;
  HttpClient client(server.port());
  {
    BusyWorkers bulk(server, kLarge, 1);
    client.send(HttpClient::post_bytes("/tokenize", tokenize_body(kLarge)));
    ASSERT_TRUE(eventually([&] { return server.context().n_calls == 1; }));
    server.server().shut_down();
    server.server().shut_down();
    ASSERT_TRUE(eventually([&] { return server.context().lifecycle == Lifecycle::kStopping; }));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  EXPECT_TRUE(eventually([&] { return server.ended(); }));
  EXPECT_TRUE(client.wait_closed());
  EXPECT_EQ(client.buffer(), "");
}

TEST(Tokens, TooMuchQueuedTextIsRefusedAtOnce) {
  EchoOptions echo;
  CHECK(echo.limits.set(LimitId::kQueuedBytes, 1'000'000).ok());
  TestServer server({}, echo);
  BusyWorkers bulk(server, 600'000, 1);
  HttpClient client(server.port());
  auto reply = client.post("/tokenize", tokenize_body(500'000));
  EXPECT_EQ(reply.status, 503);
  EXPECT_EQ(reply.json().find("error")->find("code")->as_string(), "queue_full");
  EXPECT_TRUE(reply.header("Retry-After"));
  EXPECT_EQ(client.post("/tokenize", tokenize_body(100'000)).status, 200);
}

}  // namespace
}  // namespace millrace::server
