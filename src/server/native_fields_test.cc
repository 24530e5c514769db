// Fields and headers of native dialects over real sockets with an echo instance: what clients of other servers send and
// read beside the text.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <charconv>
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

TEST(Lengths, MinusOneIsTheRestOfTheContextOnNativeRoutes) {
  testing::EchoOptions echo;
  echo.max_len = 64;
  TestServer server({}, echo);
  HttpClient client(server.port());
  const std::string endless = R"("ignore_eos":true)";
  for (const char* name : {"n_predict", "max_tokens", "max_completion_tokens"}) {
    Json reply =
        client.post("/completion", R"({"prompt":"abcd",)" + endless + R"(,")" + std::string(name) + R"(":-1})").json();
    EXPECT_EQ(reply.get("tokens_predicted")->as_int(), 60) << name;
    EXPECT_EQ(client.post("/completion", R"({"prompt":"abcd",")" + std::string(name) + R"(":-2})").status, 400) << name;
  }
  Json sglang =
      client.post("/generate", R"({"text":"abcd","sampling_params":{"max_new_tokens":-1,)" + endless + "}}").json();
  EXPECT_EQ(sglang.get("meta_info")->get("completion_tokens")->as_int(), 60);
  EXPECT_EQ(client.post("/generate", R"({"inputs":"abcd","parameters":{"max_new_tokens":-1}})").status, 422);
  auto anthropic = client.post("/v1/messages", R"({"max_tokens":-1,"messages":[{"role":"user","content":"hi"}]})");
  EXPECT_EQ(anthropic.status, 400);
  EXPECT_THAT(anthropic.body, HasSubstr("max_tokens must be an integer >= 0"));
  auto openai = client.post("/v1/completions", R"({"prompt":"abcd","max_tokens":-1})");
  EXPECT_EQ(openai.status, 400);
  EXPECT_EQ(openai.json().get("error")->get("param")->as_string(), "max_tokens");
}

TEST(Lengths, MinusOneIsTheRestOnSharedRoutesOfLlamaServer) {
  ServerOptions options;
  options.compat = api::Compat::kLlamaServer;
  testing::EchoOptions echo;
  echo.max_len = 64;
  TestServer server(options, echo);
  HttpClient client(server.port());
  Json reply = client
                   .post("/v1/chat/completions",
                         R"({"messages":[{"role":"user","content":"ab"}],"max_tokens":-1,"ignore_eos":true})")
                   .json();
  EXPECT_EQ(reply.get("usage")->get("total_tokens")->as_int(), 64);
  EXPECT_EQ(client.post("/v1/completions", R"({"prompt":"ab","max_tokens":-2})").status, 400);
}

TEST(Logprobs, MinusOneIsEveryTokenWhereTheServerHasNoLimit) {
  TestServer limited;
  const std::string chat = R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":1,"logprobs":true,)";
  auto refused = HttpClient(limited.port()).post("/v1/chat/completions", chat + R"("top_logprobs":-1})");
  EXPECT_EQ(refused.status, 400);
  EXPECT_THAT(refused.body, HasSubstr("in 0..20, or -1 where --max-logprobs is -1"));
  TestServer server(testing::with_limit(LimitId::kTopLogprobs, 2'000'000));
  HttpClient client(server.port());
  constexpr size_t kVocabulary = 259;
  Json whole = client.post("/v1/chat/completions", chat + R"("top_logprobs":-1})").json();
  const Json& choice = whole.get("choices")->as_array()[0];
  EXPECT_EQ(choice.get("logprobs")->get("content")->as_array()[0].get("top_logprobs")->size(), kVocabulary);
  auto stream = client.post("/v1/chat/completions", chat + R"("top_logprobs":-1,"stream":true})");
  size_t n_top = 0;
  for (const Json& event : stream_events(stream.body)) {
    const Json* choices = event.get("choices");
    const Json* logprobs =
        choices == nullptr || choices->size() == 0 ? nullptr : choices->as_array()[0].get("logprobs");
    if (logprobs != nullptr) n_top += logprobs->get("content")->as_array()[0].get("top_logprobs")->size();
  }
  EXPECT_EQ(n_top, kVocabulary);
  // bytes without a character of their own share the key of U+FFFD
  Json text = client.post("/v1/completions", R"({"prompt":"hi","max_tokens":1,"logprobs":-1})").json();
  const Json& completion = text.get("choices")->as_array()[0];
  EXPECT_GT(completion.get("logprobs")->get("top_logprobs")->as_array()[0].size(), 128u);
  Json native = client.post("/completion", R"({"prompt":"hi","n_predict":1,"n_probs":-1})").json();
  EXPECT_EQ(native.get("completion_probabilities")->as_array()[0].get("top_logprobs")->size(), kVocabulary);
  EXPECT_EQ(client.post("/v1/completions", R"({"prompt":"hi","logprobs":-2})").status, 400);
}

