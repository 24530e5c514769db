// Anthropic, Ollama and Responses over real sockets with an echo instance: what a client of each sees, whole and as a
// stream, and how it is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/server_fixture.h"

namespace millrace::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::HttpClient;
using testing::TestServer;

// The `type` and the data of every event of a stream that names its events.
std::vector<std::pair<std::string, Json>> named_events(const std::string& body) {
  std::vector<std::pair<std::string, Json>> out;
  size_t at = 0;
  while ((at = body.find("event: ", at)) != std::string::npos) {
    size_t end = body.find('\n', at);
    size_t data = body.find("data: ", end) + 6;
    out.emplace_back(body.substr(at + 7, end - at - 7),
                     parse_json(body.substr(data, body.find('\n', data) - data)).value());
    at = data;
  }
  return out;
}

std::vector<Json> lines(const std::string& body) {
  std::vector<Json> out;
  for (size_t at = 0; at < body.size();) {
    size_t end = body.find('\n', at);
    out.push_back(parse_json(body.substr(at, end - at)).value());
    at = end + 1;
  }
  return out;
}

constexpr std::string_view kAsk = R"("messages":[{"role":"user","content":"hi"}])";

std::string body_of(std::string_view members) { return "{" + std::string(kAsk) + std::string(members) + "}"; }

TEST(Anthropic, WholeMessage) {
  TestServer server;
  HttpClient client(server.port());
  Json reply = client.post("/v1/messages", body_of(R"(,"model":"echo","max_tokens":500)")).json();
  EXPECT_EQ(reply.get("type")->as_string(), "message");
  EXPECT_TRUE(reply.get("id")->as_string().starts_with("msg_"));
  EXPECT_EQ(reply.get("content")->dump(), R"([{"type":"text","text":"hi"}])");
  EXPECT_EQ(reply.get("stop_reason")->as_string(), "end_turn");
  EXPECT_EQ(reply.get("usage")->get("input_tokens")->as_int(), 4);  // <user> h i <bot>
  EXPECT_EQ(reply.get("timings"), nullptr);
  Json cut = client.post("/v1/messages", body_of(R"(,"max_tokens":1)")).json();
  EXPECT_EQ(cut.get("stop_reason")->as_string(), "max_tokens");
  Json stopped = client.post("/v1/messages", body_of(R"(,"max_tokens":9,"stop_sequences":["i"])")).json();
  EXPECT_EQ(stopped.get("stop_reason")->as_string(), "stop_sequence");
  EXPECT_EQ(stopped.get("stop_sequence")->as_string(), "i");
}

TEST(Anthropic, Events) {
  TestServer server;
  HttpClient client(server.port());
  auto reply = client.post("/v1/messages", body_of(R"(,"max_tokens":50,"stream":true,"system":"be")"));
  auto events = named_events(reply.body);
  ASSERT_GE(events.size(), 6u) << reply.body;
  EXPECT_EQ(events[0].first, "message_start");
  EXPECT_EQ(events[1].first, "content_block_start");
  std::string text;
  for (const auto& [name, data] : events) {
    EXPECT_EQ(data.get("type")->as_string(), name);
    if (name == "content_block_delta") text += data.get("delta")->get("text")->as_string();
  }
  EXPECT_EQ(text, "behi");
  EXPECT_EQ(events[events.size() - 3].first, "content_block_stop");
  EXPECT_EQ(events[events.size() - 2].second.get("delta")->get("stop_reason")->as_string(), "end_turn");
  EXPECT_EQ(events.back().first, "message_stop");
  EXPECT_EQ(reply.body.find("[DONE]"), std::string::npos);
}

