// llama-server's routes over real sockets, under its profile and without; CORS as it answers.
#include "server/llama_routes.h"

#include <gtest/gtest.h>

#include <string>

#include "server/cors.h"
#include "tests/support/server_fixture.h"

namespace millrace::server {
namespace {

using testing::HttpClient;
using testing::stream_events;
using testing::TestServer;

ServerOptions llama_options() {
  ServerOptions options;
  options.compat = api::Compat::kLlamaServer;
  options.error_style = api::ErrorStyle::kLlama;
  options.allowed_origins = {"*"};
  return options;
}

TEST(LlamaRoutes, CompletionWholeAndStreamedAreTheSameText) {
  TestServer server;
  HttpClient client(server.port());
  for (const char* path : {"/completion", "/completions"}) {
    auto whole = client.post(path, R"({"prompt":"hello","n_predict":20})");
    ASSERT_EQ(whole.status, 200) << whole.body;
    EXPECT_EQ(whole.json().get("content")->as_string(), "hello");
    EXPECT_EQ(whole.json().get("stop_type")->as_string(), "eos");
    EXPECT_EQ(whole.json().get("prompt")->as_string(), "hello");
  }
  HttpClient other(server.port());
  auto stream = other.post("/completion", R"({"prompt":"hello","stream":true,"return_progress":true})");
  std::string text;
  bool stopped = false;
  size_t n_progress = 0;
  for (const Json& event : stream_events(stream.body)) {
    text += event.get("content")->as_string();
    if (event.get("prompt_progress") != nullptr) ++n_progress;
    if (event.get("stop")->as_bool()) stopped = event.get("generation_settings") != nullptr;
  }
  EXPECT_EQ(text, "hello");
  EXPECT_EQ(n_progress, 2u);
  EXPECT_TRUE(stopped && stream.complete);
  EXPECT_EQ(stream.body.find("[DONE]"), std::string::npos);
}

TEST(LlamaRoutes, ErrorsAreInLlamaServersStyle) {
  TestServer server;
  HttpClient client(server.port());
  auto missing = client.post("/completion", "{}");
  EXPECT_EQ(missing.status, 400);
  EXPECT_EQ(missing.json().get("error")->get("code")->as_int(), 400);
  auto long_one = client.post("/completion", R"({"prompt":")" + std::string(3000, 'a') + "\"}");
  EXPECT_EQ(long_one.json().get("error")->get("type")->as_string(), "exceed_context_size_error");
  EXPECT_EQ(long_one.json().get("error")->get("n_prompt_tokens")->as_int(), 3000);
  EXPECT_EQ(long_one.json().get("error")->get("n_ctx")->as_int(), 2048);
  // More than fits is cut on native routes, and refused on /v1.
  EXPECT_EQ(client.post("/completion", R"({"prompt":"hi","n_predict":5000})").status, 200);
  EXPECT_EQ(client.post("/v1/completions", R"({"prompt":"hi","max_tokens":5000})").status, 400);
  EXPECT_EQ(client.post("/infill", R"({"input_prefix":"a","input_suffix":"b"})").status, 501);
  EXPECT_EQ(client.post("/completion", R"({"prompt":"hi","mirostat":1})").status, 200);
  EXPECT_EQ(client.post("/completion", R"({"prompt":"hi","adaptive_target":0.5})").status, 400);
}

TEST(LlamaRoutes, PropsSlotsAndAdapters) {
  TestServer server;
  HttpClient client(server.port());
  Json props = client.get("/props").json();
  EXPECT_EQ(props.get("default_generation_settings")->get("n_ctx")->as_int(), 2048);
  EXPECT_EQ(props.get("default_generation_settings")->get("params")->get("top_k")->as_int(), 40);
  EXPECT_EQ(props.get("total_slots")->as_int(), 64);
  EXPECT_FALSE(props.get("chat_template")->as_string().empty());
  EXPECT_EQ(client.post("/props", "{}").status, 501);
  Json slots = client.get("/slots").json();
  ASSERT_EQ(slots.size(), 64u);
  EXPECT_FALSE(slots.as_array()[0].get("is_processing")->as_bool());
  EXPECT_EQ(slots.as_array()[0].find("params"), nullptr);
  EXPECT_EQ(client.get("/lora-adapters").body, "[]");
  EXPECT_EQ(client.post("/lora-adapters", "[]").status, 501);
  server.backend().step_us = 20'000;
  HttpClient busy(server.port());
  busy.send(HttpClient::post_bytes("/completion", R"({"prompt":"hold me","n_predict":1900,"ignore_eos":true})"));
  EXPECT_TRUE(testing::eventually(
      [&] { return HttpClient(server.port()).get("/slots").json().as_array()[0].get("is_processing")->as_bool(); }));
}

TEST(LlamaRoutes, ApplyTemplateAndDetokenize) {
  TestServer plain;
  HttpClient client(plain.port());
  auto applied = client.post("/apply-template", R"({"messages":[{"role":"user","content":"hi"}]})");
  EXPECT_EQ(applied.json().get("prompt")->as_string(), "<user>hi<bot>");
  EXPECT_EQ(client.post("/apply-template", R"({"messages":5})").status, 400);
  EXPECT_EQ(client.post("/apply-template", "{}").json().get("error")->get("code")->as_int(), 400);
  EXPECT_EQ(client.post("/detokenize", R"({"tokens":[104,105]})").body, R"({"prompt":"hi"})");
  TestServer llama(llama_options());
  HttpClient other(llama.port());
  EXPECT_EQ(other.post("/detokenize", R"({"tokens":[104,105]})").body, R"({"content":"hi"})");
}

TEST(LlamaRoutes, ItsProfileChangesTheSharedRoutes) {
  ServerOptions options = llama_options();
  options.metrics_route = false;
  options.slots_route = false;
  options.tags = {"small"};
  TestServer server(options);
  HttpClient client(server.port());
  EXPECT_EQ(client.get("/metrics").status, 501);
  EXPECT_EQ(client.get("/slots").status, 501);
  auto chat =
      client.post("/v1/chat/completions",
                  R"({"model":"other","messages":[{"role":"user","content":"hi"}],"max_tokens":4,"stream":true,)"
                  R"("stream_options":{"include_usage":true}})");
  auto events = stream_events(chat.body);
  ASSERT_GE(events.size(), 3u) << chat.body;
  const Json& first = events[0].get("choices")->as_array()[0];
  EXPECT_TRUE(first.get("delta")->find("content")->is_null());
  EXPECT_TRUE(events[0].get("system_fingerprint")->as_string().starts_with("b"));
  EXPECT_EQ(events[0].get("model")->as_string(), "echo");
  bool timed = false;
  for (const Json& event : events) timed = timed || (event.get("usage") != nullptr && event.get("timings") != nullptr);
  EXPECT_TRUE(timed) << chat.body;
  Json models = client.get("/models").json();
  EXPECT_EQ(models.get("data")->as_array()[0].get("tags")->dump(), R"(["small"])");
  EXPECT_EQ(models.get("data")->as_array()[0].get("aliases")->dump(), R"(["echo","echo-alias"])");
  auto verbose = client.post("/v1/chat/completions",
                             R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":4,"verbose":true})");
  EXPECT_EQ(verbose.json().get("__verbose")->get("prompt")->as_string(), "<user>hi<bot>");
}

TEST(LlamaRoutes, MetricsUnderItsNames) {
  TestServer server(llama_options());
  HttpClient client(server.port());
  client.post("/completion", R"({"prompt":"hello","n_predict":3})");
  auto page = client.get("/metrics");
  EXPECT_NE(page.header("Process-Start-Time-Unix"), std::nullopt);
  EXPECT_NE(page.body.find("# TYPE llamacpp:tokens_predicted_total counter\nllamacpp:tokens_predicted_total 3\n"),
            std::string::npos)
      << page.body.substr(0, 2000);
  EXPECT_NE(page.body.find("vllm:num_requests_running"), std::string::npos);
}

TEST(LlamaRoutes, PreflightAsItAnswers) {
  TestServer server(llama_options());
  HttpClient client(server.port());
  client.send("OPTIONS /completions HTTP/1.1\r\nHost: x\r\nOrigin: web.mydomain.fr\r\n\r\n");
  auto reply = client.read_reply();
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.header("Access-Control-Allow-Origin"), "web.mydomain.fr");
  EXPECT_EQ(reply.header("Access-Control-Allow-Credentials"), "true");
  EXPECT_EQ(reply.header("Access-Control-Allow-Methods"), "GET, POST, DELETE, OPTIONS");
}