TEST(RequestMetrics, OnWholeRepliesAndOnTheUsageChunkWhenSwitchedOn) {
  ServerOptions options;
  options.request_metrics = true;
  TestServer server(options);
  server.backend().step_us = 2000;
  HttpClient client(server.port());
  Json reply = client.post("/v1/completions", R"({"prompt":"hello"})").json();
  const Json* metrics = reply.get("metrics");
  ASSERT_NE(metrics, nullptr) << reply.dump();
  for (const char* name : {"time_to_first_token_ms", "generation_time_ms", "mean_itl_ms", "tokens_per_second"}) {
    EXPECT_GT(metrics->get(name)->as_double(), 0.0) << name;
  }
  EXPECT_GE(metrics->get("time_to_first_token_ms")->as_double(), metrics->get("queue_time_ms")->as_double());
  EXPECT_NEAR(metrics->get("mean_itl_ms")->as_double() * 5, metrics->get("generation_time_ms")->as_double(), 1e-6);
  EXPECT_EQ(metrics->get("speculative_decoding")->dump(), "{}");
  EXPECT_EQ(client.post("/v1/completions", R"({"prompt":"hello","n":2})").json().get("metrics"), nullptr);
  EXPECT_EQ(client.post("/v1/completions", R"({"prompt":["a","b"]})").json().get("metrics"), nullptr);
  auto stream = client.post("/v1/chat/completions", R"({"messages":[{"role":"user","content":"hi"}],"stream":true,)"
                                                    R"("stream_options":{"include_usage":true}})");
  size_t n_seen = 0;
  for (const Json& event : stream_events(stream.body)) {
    if (event.get("metrics") == nullptr) continue;
    ++n_seen;
    EXPECT_NE(event.get("usage"), nullptr);
  }
  EXPECT_EQ(n_seen, 1u);
  TestServer silent;
  EXPECT_EQ(HttpClient(silent.port()).post("/v1/completions", R"({"prompt":"hi"})").json().get("metrics"), nullptr);
}

TEST(Metrics, UnderTheNamesOfOthersWhenAskedFor) {
  ServerOptions options;
  options.hidden_metrics = true;
  options.llama_metrics = true;
  TestServer server(options);
  HttpClient client(server.port());
  ASSERT_EQ(client.post("/v1/completions", R"({"prompt":"hello"})").status, 200);
  auto told = [&] { return client.get("/metrics").body; };
  ASSERT_TRUE(eventually([&] { return told().find("llamacpp:tokens_predicted_total 6") != std::string::npos; }));
  const std::string text = told();
  for (const char* name : {"vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"}) {
    EXPECT_THAT(text, HasSubstr(std::string(name) + R"(_count{engine="0",model_name="echo"} 5)"));
  }
  EXPECT_THAT(text, HasSubstr(R"(vllm:gpu_cache_usage_perc{engine="0",model_name="echo"})"));
  TestServer plain;
  const std::string usual = HttpClient(plain.port()).get("/metrics").body;
  for (const char* name : {"vllm:gpu_cache_usage_perc", "vllm:time_per_output_token_seconds", "llamacpp:"}) {
    EXPECT_EQ(usual.find(name), std::string::npos) << name;
  }
}