TEST(Anthropic, CountAndBlocks) {
  TestServer server;
  HttpClient client(server.port());
  EXPECT_EQ(client.post("/v1/messages/count_tokens", body_of("")).body, R"({"input_tokens":4})");
  EXPECT_EQ(client
                .post("/v1/messages/count_tokens",
                      R"({"system":[{"type":"text","text":"ab"}],"messages":[{"role":"user","content":[)"
                      R"({"type":"text","text":"c"},{"type":"text","text":"d"}]}]})")
                .status,
            200);
  EXPECT_EQ(client.post("/chat/completions/input_tokens", body_of("")).json().get("input_tokens")->as_int(), 4);
  const std::string use = R"({"type":"tool_use","id":"x","name":"f","input":{}})";
  const std::string result = R"({"type":"tool_result","tool_use_id":"x","content":[{"type":"text","text":"r"}]})";
  const std::string thought = R"({"type":"thinking","thinking":"t","signature":""})";
  auto history = client.post("/v1/messages", R"({"max_tokens":50,"messages":[{"role":"user","content":"a"},)"
                                             R"({"role":"assistant","content":[)" +
                                                 thought + "," + use + R"(]},{"role":"user","content":[)" + result +
                                                 R"(,{"type":"text","text":"b"}]}]})");
  EXPECT_EQ(history.status, 200) << history.body;
}

struct Refusal {
  const char* path;
  std::string body;
  int status;
  const char* type;  // of Anthropic's error; null: another dialect
};

TEST(Dialects, Refusals) {
  TestServer server;
  const std::string image = R"({"max_tokens":5,"messages":[{"role":"user","content":[{"type":"image","source":{}}]}]})";
  for (const Refusal& row : std::vector<Refusal>{
           {"/v1/messages", "{}", 400, "invalid_request_error"},
           {"/v1/messages", "[", 400, "invalid_request_error"},
           {"/v1/messages", body_of(""), 400, "invalid_request_error"},
           {"/v1/messages", R"({"max_tokens":5,"messages":[]})", 400, "invalid_request_error"},
           {"/v1/messages", R"({"max_tokens":5,"messages":[{"role":"tool","content":"x"}]})", 400,
            "invalid_request_error"},
           {"/v1/messages", R"({"max_tokens":5,"messages":[{"role":"user","content":[{"type":"odd"}]}]})", 400,
            "invalid_request_error"},
           {"/v1/messages", image, 400, "invalid_request_error"},
           {"/v1/messages", body_of(R"(,"max_tokens":5,"temperature":1.5)"), 400, "invalid_request_error"},
           {"/v1/messages", body_of(R"(,"max_tokens":5,"thinking":{"type":"x"})"), 400, "invalid_request_error"},
           {"/v1/messages", body_of(R"(,"max_tokens":5,"model":"no")"), 404, "not_found_error"},
           {"/v1/messages/count_tokens", "{}", 400, "invalid_request_error"},
           {"/api/generate", R"({"prompt":5})", 400, nullptr},
           {"/api/generate", R"({"prompt":"x","options":[]})", 400, nullptr},
           {"/api/generate", R"({"prompt":"x","context":[999]})", 400, nullptr},
           {"/api/generate", R"({"prompt":"x","template":"y"})", 400, nullptr},
           {"/api/generate", R"({"prompt":"x","suffix":"y"})", 400, nullptr},
           {"/api/generate", R"({"prompt":"x","images":["AAAA"]})", 400, nullptr},
           {"/api/generate", R"({"prompt":"x","raw":1})", 400, nullptr},
           {"/api/generate", R"({"prompt":"x","format":7})", 400, nullptr},
           {"/api/chat", R"({"messages":7})", 400, nullptr},
           {"/api/chat", body_of(R"(,"options":{"temperature":"hot"})"), 400, nullptr},
           {"/api/chat", body_of(R"(,"model":"no")"), 404, nullptr},
           {"/api/show", R"({"model":"no"})", 404, nullptr},
           {"/api/embed", R"({"model":"echo","input":{}})", 400, nullptr},
           {"/v1/responses", "{}", 400, nullptr},
           {"/v1/responses", R"({"input":[]})", 400, nullptr},
           {"/v1/responses", R"({"input":[{"type":"odd"}]})", 400, nullptr},
           {"/v1/responses", R"({"input":[{"role":"user","content":[{"type":"input_image"}]}]})", 400, nullptr},
           {"/v1/responses", R"({"input":"x","previous_response_id":"resp_1"})", 404, nullptr},
           {"/v1/responses", R"({"input":"x","background":true})", 400, nullptr},
           {"/v1/responses", R"({"input":"x","tools":[{"type":"web_search"}]})", 400, nullptr},
       }) {
    auto reply = HttpClient(server.port()).post(row.path, row.body);
    EXPECT_EQ(reply.status, row.status) << row.path << " " << row.body << reply.body;
    Json error = reply.json();
    ASSERT_NE(error.get("error"), nullptr) << reply.body;
    bool ollama = std::string_view(row.path).starts_with("/api/");
    EXPECT_EQ(error.get("error")->is_string(), ollama) << reply.body;
    if (row.type != nullptr) {
      EXPECT_EQ(error.get("error")->get("type")->as_string(), row.type) << row.body;
    }
  }
}

