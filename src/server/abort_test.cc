// POST /abort_request: requests end in every state, by the key that sent them or an admin's, and nobody else's do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/server_fixture.h"

namespace millrace::server {
namespace {

using testing::ClientReply;
using testing::eventually;
using ::testing::HasSubstr;
using testing::HttpClient;
using testing::stream_events;
using testing::TestServer;

std::string endless(const char* stream) {
  return std::string(R"({"prompt":"abcdefgh","max_tokens":2000,"ignore_eos":true,"stream":)") + stream + "}";
}

int64_t aborted(TestServer& server, const std::string& body, const std::string& headers = {}) {
  ClientReply reply = HttpClient(server.port()).post("/abort_request", body, headers);
  EXPECT_EQ(reply.status, 200) << reply.body;
  return reply.status == 200 ? reply.json().find("aborted")->as_int() : -1;
}

bool all_free(TestServer& server) {
  engine::EngineStats stats = server.instance().stats();
  return stats.n_running == 0 && stats.n_waiting == 0 && stats.kv_blocks_active == 0 &&
         server.instance().router().n_open() == 0 && server.context().n_generations.load() == 0;
}

TEST(Abort, EndsARequestInEveryState) {
  ServerOptions options;
  options.sse_header_delay_ms = 600'000;  // however slow the machine: no stream begins before its first token
  TestServer server(options);
  for (const char* stream : {"true", "false"}) {
    server.backend().hold();  // nothing has been generated: a status of its own, in streams too
    HttpClient waiting(server.port());
    waiting.send(HttpClient::post_bytes("/v1/completions", endless(stream), "X-Request-Id: waits\r\n"));
    ASSERT_TRUE(eventually([&] { return server.instance().router().n_open() == 1; }));
    EXPECT_EQ(aborted(server, R"({"rid":"waits"})"), 1);
    ClientReply reply = waiting.read_reply();
    EXPECT_EQ(reply.status, 409);
    EXPECT_EQ(reply.header("x-should-retry"), "false");
    EXPECT_EQ(reply.json().find("error")->find("code")->as_string(), "cancelled");
    server.backend().release();
    EXPECT_TRUE(eventually([&] { return all_free(server); }));
  }
  server.backend().step_us = 1000;
  HttpClient running(server.port());
  running.send(HttpClient::post_bytes("/v1/completions", endless("false"), "X-Request-Id: runs\r\n"));
  ASSERT_TRUE(eventually([&] { return server.instance().stats().n_running == 1; }));
  EXPECT_EQ(aborted(server, R"({"rid":"cmpl-runs"})"), 1) << "by the id of its reply";
  EXPECT_EQ(running.read_reply().status, 409);

  HttpClient streaming(server.port());
  streaming.send(HttpClient::post_bytes("/v1/completions", endless("true"), "X-Request-Id: streams\r\n"));
  while (streaming.buffer().find("\"text\":\"b\"") == std::string::npos) ASSERT_TRUE(streaming.receive());
  EXPECT_EQ(aborted(server, R"({"rid":["nobody","streams","streams"]})"), 1);
  ClientReply reply = streaming.read_reply();
  EXPECT_EQ(reply.status, 200);
  EXPECT_THAT(reply.body, HasSubstr(R"("code":"cancelled")"));
  EXPECT_THAT(reply.body, HasSubstr("data: [DONE]"));
  EXPECT_TRUE(eventually([&] { return all_free(server); }));
  EXPECT_EQ(aborted(server, R"({"rid":"streams"})"), 0) << "it has ended";
  EXPECT_EQ(HttpClient(server.port()).post("/v1/completions", R"({"prompt":"ok"})").status, 200);
}

TEST(Abort, SglangsAnswerIsGivenAsFarAsItCame) {
  TestServer server;
  server.backend().step_us = 1000;
  HttpClient client(server.port());
  client.send(HttpClient::post_bytes("/generate", R"({"text":"abcdef","rid":"mine","stream":true,)"
                                                  R"("sampling_params":{"max_new_tokens":2000,"ignore_eos":true}})"));
  while (client.buffer().find("\"text\":\"abc") == std::string::npos) ASSERT_TRUE(client.receive());
  EXPECT_EQ(aborted(server, R"({"rid":"mine"})"), 1);
  ClientReply reply = client.read_reply();
  const std::vector<Json> events = stream_events(reply.body);
  ASSERT_GE(events.size(), 2u);
  EXPECT_EQ(events.back(), Json("[DONE]"));
  const Json& last = events[events.size() - 2];
  ASSERT_NE(last.find("meta_info"), nullptr) << reply.body;
  EXPECT_EQ(last.find("meta_info")->find("finish_reason")->find("type")->as_string(), "abort");
  EXPECT_THAT(last.find("text")->as_string(), HasSubstr("abc"));
  EXPECT_EQ(last.find("meta_info")->find("completion_tokens")->as_int(), std::ssize(last.find("text")->as_string()));
  EXPECT_EQ(last.find("meta_info")->find("prompt_tokens")->as_int(), 6);
  EXPECT_TRUE(eventually([&] { return all_free(server); }));
}

TEST(Abort, KeysReachTheirOwnRequestsOnly) {
  ServerOptions options;
  options.api_keys = {"one", "two"};
  options.admin_keys = {"boss"};
  TestServer server(options);
  server.backend().hold();
  HttpClient first(server.port());
  HttpClient second(server.port());
  first.send(HttpClient::post_bytes("/v1/completions", endless("false"), "x-api-key: one\r\nX-Request-Id: a\r\n"));
  second.send(HttpClient::post_bytes("/v1/completions", endless("false"), "x-api-key: two\r\nX-Request-Id: a\r\n"));
  ASSERT_TRUE(eventually([&] { return server.instance().router().n_open() == 2; }));
  HttpClient client(server.port());
  EXPECT_EQ(client.post("/abort_request", R"({"rid":"a"})").status, 401);
  HttpClient another(server.port());  // a refusal from the head ends the connection
  EXPECT_EQ(another.post("/abort_request", R"({"abort_all":true})", "x-api-key: one\r\n").status, 403);
  EXPECT_EQ(aborted(server, R"({"rid":"a"})", "x-api-key: two\r\n"), 1);
  EXPECT_EQ(second.read_reply().status, 409);
  EXPECT_TRUE(eventually([&] { return server.instance().router().n_open() == 1; }));
  EXPECT_EQ(aborted(server, R"({"abort_all":true})", "x-api-key: boss\r\n"), 1);
  EXPECT_EQ(first.read_reply().status, 409);
  server.backend().release();
  EXPECT_TRUE(eventually([&] { return all_free(server); }));
}

TEST(Abort, BadBodiesAreRefused) {
  TestServer server;
  HttpClient client(server.port());
  const std::string longest(129, 'x');
  for (const std::string& bad :
       {std::string("{}"), std::string("[]"), std::string(R"({"rid":7})"), std::string(R"({"rid":""})"),
        std::string(R"({"rid":"a b"})"), std::string(R"({"rid":[["a"]]})"), std::string(R"({"abort_all":"yes"})"),
        std::string(R"({"abort_all":true,"rid":7})"), std::string(R"({"abort_all":false})"),
        std::string(R"({"rid":")") + longest + "\"}"}) {
    ClientReply reply = client.post("/abort_request", bad);
    EXPECT_EQ(reply.status, 400) << bad;
  }
  EXPECT_EQ(client.get("/abort_request").status, 405);
  EXPECT_EQ(aborted(server, R"({"rid":"nobody"})"), 0);
  EXPECT_EQ(aborted(server, R"({"rid":[]})"), 0);
  EXPECT_EQ(aborted(server, R"({"abort_all":true})"), 0);
}

}  // namespace
}  // namespace millrace::server