// An echo follows no constraint: what is asked for is known by its refusal.
TEST(DefaultConstraint, IsThatOfRequestsWithoutOneOrTools) {
  ServerOptions options;
  options.constraint.kind = flow::ConstraintKind::kGrammar;
  options.constraint.text = "root ::= (";
  options.constraint.param = "--grammar";
  TestServer server(options);
  HttpClient client(server.port());
  const std::string chat = R"({"messages":[{"role":"user","content":"hi"}])";
  const std::string tools = R"(,"tools":[{"type":"function","function":{"name":"f"}}])";
  struct Row {
    const char* path;
    std::string body;
  };
  for (const Row& row : {Row{"/v1/chat/completions", chat + "}"}, Row{"/v1/completions", R"({"prompt":"a"})"},
                         Row{"/completion", R"({"prompt":"a"})"}, Row{"/api/generate", R"({"prompt":"a"})"}}) {
    auto refused = client.post(row.path, row.body);
    EXPECT_EQ(refused.status, 400) << row.path;
    EXPECT_THAT(refused.body, HasSubstr("--grammar: grammar line 1")) << row.path;
  }
  EXPECT_EQ(client.post("/v1/completions", R"({"prompt":"a","guided_regex":"[a-z]*"})").status, 200);
  EXPECT_EQ(client.post("/v1/chat/completions", chat + tools + "}").status, 200);
  EXPECT_EQ(client.post("/v1/chat/completions", chat + R"(,"functions":[{"name":"f"}]})").status, 200);
  EXPECT_EQ(client.post("/v1/embeddings", R"({"input":"a"})").status, 200);
}

// <bot> is a special token: it is shown to those who ask for it.
TEST(PreservedTokens, AreShownAlthoughTheyAreSpecial) {
  TestServer server;
  HttpClient client(server.port());
  const std::string ask = R"({"prompt":[97,258,98],"return_tokens":true)";
  EXPECT_EQ(client.post("/completion", ask + "}").json().get("content")->as_string(), "ab");
  EXPECT_EQ(client.post("/completion", ask + R"(,"preserved_tokens":["<bot>","no such token"]})")
                .json()
                .get("content")
                ->as_string(),
            "a<bot>b");
}

int64_t number_of(const ClientReply& reply, std::string_view name) {
  std::string text = reply.header(name).value_or("missing");
  int64_t value = -1;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  EXPECT_TRUE(error == std::errc() && end == text.data() + text.size()) << name << ": " << text;
  return value;
}

TEST(Tgi, TellsItsTimesInHeaders) {
  TestServer server;
  server.backend().step_us = 3000;
  HttpClient client(server.port());
  // "h\u00e9y" has 3 characters and 4 tokens
  for (const char* path : {"/generate", "/", "/invocations"}) {
    ClientReply reply = client.post(path, R"({"inputs":"h\u00e9y","parameters":{"max_new_tokens":4}})");
    ASSERT_EQ(reply.status, 200) << reply.body;
    EXPECT_EQ(reply.header("x-compute-type"), "cpu") << path;
    EXPECT_EQ(number_of(reply, "x-compute-characters"), 3) << path;
    EXPECT_EQ(number_of(reply, "x-prompt-tokens"), 4) << path;
    EXPECT_EQ(number_of(reply, "x-generated-tokens"), 4) << path;
    const int64_t total = number_of(reply, "x-total-time");
    const int64_t inference = number_of(reply, "x-inference-time");
    EXPECT_GE(inference, 9) << path << ": three steps lie between four tokens";
    EXPECT_GE(total, inference) << path;
    EXPECT_LE(number_of(reply, "x-queue-time") + number_of(reply, "x-validation-time"), total) << path;
    EXPECT_LE(number_of(reply, "x-time-per-token"), inference) << path;
    EXPECT_TRUE(reply.header("x-compute-time").has_value()) << path;
  }
  ClientReply stream = client.post("/generate_stream", R"({"inputs":"hey"})");
  EXPECT_EQ(stream.header("x-compute-type"), "cpu");
  EXPECT_EQ(number_of(stream, "x-compute-characters"), 3);
  EXPECT_FALSE(client.post("/generate", R"({"text":"hey"})").header("x-compute-type").has_value()) << "SGLang's";
}