TEST(Ollama, GenerateAndChat) {
  TestServer server;
  HttpClient client(server.port());
  Json whole = client.post("/api/generate", R"({"model":"echo","prompt":"hi","stream":false})").json();
  EXPECT_EQ(whole.get("response")->as_string(), "hi");
  EXPECT_EQ(whole.get("done_reason")->as_string(), "stop");
  EXPECT_EQ(whole.get("prompt_eval_count")->as_int(), 4);
  EXPECT_TRUE(whole.get("done")->as_bool());
  auto raw = client.post("/api/generate", R"({"prompt":"hi","raw":true,"options":{"num_predict":1,"num_ctx":64}})");
  auto pieces = lines(raw.body);
  EXPECT_EQ(pieces.back().get("done_reason")->as_string(), "length");
  EXPECT_EQ(pieces.back().get("prompt_eval_count")->as_int(), 2);
  EXPECT_NE(raw.head.find("application/x-ndjson"), std::string::npos);
  auto chat = client.post("/api/chat", body_of(R"(,"options":{"temperature":0})"));
  std::string text;
  for (const Json& line : lines(chat.body)) text += line.get("message")->get("content")->as_string();
  EXPECT_EQ(text, "hi");
  EXPECT_EQ(client.post("/api/generate", R"({"model":"echo"})").json().get("done_reason")->as_string(), "load");
  EXPECT_EQ(client.post("/api/chat", R"({"messages":[],"keep_alive":0})").json().get("done_reason")->as_string(),
            "unload");
}

TEST(Ollama, Lists) {
  ServerOptions options;
  options.compat = api::Compat::kOllama;
  TestServer server(options);
  HttpClient client(server.port());
  EXPECT_EQ(client.get("/").body, "Ollama is running");
  EXPECT_NE(client.get("/api/version").json().get("version"), nullptr);
  Json tags = client.get("/api/tags").json();
  EXPECT_EQ(tags.get("models")->as_array()[0].get("name")->as_string(), "echo");
  EXPECT_EQ(client.get("/api/ps").json().get("models")->as_array()[0].get("context_length")->as_int(), 2048);
  Json shown = client.post("/api/show", R"({"model":"echo"})").json();
  EXPECT_EQ(shown.get("capabilities")->dump(), R"(["completion"])");
}

TEST(Beams, KeepToNoConstraint) {
  TestServer server;
  HttpClient client(server.port());
  const std::string ask = R"({"messages":[{"role":"user","content":"hi"}],"use_beam_search":true,"n":2)";
  for (const std::string within : {R"("response_format":{"type":"json_object"})", R"("guided_regex":"[0-9]+")"}) {
    auto reply = client.post("/v1/chat/completions", ask + "," + within + "}");
    EXPECT_EQ(reply.status, 400) << within;
    EXPECT_THAT(reply.body, HasSubstr("not supported with beam search")) << within;
  }
}