TEST(Cors, LocalOrigins) {
  for (const char* good : {"http://localhost", "http://localhost:8080", "https://127.0.0.1:3000", "http://[::1]"})
    EXPECT_TRUE(is_local_origin(good)) << good;
  for (const char* bad : {"http://web.mydomain.fr", "http://notlocalhost", "http://localhost.evil.com", "localhost",
                          "http://localhost:", "http://localhost:8a", "file://localhost", ""})
    EXPECT_FALSE(is_local_origin(bad)) << bad;
}

// Fields of llama-server's own routes that may come to others.
TEST(OpenAi, LlamaServersFieldsAreAccepted) {
  TestServer server;
  HttpClient client(server.port());
  for (const char* field :
       {R"("response_fields":["choices"])", R"("t_max_prompt_ms":1)", R"("t_max_predict_ms":100000)", R"("n_indent":0)",
        R"("post_sampling_probs":true,"logprobs":1)"}) {
    Json reply = client.post("/v1/completions", std::string(R"({"prompt":"hi",)") + field + "}").json();
    ASSERT_NE(reply.find("choices"), nullptr) << field;
    EXPECT_EQ(reply.find("choices")->as_array()[0].find("text")->as_string(), "hi") << field;
    EXPECT_NE(reply.find("usage"), nullptr) << field;
  }
  EXPECT_EQ(client.post("/v1/completions", R"({"prompt":"hi","response_fields":"choices"})").status, 400);
}