TEST(Tgi, BestOfGivesTheOtherSequencesToo) {
  TestServer server;
  HttpClient client(server.port());
  auto ask = [&](const std::string& more) {
    return client.post("/generate", R"({"inputs":"hi","parameters":{"best_of":3,"do_sample":true)" + more + "}}");
  };
  Json reply = ask(R"(,"details":true,"top_n_tokens":2)").json();
  const Json& details = *reply.get("details");
  EXPECT_EQ(reply.get("generated_text")->as_string(), "hi");
  EXPECT_EQ(details.get("tokens")->as_array()[0].get("logprob")->as_double(), -0.25) << "the likeliest of the three";
  const JsonArray& others = details.get("best_of_sequences")->as_array();
  ASSERT_EQ(others.size(), 2u);
  EXPECT_EQ(others[0].get("tokens")->as_array()[0].get("logprob")->as_double(), -0.5);
  EXPECT_EQ(others[1].get("tokens")->as_array()[0].get("logprob")->as_double(), -0.375);
  for (const Json& other : others) {
    EXPECT_EQ(other.get("generated_text")->as_string(), "hi");
    EXPECT_EQ(other.get("finish_reason")->as_string(), "eos_token");
    EXPECT_EQ(other.get("top_tokens")->as_array()[0].size(), 2u);
  }
  EXPECT_EQ(ask("").json().find("details"), nullptr);
  Json one = client.post("/generate", R"({"inputs":"hi","parameters":{"details":true,"best_of":1}})").json();
  EXPECT_EQ(one.get("details")->find("best_of_sequences"), nullptr);
}

TEST(Sglang, IdsOfThePromptsOfOneRequest) {
  TestServer server;
  HttpClient client(server.port());
  Json reply = client.post("/generate", R"({"text":["ab","cd"],"rid":["first","second"]})").json();
  ASSERT_EQ(reply.size(), 2u);
  EXPECT_EQ(reply.as_array()[0].get("meta_info")->get("id")->as_string(), "first");
  EXPECT_EQ(reply.as_array()[1].get("meta_info")->get("id")->as_string(), "second");
  auto stream = client.post("/generate", R"({"input_ids":[[97],[98]],"rid":["first","second"],"stream":true})");
  for (const Json& event : stream_events(stream.body)) {
    if (!event.is_object()) continue;  // [DONE]
    EXPECT_EQ(event.get("meta_info")->get("id")->as_string(), event.get("index")->as_int() == 0 ? "first" : "second");
  }
  EXPECT_EQ(client.post("/generate", R"({"text":"ab","rid":["only"]})").json().get("meta_info")->get("id")->as_string(),
            "only");
  for (const char* bad :
       {R"(["one"])", R"(["one","two","three"])", R"(["one",2])", R"(["one",""])", R"(["one","a b"])", R"([])"}) {
    auto refused = client.post("/generate", R"({"text":["ab","cd"],"rid":)" + std::string(bad) + "}");
    EXPECT_EQ(refused.status, 422) << bad;
    EXPECT_THAT(refused.body, HasSubstr("rid")) << bad;
  }
}