TEST(Tgi, GenerateAndStream) {
  TestServer server;
  HttpClient client(server.port());
  Json whole = client.post("/generate", R"({"inputs":"hi","parameters":{"details":true,"max_new_tokens":1}})").json();
  EXPECT_EQ(whole.get("generated_text")->as_string(), "h");
  EXPECT_EQ(whole.get("details")->get("finish_reason")->as_string(), "length");
  EXPECT_EQ(whole.get("details")->get("tokens")->as_array()[0].get("text")->as_string(), "h");
  EXPECT_EQ(client.post("/generate", R"({"inputs":"hi","parameters":{"return_full_text":true}})")
                .json()
                .get("generated_text")
                ->as_string(),
            "hihi");
  auto events = testing::stream_events(client.post("/generate_stream", R"({"inputs":"hi"})").body);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_TRUE(events[0].find("generated_text")->is_null());
  EXPECT_EQ(events.back().get("generated_text")->as_string(), "hi");
  EXPECT_EQ(events.back().get("details")->get("input_length")->as_int(), 2);
  auto refused = client.post("/generate", R"({"inputs":5})");
  EXPECT_EQ(refused.status, 422);
  EXPECT_EQ(refused.json().get("error_type")->as_string(), "validation");
  EXPECT_EQ(client.get("/info").json().get("model_id")->as_string(), "echo");
}

TEST(Tgi, TokensOfThePromptWhenAskedFor) {
  TestServer server;
  HttpClient client(server.port());
  Json reply = client.post("/generate", R"({"inputs":"hey","parameters":{"decoder_input_details":true}})").json();
  const auto& prefill = reply.get("details")->get("prefill")->as_array();
  ASSERT_EQ(prefill.size(), 3u);
  EXPECT_TRUE(prefill[0].find("logprob")->is_null()) << "nothing is before it";
  EXPECT_EQ(prefill[1].get("text")->as_string(), "e");
  EXPECT_EQ(prefill[2].get("logprob")->as_double(), -0.5);
  auto refused = client.post("/generate_stream", R"({"inputs":"hi","parameters":{"decoder_input_details":true}})");
  EXPECT_EQ(refused.status, 422);
}

TEST(Tgi, RootAnswersAList) {
  TestServer server;
  HttpClient client(server.port());
  Json list = client.post("/", R"({"inputs":"hi","parameters":{"max_new_tokens":2}})").json();
  ASSERT_TRUE(list.is_array());
  EXPECT_EQ(list.as_array()[0].find("generated_text")->as_string(), "hi");
  EXPECT_EQ(testing::stream_events(client.post("/", R"({"inputs":"hi","stream":true})").body).size(), 2u);
  EXPECT_EQ(client.post("/", "{}").status, 422);
  EXPECT_EQ(client.get("/").status, 200);
}