// `suffix` of /v1/completions is /infill without its files.
TEST(OpenAi, ASuffixAsksForWhatStandsBeforeIt) {
  testing::EchoOptions echo;
  echo.vocabulary = testing::byte_tokenizer_spec();
  for (const char* name : {"<fim_prefix>", "<fim_suffix>", "<fim_middle>"}) {
    text::AddedToken added;
    added.content = name;
    added.id = static_cast<TokenId>(echo.vocabulary->tokens.size());
    added.special = true;
    echo.vocabulary->tokens.emplace_back(name);
    echo.vocabulary->types.push_back(text::TokenType::kControl);
    echo.vocabulary->added.push_back(std::move(added));
  }
  TestServer server({}, echo);
  HttpClient client(server.port());
  Json reply = client.post("/v1/completions", R"({"prompt":["a","b"],"suffix":"yz","return_token_ids":true})").json();
  ASSERT_EQ(reply.find("choices")->size(), 2u);
  const Json& choice = reply.find("choices")->as_array()[1];
  EXPECT_EQ(choice.find("prompt_token_ids")->dump(), "[259,98,260,121,122,261]");
  EXPECT_EQ(client.post("/v1/completions", R"({"prompt":[97],"suffix":"yz"})").status, 400);
  EXPECT_EQ(client.post("/v1/completions", R"({"prompt":"a","suffix":7})").status, 400);
  TestServer plain;
  HttpClient other(plain.port());
  auto refused = other.post("/v1/completions", R"({"prompt":"a","suffix":"yz"})");
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(refused.json().find("error")->find("param")->as_string(), "suffix");
  EXPECT_EQ(other.post("/v1/completions", R"({"prompt":"a","suffix":""})").status, 200);
}

}  // namespace
}  // namespace millrace::server