TEST(Sglang, ListsOfEqualParametersAreOneOfThem) {
  TestServer server;
  HttpClient client(server.port());
  auto ask = [&](const std::string& members) {
    return client.post("/generate", R"({"text":["abc","def"],)" + members + "}");
  };
  Json reply = ask(R"("sampling_params":[{"max_new_tokens":1},{"max_new_tokens":1}],"return_logprob":[true,true],)"
                   R"("top_logprobs_num":[2,2],"logprob_start_len":[0,0])")
                   .json();
  ASSERT_EQ(reply.size(), 2u);
  for (const Json& one : reply.as_array()) {
    EXPECT_EQ(one.get("meta_info")->get("completion_tokens")->as_int(), 1);
    EXPECT_EQ(one.get("meta_info")->get("output_top_logprobs")->as_array()[0].size(), 2u);
    EXPECT_EQ(one.get("meta_info")->get("input_token_logprobs")->size(), 3u);
  }
  EXPECT_EQ(ask(R"("return_logprob":true,"token_ids_logprob":[[5],[5]])").status, 200);
  EXPECT_EQ(ask(R"("return_logprob":true,"token_ids_logprob":[5])").status, 200);
  auto differ = ask(R"("sampling_params":[{"max_new_tokens":1},{"max_new_tokens":2}])");
  EXPECT_EQ(differ.status, 422);
  EXPECT_THAT(differ.body, HasSubstr("sampling_params: items that differ are not supported"));
  auto few = ask(R"("return_logprob":[true])");
  EXPECT_EQ(few.status, 422);
  EXPECT_THAT(few.body, HasSubstr("return_logprob has 1 items for 2 prompts"));
  EXPECT_EQ(ask(R"("return_logprob":[])").status, 422);
}

TEST(Sglang, OnePromptOfSeveralIsAborted) {
  TestServer server;
  server.backend().run_to(20);
  HttpClient client(server.port());
  client.send(HttpClient::post_bytes("/generate", R"({"text":["abcdef","xyz"],"rid":["long","short"],"stream":true,)"
                                                  R"("sampling_params":{"max_new_tokens":300,"ignore_eos":true}})"));
  while (client.buffer().find("\"text\":\"abc") == std::string::npos) ASSERT_TRUE(client.receive());
  ClientReply told = HttpClient(server.port()).post("/abort_request", R"({"rid":"long"})");
  EXPECT_EQ(told.json().get("aborted")->as_int(), 1);
  // its notice is in the engine's inbox before the held backend goes on
  while (client.buffer().find("\"abort\"") == std::string::npos) ASSERT_TRUE(client.receive());
  server.backend().release();
  ClientReply reply = client.read_reply();
  std::vector<std::string> ends(2);
  std::vector<int64_t> n_tokens(2);
  for (const Json& event : stream_events(reply.body)) {
    if (!event.is_object()) continue;  // [DONE]
    const Json& info = *event.get("meta_info");
    if (info.get("finish_reason") == nullptr) continue;
    auto index = static_cast<size_t>(event.get("index")->as_int());
    ends[index] = info.get("finish_reason")->get("type")->as_string();
    n_tokens[index] = info.get("completion_tokens")->as_int();
  }
  EXPECT_EQ(ends[0], "abort");
  EXPECT_LT(n_tokens[0], 300);
  EXPECT_EQ(ends[1], "length") << "the other one goes on";
  EXPECT_EQ(n_tokens[1], 300);
  EXPECT_TRUE(eventually(
      [&] { return server.instance().stats().n_running == 0 && server.context().n_generations.load() == 0; }));
}