TEST(Tgi, GrammarsAreTheConstraintsOfOthers) {
  TestServer server;
  HttpClient client(server.port());
  auto ask = [&](const std::string& grammar) {
    return client.post("/generate", R"({"inputs":"hi","parameters":{"max_new_tokens":30,"grammar":)" + grammar + "}}");
  };
  // An echo follows no constraint: that they are obeyed is tested with models, here that they are read.
  for (const char* good : {R"({"type":"regex","value":"[0-9]{3}"})", R"({"type":"json","value":{"const":7}})",
                           R"({"type":"json_schema","value":{"name":"x","schema":{"const":7}}})"}) {
    EXPECT_EQ(ask(good).status, 200) << good;
  }
  for (const char* bad :
       {R"("x")", R"({"type":"regex"})", R"({"type":"gbnf","value":"x"})", R"({"type":"regex","value":"("})",
        R"({"type":"json_schema","value":{}})", R"({"type":"regex","value":""})", R"({"type":"json","value":""})",
        R"({"type":"json","value":[]})", R"({"type":"json_schema","value":{"schema":""}})",
        R"({"type":"regex","value":"a"},"regex":"b")", R"({"type":"regex","value":"a"},"ebnf":"b")"}) {
    EXPECT_EQ(ask(bad).status, 422) << bad;
  }
  EXPECT_EQ(ask("null").status, 200);
}

TEST(Sglang, LogProbabilitiesOfThePromptFromAPlaceOn) {
  TestServer server;
  HttpClient client(server.port());
  auto ask = [&](const std::string& more) {
    return client.post("/generate",
                       R"({"text":"hey","sampling_params":{"max_new_tokens":1},"return_logprob":true)" + more + "}");
  };
  Json all = ask(R"(,"logprob_start_len":0,"top_logprobs_num":2)").json();
  const Json& info = *all.get("meta_info");
  const auto& input = info.get("input_token_logprobs")->as_array();
  ASSERT_EQ(input.size(), 3u);
  EXPECT_EQ(input[0].dump(), R"([null,104,"h"])");
  EXPECT_EQ(input[1].dump(), R"([-0.5,101,"e"])");
  EXPECT_TRUE(info.get("input_top_logprobs")->as_array()[0].is_null());
  EXPECT_EQ(info.get("input_top_logprobs")->as_array()[1].size(), 2u);
  EXPECT_EQ(info.get("output_top_logprobs")->as_array()[0].size(), 2u);
  EXPECT_EQ(ask(R"(,"logprob_start_len":2)").json().get("meta_info")->get("input_token_logprobs")->size(), 1u);
  EXPECT_EQ(ask(R"(,"logprob_start_len":9)").json().get("meta_info")->get("input_token_logprobs")->size(), 0u);
  EXPECT_EQ(ask("").json().get("meta_info")->find("input_token_logprobs"), nullptr);
  EXPECT_EQ(ask(R"(,"logprob_start_len":-1)").json().get("meta_info")->find("input_token_logprobs"), nullptr);
  for (const char* bad :
       {R"(,"logprob_start_len":-2)", R"(,"logprob_start_len":"0")", R"(,"logprob_start_len":0,"stream":true)"}) {
    EXPECT_EQ(ask(bad).status, 422) << bad;
  }
}

TEST(Sglang, WhatItCannotDoIsRefusedByName) {
  TestServer server;
  HttpClient client(server.port());
  for (const char* member : {R"("image_data":"x.png")", R"("image_data":["x.png"])", R"("session_params":{"id":"a"})",
                             R"("return_hidden_states":true)"}) {
    auto reply = client.post("/generate", std::string(R"({"text":"hi",)") + member + "}");
    EXPECT_EQ(reply.status, 422) << member;  // the route's style is TGI's
    EXPECT_THAT(reply.body, HasSubstr("not supported")) << member;
  }
  EXPECT_EQ(client.post("/generate", R"({"text":"hi","image_data":[],"return_hidden_states":false})").status, 200);
}

TEST(SageMaker, InvocationsAreRoutedByTheirKeys) {
  TestServer server;
  HttpClient client(server.port());
  auto object = [&](const char* body) {
    Json reply = client.post("/invocations", body).json();
    const Json* name = reply.find("object");
    return name == nullptr ? reply.dump() : name->as_string();
  };
  EXPECT_EQ(object(R"({"messages":[{"role":"user","content":"hi"}]})"), "chat.completion");
  EXPECT_EQ(object(R"({"prompt":"hi"})"), "text_completion");
  EXPECT_EQ(object(R"({"input":"hi"})"), "list");
  EXPECT_EQ(client.post("/invocations", R"({"inputs":"hi"})").json().find("generated_text")->as_string(), "hi");
  EXPECT_EQ(client.post("/invocations", "{}").status, 400);
}

TEST(Tgi, ChatTokenizeNamesTheBytesOfEachToken) {
  TestServer server;
  HttpClient client(server.port());
  const std::string messages = R"({"messages":[{"role":"user","content":"h\u00e9 there"}]})";
  Json reply = client.post("/chat_tokenize", messages).json();
  const std::string text = reply.find("templated_text")->as_string();
  EXPECT_EQ(text, client.post("/apply-template", messages).json().find("prompt")->as_string());
  const Json ids = *client.post("/tokenize", messages).json().find("tokens");
  const Json& tokens = *reply.find("tokenize_response");
  ASSERT_EQ(tokens.size(), ids.size());
  int64_t end = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const Json& token = tokens.as_array()[i];
    EXPECT_EQ(token.find("id")->as_int(), ids.as_array()[i].as_int());
    EXPECT_EQ(token.find("start")->as_int(), end);
    end = token.find("stop")->as_int();
  }
  EXPECT_EQ(end, static_cast<int64_t>(text.size()));
  auto refused = client.post("/chat_tokenize", R"({"messages":5})");
  EXPECT_EQ(refused.status, 422);
  EXPECT_NE(refused.json().find("error_type"), nullptr);
}

