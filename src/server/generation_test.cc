// Chat and completions over real sockets with an echo instance: exact bytes of streams, whole replies, cancelling, slow
// readers.
#include "server/generation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/metrics.h"
#include "tests/support/server_fixture.h"

namespace millrace::server {
namespace {

using testing::EchoOptions;
using testing::eventually;
using ::testing::HasSubstr;
using testing::HttpClient;
using testing::stream_events;
using testing::TestServer;

const Json& choice_of(const Json& body, size_t index = 0) { return body.find("choices")->as_array()[index]; }
std::string text_of(const Json& choice) { return choice.find("text")->as_string(); }

// Joined text of choice `index` of a completion stream.
std::string streamed_text(const std::string& body, int64_t index = 0) {
  std::string text;
  for (const Json& event : stream_events(body)) {
    const Json* choices = event.get("choices");
    if (choices == nullptr) continue;
    for (const Json& choice : choices->as_array()) {
      if (choice.find("index")->as_int() == index && choice.get("text") != nullptr) text += text_of(choice);
    }
  }
  return text;
}

bool all_free(TestServer& server) {
  engine::EngineStats stats = server.instance().stats();
  return stats.n_running == 0 && stats.n_waiting == 0 && stats.kv_blocks_active == 0 &&
         server.instance().router().n_open() == 0;
}

TEST(Generation, WholeCompletion) {
  TestServer server;
  HttpClient client(server.port());
  auto reply = client.post("/v1/completions", R"({"model":"echo","prompt":"hello"})", "X-Request-Id: abc\r\n");
  ASSERT_EQ(reply.status, 200) << reply.body;
  Json body = reply.json();
  EXPECT_EQ(body.find("id")->as_string(), "cmpl-abc");
  EXPECT_EQ(reply.header("X-Request-Id"), "abc");
  EXPECT_EQ(body.find("object")->as_string(), "text_completion");
  EXPECT_EQ(text_of(choice_of(body)), "hello");
  EXPECT_EQ(choice_of(body).find("finish_reason")->as_string(), "stop");
  EXPECT_EQ(body.find("usage")->find("prompt_tokens")->as_int(), 5);
  EXPECT_EQ(body.find("usage")->find("completion_tokens")->as_int(), 6);  // with the end token
  EXPECT_EQ(body.find("system_fingerprint")->as_string(), "fp_echo");
  EXPECT_TRUE(eventually([&] { return all_free(server); }));
}

TEST(Generation, WholeChatWithThreeChoices) {
  TestServer server;
  HttpClient client(server.port());
  auto reply =
      client.post("/chat/completions", R"({"messages":[{"role":"user","content":"hi"}],"n":3,"max_tokens":8})");
  ASSERT_EQ(reply.status, 200) << reply.body;
  Json body = reply.json();
  ASSERT_EQ(body.find("choices")->size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(choice_of(body, i).find("message")->find("content")->as_string(), "hi");
  }
  EXPECT_EQ(body.find("usage")->find("prompt_tokens")->as_int(), 4);
  EXPECT_EQ(body.find("usage")->find("completion_tokens")->as_int(), 15);
}

TEST(Generation, SeveralPromptsAreNumberedInOrder) {
  TestServer server;
  HttpClient client(server.port());
  Json body = client.post("/v1/completions", R"({"prompt":["ab","cde","fg"],"n":2})").json();
  ASSERT_EQ(body.find("choices")->size(), 6u);
  const char* want[] = {"ab", "ab", "cde", "cde", "fg", "fg"};
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(text_of(choice_of(body, i)), want[i]);
  std::string stream = client.post("/v1/completions", R"({"prompt":["ab","cde"],"n":2,"stream":true})").body;
  for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(streamed_text(stream, i), want[i]);
}

TEST(Generation, StopStringsAreCutAcrossTokens) {
  TestServer server;
  HttpClient client(server.port());
  const char* request = R"({"prompt":"one two three","max_tokens":50,"stop":["wo th"]%s})";
  auto ask = [&](const std::string& more) {
    std::string text = request;
    text.replace(text.find("%s"), 2, more);
    return client.post("/v1/completions", text);
  };
  Json body = ask("").json();
  EXPECT_EQ(text_of(choice_of(body)), "one t");
  EXPECT_EQ(choice_of(body).find("stop_reason")->as_string(), "wo th");
  EXPECT_EQ(body.find("usage")->find("completion_tokens")->as_int(), 10);
  EXPECT_EQ(text_of(choice_of(ask(R"(,"include_stop_str_in_output":true)").json())), "one two th");
  EXPECT_EQ(streamed_text(ask(R"(,"stream":true)").body), "one t");
  EXPECT_TRUE(eventually([&] { return all_free(server); }));
}

TEST(Generation, LogprobsFollowTheText) {
  TestServer server;
  HttpClient client(server.port());
  Json body = client.post("/v1/completions", R"({"prompt":"abc","logprobs":2})").json();
  const Json* logprobs = choice_of(body).find("logprobs");
  EXPECT_EQ(logprobs->find("tokens")->dump(), R"(["a","b","c"])");
  EXPECT_EQ(logprobs->find("text_offset")->dump(), "[0,1,2]");
  EXPECT_EQ(logprobs->find("token_logprobs")->size(), 3u);
  Json scored = client.post("/v1/completions", R"({"prompt":"abc","logprobs":1,"echo":true,"max_tokens":0})").json();
  logprobs = choice_of(scored).find("logprobs");
  EXPECT_EQ(text_of(choice_of(scored)), "abc");
  EXPECT_EQ(logprobs->find("tokens")->dump(), R"(["a","b","c"])");
  EXPECT_TRUE(logprobs->find("token_logprobs")->as_array()[0].is_null());
  EXPECT_EQ(logprobs->find("token_logprobs")->as_array()[2].as_double(), -0.5);
  Json echoed = client.post("/v1/completions", R"({"prompt":"abc","echo":true})").json();
  EXPECT_EQ(text_of(choice_of(echoed)), "abcabc");
  std::string stream = client.post("/v1/completions", R"({"prompt":"abc","echo":true,"stream":true})").body;
  EXPECT_EQ(streamed_text(stream), "abcabc");
}

TEST(Generation, ChatStreamBytes) {
  TestServer server;
  HttpClient client(server.port());
  auto reply = client.post("/v1/chat/completions",
                           R"({"messages":[{"role":"user","content":"hi"}],"stream":true,"max_tokens":2,)"
                           R"("stream_options":{"include_usage":true}})",
                           "X-Request-Id: r1\r\n");
  ASSERT_EQ(reply.status, 200);
  EXPECT_EQ(reply.header("Content-Type"), "text/event-stream; charset=utf-8");
  EXPECT_EQ(reply.header("Cache-Control"), "no-cache");
  EXPECT_EQ(reply.header("X-Accel-Buffering"), "no");
  ASSERT_TRUE(reply.complete);
  // The role rides with the first token; each event is "data: " + JSON + two line feeds.
  ASSERT_GE(reply.chunks.size(), 1u);
  auto first = stream_events(reply.chunks.front());
  ASSERT_GE(first.size(), 2u);
  EXPECT_EQ(choice_of(first[0]).find("delta")->dump(), R"({"role":"assistant","content":""})");
  auto events = stream_events(reply.body);
  ASSERT_EQ(events.size(), 5u) << reply.body;
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    EXPECT_EQ(events[i].find("id")->as_string(), "chatcmpl-r1");
    EXPECT_EQ(events[i].find("created")->as_int(), events[0].find("created")->as_int());
    EXPECT_EQ(events[i].find("object")->as_string(), "chat.completion.chunk");
  }
  EXPECT_EQ(choice_of(events[1]).find("delta")->dump(), R"({"content":"h"})");  // prompt token 0 is <user>: no text
  EXPECT_EQ(choice_of(events[2]).find("finish_reason")->as_string(), "length");
  EXPECT_EQ(choice_of(events[2]).find("delta")->dump(), "{}");
  EXPECT_NE(events[2].find("timings"), nullptr);
  EXPECT_EQ(events[3].find("choices")->size(), 0u);
  EXPECT_EQ(events[3].find("usage")->find("completion_tokens")->as_int(), 2);
  EXPECT_EQ(events[4].as_string(), "[DONE]");
  EXPECT_TRUE(reply.body.ends_with("data: [DONE]\n\n"));
  EXPECT_EQ(client.get("/version").status, 200);  // the connection goes on
}

TEST(Generation, OneTokenIsOneChunk) {
  TestServer server;
  server.backend().step_us = 2000;
  HttpClient client(server.port());
  auto reply = client.post("/v1/completions", R"({"prompt":"abcdefgh","stream":true})");
  auto events = stream_events(reply.body);
  ASSERT_EQ(events.size(), 10u);  // eight letters, the finish, the end mark
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(text_of(choice_of(events[i])), std::string(1, static_cast<char>('a' + i)));
}

TEST(Generation, Utf8IsNeverSplit) {
  TestServer server;
  HttpClient client(server.port());
  auto reply =
      client.post("/v1/completions", "{\"prompt\":\"a\u00e4\u20ac\U0001F600b\",\"max_tokens\":40,\"stream\":true}");
  EXPECT_EQ(streamed_text(reply.body), "a\u00e4\u20ac\U0001F600b");
  EXPECT_EQ(reply.body.find("\ufffd"), std::string::npos);
}

TEST(Generation, ATextThatCannotFitIsRefusedByItsSize) {
  TestServer server;
  HttpClient client(server.port());
  const std::string large = '"' + std::string(100'000, 'a') + '"';
  std::string ids;
  for (int i = 0; i < 2040; ++i) ids += "97,";
  struct Row {
    const char* path;
    std::string prompt;
  };
  const Row rows[] = {{"/v1/completions", large},
                      {"/completion", large},
                      {"/completion", "[97," + large + "]"},
                      {"/completion", "[" + large + ",97]"},
                      {"/completion", "[" + ids + '"' + std::string(100, 'a') + "\"]"}};
  for (const Row& row : rows) {
    auto reply = client.post(row.path, "{\"max_tokens\":1,\"prompt\":" + row.prompt + "}");
    EXPECT_EQ(reply.status, 400) << row.path;
    EXPECT_THAT(reply.body, HasSubstr("tokens or more (a text of 100")) << row.path << ' ' << row.prompt.substr(0, 20);
    reply = client.post(row.path, R"({"max_tokens":1,"truncate_prompt_tokens":4,"prompt":)" + row.prompt + "}");
    EXPECT_EQ(reply.status, 200) << row.path << ' ' << row.prompt.substr(0, 20) << reply.body;
  }
}

TEST(Generation, EarlyFailuresOfStreamsKeepTheirStatus) {
  TestServer server;
  HttpClient client(server.port());
  auto reply = client.post("/v1/completions", "{\"stream\":true,\"prompt\":\"" + std::string(3000, 'a') + "\"}");
  EXPECT_EQ(reply.status, 400);
  EXPECT_EQ(reply.json().find("error")->find("code")->as_string(), "context_length_exceeded");
  EXPECT_EQ(reply.json().find("error")->find("n_ctx")->as_int(), 2048);
  server.backend().failing_token = 'z';
  reply = client.post("/v1/completions", R"({"stream":true,"prompt":"zz"})");
  EXPECT_EQ(reply.status, 400) << reply.body;
  reply = client.post("/v1/completions", R"({"stream":true,"prompt":"az"})");
  EXPECT_EQ(reply.status, 200);
  EXPECT_TRUE(reply.body.ends_with("\n\ndata: [DONE]\n\n"));
  auto events = stream_events(reply.body);
  EXPECT_NE(events[events.size() - 2].find("error"), nullptr);
  EXPECT_EQ(client.post("/v1/completions", R"({"prompt":"az"})").status, 400);
  EXPECT_TRUE(eventually([&] { return all_free(server); }));
}

TEST(Generation, StatusLineWaitsForTheFirstEventOrItsDelay) {
  const std::string request = HttpClient::post_bytes("/v1/completions", R"({"prompt":"abc","stream":true})");
  ServerOptions options;
  options.sse_header_delay_ms = 3'600'000;
  TestServer patient(options);
  patient.backend().hold();
  HttpClient waiting(patient.port());
  waiting.send(request);
  ASSERT_TRUE(eventually([&] { return patient.instance().router().n_open() == 1; }));
  EXPECT_FALSE(waiting.receive(50));
  patient.backend().release();
  EXPECT_EQ(streamed_text(waiting.read_reply().body), "abc");

  options.sse_header_delay_ms = 20;
  options.sse_keep_alive_ms = 100;
  TestServer server(options);
  server.backend().hold();
  HttpClient client(server.port());
  client.send(request);
  EXPECT_TRUE(client.receive());
  EXPECT_TRUE(client.buffer().starts_with("HTTP/1.1 200 OK\r\n"));
  EXPECT_NE(client.buffer().find("\r\n\r\n"), std::string::npos);
  EXPECT_TRUE(eventually([&] {
    client.receive(50);
    return client.buffer().ends_with("\r\ne\r\n: keep-alive\n\n\r\n");
  }));
  server.backend().release();
  EXPECT_EQ(streamed_text(client.read_reply().body), "abc");
}

TEST(Generation, ARequestMayAskForKeepAlives) {
  ServerOptions options;
  options.sse_header_delay_ms = 20;
  options.sse_keep_alive_ms = 0;  // the server sends none of its own
  TestServer server(options);
  server.backend().hold();
  HttpClient client(server.port());
  client.send(HttpClient::post_bytes("/v1/completions", R"({"prompt":"abc","stream":true,"sse_ping_interval":1})"));
  EXPECT_TRUE(eventually([&] {
    client.receive(50);
    return client.buffer().find(": keep-alive\n\n") != std::string::npos;
  }));
  server.backend().release();
  EXPECT_EQ(streamed_text(client.read_reply().body), "abc");
}

TEST(Generation, AHeaderMayNameTheSession) {
  TestServer server;
  HttpClient client(server.port());
  const char* lease = R"({"prompt":"abc","millrace":{"session_ttl_s":60}})";
  EXPECT_EQ(client.post("/v1/completions", lease).status, 400) << "a lease needs a session";
  EXPECT_EQ(client.post("/v1/completions", lease, "X-Session-ID: mine\r\n").status, 200);
}

TEST(Generation, DisconnectCancelsInEveryState) {
  TestServer server;
  const char* long_request = R"({"prompt":"abc","max_tokens":2000,"ignore_eos":true,"stream":%})";
  for (const char* stream : {"true", "false"}) {
    std::string body = long_request;
    body.replace(body.find('%'), 1, stream);
    {  // decoding
      server.backend().step_us = 1000;
      HttpClient client(server.port());
      client.send(HttpClient::post_bytes("/v1/completions", body));
      ASSERT_TRUE(eventually([&] { return server.instance().stats().n_running == 1; }));
    }
    EXPECT_TRUE(eventually([&] { return all_free(server); }));
    {  // queued, the engine busy
      server.backend().hold();
      HttpClient client(server.port());
      client.send(HttpClient::post_bytes("/v1/completions", body));
      ASSERT_TRUE(eventually([&] { return server.instance().router().n_open() == 1; }));
    }
    EXPECT_TRUE(eventually([&] { return server.instance().router().n_open() == 0; }));
    server.backend().release();
    EXPECT_TRUE(eventually([&] { return all_free(server); }));
  }
  EXPECT_EQ(server.context().n_generations.load(), 0u);
  double gone = server.context().metrics.value(MetricId::kDisconnects, 0) +
                server.context().metrics.value(MetricId::kDisconnects, 1);
  EXPECT_EQ(gone, 4.0);
}

TEST(Generation, SlowReaderIsParkedThenCancelled) {
  ServerOptions options;
  CHECK(options.limits.set(LimitId::kSseRingBytes, 8 * 1024).ok());
  CHECK(options.limits.set(LimitId::kParkSeconds, 1).ok());
  EchoOptions echo;
  echo.max_len = 16384;
  echo.n_blocks = 1024;
  TestServer server(options, echo);
  Metrics& metrics = server.context().metrics;
  server.backend().step_us = 200;  // else the answer may be complete before the park message is read
  HttpClient slow(server.port());
  slow.set_receive_buffer(4096);
  slow.send(HttpClient::post_bytes("/v1/completions",
                                   R"({"prompt":"abc","max_tokens":16000,"ignore_eos":true,"stream":true})"));
  ASSERT_TRUE(eventually([&] { return metrics.value(MetricId::kStreamsParked) == 1.0; }));
  auto cancelled = [&] { return metrics.value(MetricId::kSlowReaderCancels) == 1.0; };
  ASSERT_TRUE(eventually([&] { return server.instance().stats().n_parked == 1 || cancelled(); }));
  // Others go on meanwhile.
  EXPECT_EQ(HttpClient(server.port()).post("/v1/completions", R"({"prompt":"ok"})").status, 200);
  uint64_t rows = server.backend().n_rows;
  EXPECT_TRUE(eventually(cancelled));
  EXPECT_LE(server.backend().n_rows - rows, 4u);  // nothing was computed while parked
  EXPECT_TRUE(eventually([&] { return all_free(server); }));
  EXPECT_TRUE(eventually([&] { return metrics.value(MetricId::kStreamsOpen) == 0.0; }));
}

TEST(Generation, ReaderThatCatchesUpGetsEverything) {
  ServerOptions options;
  CHECK(options.limits.set(LimitId::kSseRingBytes, 8 * 1024).ok());
  CHECK(options.limits.set(LimitId::kParkSeconds, 600).ok());
  CHECK(options.limits.set(LimitId::kSendStallSeconds, 600).ok());
  EchoOptions echo;
  echo.max_len = 8192;
  echo.n_blocks = 512;
  TestServer server(options, echo);
  server.backend().step_us = 200;  // else the answer may be complete before the park message is read
  HttpClient slow(server.port());
  slow.set_receive_buffer(32 * 1024);  // else the system may buffer the whole answer
  slow.send(HttpClient::post_bytes("/v1/completions",
                                   R"({"prompt":"abcd","max_tokens":4000,"ignore_eos":true,"stream":true})"));
  ASSERT_TRUE(eventually([&] { return server.context().metrics.value(MetricId::kStreamsParked) == 1.0; }));
  auto reply = slow.read_reply();
  EXPECT_TRUE(reply.complete);
  std::string text = streamed_text(reply.body);
  ASSERT_EQ(text.size(), 4000u);
  for (size_t i = 0; i < text.size(); ++i) ASSERT_EQ(text[i], "abcd"[i % 4]);
}

TEST(Generation, ManyPromptsAreOneRequest) {
  EchoOptions echo;
  echo.max_queued_requests = 2;
  echo.max_live = 2;
  TestServer server({}, echo);
  constexpr size_t kPrompts = 1024;
  auto body = [](size_t n_prompts, const std::string& more) {
    std::string prompts;
    for (size_t i = 0; i < n_prompts; ++i) prompts += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\"";
    return R"({"prompt":[)" + prompts + "]" + more + "}";
  };
  HttpClient client(server.port());
  Json reply = client.post("/v1/completions", body(kPrompts, "")).json();
  ASSERT_EQ(reply.find("choices")->size(), kPrompts);
  for (size_t i = 0; i < kPrompts; ++i) EXPECT_EQ(text_of(choice_of(reply, i)), std::to_string(i));
  EXPECT_EQ(client.post("/v1/completions", body(kPrompts + 1, "")).status, 400);
  EXPECT_EQ(client.post("/v1/completions", body(129, R"(,"n":128)")).status, 400) << "n x prompts = 16512";

  server.backend().hold();
  HttpClient large(server.port());
  HttpClient second(server.port());
  large.send(HttpClient::post_bytes("/v1/completions", body(200, "")));
  ASSERT_TRUE(eventually([&] { return server.instance().stats().n_requests == kPrompts + 200; }));
  second.send(HttpClient::post_bytes("/v1/completions", body(2, "")));
  ASSERT_TRUE(eventually([&] { return server.instance().stats().n_requests == kPrompts + 202; }));
  auto refused = client.post("/v1/completions", body(2, ""));
  EXPECT_EQ(refused.status, 503) << "two requests fill the queue, with two prompts or with many";
  EXPECT_TRUE(refused.header("Retry-After"));
  server.backend().release();
  EXPECT_EQ(large.read_reply().json().find("choices")->size(), 200u);
  EXPECT_EQ(second.read_reply().json().find("choices")->size(), 2u);
  EXPECT_TRUE(eventually([&] { return all_free(server); }));
}

TEST(Generation, UnknownFieldsAreNamed) {
  TestServer server;
  HttpClient client(server.port());
  auto reply = client.post("/v1/completions", R"({"prompt":"a","zzz":1,"yyy":2})");
  EXPECT_EQ(reply.header("X-Millrace-Ignored-Fields"), "zzz,yyy");
  ServerOptions options;
  options.strict_fields = true;
  TestServer strict(options);
  HttpClient other(strict.port());
  EXPECT_EQ(other.post("/v1/completions", R"({"prompt":"a","zzz":1})").status, 400);
}

TEST(Generation, Http10StreamsUntilClose) {
  TestServer server;
  HttpClient client(server.port());
  std::string body = R"({"prompt":"abc","stream":true})";
  client.send("POST /v1/completions HTTP/1.0\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  auto reply = client.read_reply();
  EXPECT_FALSE(reply.header("Transfer-Encoding"));
  EXPECT_EQ(streamed_text(reply.body), "abc");
  EXPECT_TRUE(reply.body.ends_with("data: [DONE]\n\n"));
}

TEST(Generation, AnIntervalJoinsTokens) {
  TestServer server;
  HttpClient client(server.port());
  auto texts = [&](const std::string& more) {
    auto reply = client.post("/v1/completions", R"({"prompt":"abcdefghij","max_tokens":10,"stream":true)" + more + "}");
    std::vector<std::string> out;
    for (const Json& event : testing::stream_events(reply.body)) {
      if (!event.is_object()) continue;  // [DONE]
      std::string text = event.find("choices")->as_array()[0].find("text")->as_string();
      if (!text.empty()) out.push_back(std::move(text));
    }
    return out;
  };
  EXPECT_EQ(texts("").size(), 10u);
  EXPECT_EQ(texts(R"(,"stream_interval":4)"), (std::vector<std::string>{"a", "bcde", "fghi", "j"}));
  EXPECT_EQ(texts(R"(,"stream_interval":1000000)"), (std::vector<std::string>{"a", "bcdefghij"}));
  EXPECT_EQ(client.post("/v1/completions", R"({"prompt":"a","stream_interval":0})").status, 400);
  ServerOptions least;
  least.stream_interval = 3;  // of the server
  TestServer slow(least);
  HttpClient other(slow.port());
  auto reply =
      other.post("/v1/completions", R"({"prompt":"abcdefg","max_tokens":7,"stream":true,"stream_interval":2})");
  EXPECT_EQ(testing::stream_events(reply.body)[1].find("choices")->as_array()[0].find("text")->as_string(), "bcd");
}

}  // namespace
}  // namespace millrace::server