// The tokens of prompt and answer come back and stand before the next prompt.
TEST(Ollama, ContextOfAnEarlierAnswer) {
  TestServer server;
  HttpClient client(server.port());
  Json first = client.post("/api/generate", R"({"prompt":"ab","stream":false})").json();
  // <user> a b <bot>, the same again, <end>
  EXPECT_EQ(first.get("context")->dump(), "[257,97,98,258,257,97,98,258,256]");
  const std::string next = R"({"prompt":"c","context":)" + first.get("context")->dump();
  Json second = client.post("/api/generate", next + R"(,"stream":false})").json();
  EXPECT_EQ(second.get("prompt_eval_count")->as_int(), 12);
  EXPECT_EQ(second.get("response")->as_string(), "abab") << "an echo repeats what it was given, up to its <end>";
  EXPECT_EQ(second.get("context")->dump(),
            "[257,97,98,258,257,97,98,258,256,257,99,258,257,97,98,258,257,97,98,258,256]");
  ClientReply stream = client.post("/api/generate", next + "}");
  const size_t last = stream.body.rfind('\n', stream.body.size() - 2) + 1;
  Json end = parse_json(stream.body.substr(last, stream.body.size() - 1 - last)).value();
  EXPECT_EQ(end.get("context")->dump(), second.get("context")->dump());
  EXPECT_EQ(client.post("/api/generate", R"({"prompt":"ab","raw":true,"stream":false})").json().get("context"),
            nullptr);
  EXPECT_EQ(client.post("/api/generate", R"({"prompt":"ab","context":[],"stream":false})").status, 200);
  struct Refusal {
    const char* members;
    const char* message;
  };
  for (const Refusal& row : {Refusal{R"("context":[259])", "context[0] = 259: token id outside 0..258"},
                             {R"("context":[1,-1])", "context[1] = -1: token id outside 0..258"},
                             {R"("context":[1.5])", "context[0] must be a token id"},
                             {R"("context":["a"])", "context[0] must be a token id"},
                             {R"("context":{})", "context must be an array of token ids"},
                             {R"("context":[1],"raw":true)", "raw mode does not support system or context"},
                             {R"("system":"x","raw":true)", "raw mode does not support system or context"},
                             {R"("options":{"n":2})", "n must be 1"},
                             {R"("context":[1],"suffix":"x")", "suffix and context exclude each other"}}) {
    auto refused = client.post("/api/generate", R"({"prompt":"x",)" + std::string(row.members) + "}");
    EXPECT_EQ(refused.status, 400) << row.members;
    EXPECT_THAT(refused.body, HasSubstr(row.message)) << row.members;
  }
  std::string long_past = "[97";
  for (int i = 0; i < 3000; ++i) long_past += ",97";
  auto too_long = client.post("/api/generate", R"({"prompt":"x","context":)" + long_past + "]}");
  EXPECT_EQ(too_long.status, 400);
  EXPECT_THAT(too_long.body, HasSubstr("context size of 2048 tokens"));
}

TEST(Ollama, SuffixIsWhatStandsBehindTheAnswer) {
  testing::EchoOptions echo;
  text::TokenizerSpec spec = testing::byte_tokenizer_spec();
  for (const char* name : {"<fim_prefix>", "<fim_suffix>", "<fim_middle>"}) {
    text::AddedToken added;
    added.content = name;
    added.id = static_cast<TokenId>(spec.tokens.size());
    added.special = true;
    spec.tokens.emplace_back(name);
    spec.types.push_back(text::TokenType::kControl);
    spec.added.push_back(std::move(added));
  }
  echo.vocabulary = spec;
  TestServer server({}, echo);
  HttpClient client(server.port());
  for (const char* raw : {"false", "true"}) {
    Json reply = client
                     .post("/api/generate", R"({"prompt":"ab","suffix":"c","stream":false,"raw":)" + std::string(raw) +
                                                R"(,"options":{"num_predict":1}})")
                     .json();
    EXPECT_EQ(reply.get("prompt_eval_count")->as_int(), 6) << raw;  // three tokens around three bytes
  }
  Json shown = client.post("/api/show", R"({"model":"echo"})").json();
  EXPECT_EQ(shown.get("capabilities")->dump(), R"(["completion","insert"])");
}

}  // namespace
}  // namespace millrace::server