TEST(Dialects, KnownAndNotBuiltIsSaidByName) {
  TestServer server;
  HttpClient client(server.port());
  for (const char* path :
       {"/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/api/pull", "/api/push", "/api/create", "/api/copy"}) {
    auto reply = client.post(path, "{}");
    EXPECT_EQ(reply.status, 501) << path;
    EXPECT_THAT(reply.body, HasSubstr(path));
  }
  auto one = client.get("/health_generate");
  EXPECT_EQ(one.status, 200) << one.body;
  EXPECT_EQ(one.json().find("usage")->find("completion_tokens")->as_int(), 1);
}

TEST(Sglang, GenerateIsCumulative) {
  TestServer server;
  HttpClient client(server.port());
  Json whole =
      client.post("/generate", R"({"text":"hi","sampling_params":{"max_new_tokens":9},"return_logprob":true})").json();
  EXPECT_EQ(whole.get("text")->as_string(), "hi");
  EXPECT_EQ(whole.get("meta_info")->get("finish_reason")->get("type")->as_string(), "stop");
  EXPECT_EQ(whole.get("meta_info")->get("prompt_tokens")->as_int(), 2);
  EXPECT_EQ(whole.get("meta_info")->get("output_token_logprobs")->as_array()[0].as_array()[1].as_int(), 'h');
  Json many = client.post("/generate", R"({"text":["a","b"]})").json();
  ASSERT_EQ(many.size(), 2u);
  EXPECT_EQ(many.as_array()[1].get("text")->as_string(), "b");
  EXPECT_EQ(client.post("/generate", R"({"input_ids":[104]})").json().get("text")->as_string(), "h");
  auto stream = client.post("/generate", R"({"text":"hi","stream":true})");
  auto events = testing::stream_events(stream.body);
  std::string last;
  for (const Json& event : events) {
    if (event.get("text") == nullptr) continue;
    EXPECT_TRUE(event.get("text")->as_string().starts_with(last));
    last = event.get("text")->as_string();
  }
  EXPECT_EQ(last, "hi");
  EXPECT_TRUE(stream.body.ends_with("data: [DONE]\n\n"));
  EXPECT_EQ(client.get("/get_model_info").json().get("is_generation")->as_bool(), true);
}

TEST(Kserve, ModelsAndGenerate) {
  TestServer server;
  HttpClient client(server.port());
  EXPECT_EQ(client.get("/v2").json().get("name")->as_string(), "millrace");
  EXPECT_EQ(client.get("/v2/health/ready").status, 200);
  EXPECT_EQ(client.get("/v2/models/echo").json().get("inputs")->as_array()[0].get("name")->as_string(), "text_input");
  EXPECT_TRUE(client.get("/v2/models/echo/versions/1/ready").json().get("ready")->as_bool());
  EXPECT_EQ(client.get("/v2/models/none/ready").status, 404);
  Json reply = client.post("/v2/models/echo/generate", R"({"text_input":"hi","max_tokens":1,"details":true})").json();
  EXPECT_EQ(reply.get("text_output")->as_string(), "h");
  EXPECT_EQ(reply.get("details")->get("finish_reason")->as_string(), "length");
  auto events = testing::stream_events(
      client.post("/v2/models/echo/generate_stream", R"({"text_input":"hi","parameters":{"max_tokens":2}})").body);
  std::string text;
  for (const Json& event : events) text += event.get("text_output")->as_string();
  EXPECT_EQ(text, "hi");
  EXPECT_EQ(client.post("/v2/models/none/generate", R"({"text_input":"hi"})").status, 404);
  EXPECT_EQ(client.post("/v2/models/echo/generate", "{}").json().get("error")->is_string(), true);
}

// Triton's clients send and want tensors as bytes behind the JSON; others send all of it as JSON.
TEST(Kserve, Infer) {
  TestServer server;
  HttpClient client(server.port());
  Json whole =
      client
          .post("/v2/models/echo/infer",
                R"({"id":"7","inputs":[{"name":"text_input","datatype":"BYTES","shape":[2],"data":["hi","you"]}]})")
          .json();
  EXPECT_EQ(whole.get("id")->as_string(), "7");
  EXPECT_EQ(whole.get("model_name")->as_string(), "echo");
  EXPECT_EQ(whole.get("outputs")->dump(),
            R"([{"name":"text_output","datatype":"BYTES","shape":[2],"data":["hi","you"]}])");
  std::string json = R"({"inputs":[{"name":"text_input","datatype":"BYTES","shape":[1],)"
                     R"("parameters":{"binary_data_size":6}}],"parameters":{"binary_data_output":true}})";
  std::string bytes("\x02\0\0\0hi", 6);
  auto ask = [&](std::string_view path, const std::string& n_json, std::string_view type) {
    return client.request("POST " + std::string(path) + " HTTP/1.1\r\nHost: t\r\nContent-Type: " + std::string(type) +
                          "\r\nInference-Header-Content-Length: " + n_json + "\r\nContent-Length: " +
                          std::to_string(json.size() + bytes.size()) + "\r\n\r\n" + json + bytes);
  };
  constexpr std::string_view kInfer = "/v2/models/echo/versions/1/infer";
  auto reply = ask(kInfer, std::to_string(json.size()), "application/octet-stream");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.header("Content-Type"), "application/octet-stream");
  ASSERT_GT(reply.body.size(), bytes.size());
  EXPECT_EQ(reply.header("Inference-Header-Content-Length"), std::to_string(reply.body.size() - bytes.size()));
  EXPECT_EQ(reply.body.substr(reply.body.size() - bytes.size()), bytes);  // the echo of the prompt
  for (std::string n_json : {"9999", "-1", "x", ""}) {
    EXPECT_EQ(ask(kInfer, n_json, "application/octet-stream").status, 422) << n_json;
  }
  EXPECT_EQ(ask("/v2/models/none/infer", std::to_string(json.size()), "application/json").status, 404);
  EXPECT_EQ(ask("/v2/models/echo/generate", "9", "application/octet-stream").status, 415);
}

TEST(Responses, NoneIsStored) {
  TestServer server;
  HttpClient client(server.port());
  for (const auto& reply : {client.get("/v1/responses/resp_1"), client.get("/responses/resp_1"),
                            client.post("/v1/responses/resp_1/cancel", "{}"),
                            client.post("/v1/responses", R"({"input":"x","previous_response_id":"resp_1"})")}) {
    EXPECT_EQ(reply.status, 404) << reply.body;
    EXPECT_THAT(reply.body, HasSubstr(R"("code":"response_not_found")"));
  }
  EXPECT_EQ(HttpClient(server.port()).post("/v1/responses/resp_1", "{}").status, 405);
}

TEST(Responses, WholeAndEvents) {
  TestServer server;
  HttpClient client(server.port());
  Json whole = client.post("/v1/responses", R"({"input":"hi","max_output_tokens":50})").json();
  EXPECT_EQ(whole.get("status")->as_string(), "completed");
  EXPECT_EQ(whole.get("output")->as_array()[0].get("content")->as_array()[0].get("text")->as_string(), "hi");
  EXPECT_EQ(whole.get("usage")->get("input_tokens")->as_int(), 4);
  Json cut = client.post("/responses", R"({"input":"hi","max_output_tokens":1})").json();
  EXPECT_EQ(cut.get("incomplete_details")->get("reason")->as_string(), "max_output_tokens");
  auto stream = client.post(
      "/v1/responses", R"({"input":[{"role":"user","content":[{"type":"input_text","text":"hi"}]}],"stream":true})");
  auto events = named_events(stream.body);
  std::string text;
  std::vector<std::string> names;
  for (size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i].second.get("sequence_number")->as_int(), static_cast<int64_t>(i));
    if (events[i].first == "response.output_text.delta") {
      text += events[i].second.get("delta")->as_string();
    } else {
      names.push_back(events[i].first);
    }
  }
  EXPECT_EQ(text, "hi");
  EXPECT_THAT(names, ElementsAre("response.created", "response.in_progress", "response.output_item.added",
                                 "response.content_part.added", "response.output_text.done",
                                 "response.content_part.done", "response.output_item.done", "response.completed"));
  EXPECT_EQ(client.post("/v1/responses/input_tokens", R"({"input":"hi"})").json().get("input_tokens")->as_int(), 4);
}

}  // namespace
}  // namespace millrace::server
