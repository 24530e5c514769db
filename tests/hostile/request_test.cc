// Rows S01 to S17 and J07, J09 to J10 of the bad-input list: request bodies that must end in an exact 400 (or pass),
// whatever route carried them, on a stack of 256 KiB.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "api/chat.h"
#include "api/completions.h"
#include "api/errors.h"
#include "api/fields.h"
#include "api/llama.h"
#include "api/pooling.h"
#include "api/to_generate.h"
#include "tests/hostile/small_stack.h"

namespace millrace::api {
namespace {

using ::millrace::testing::on_small_stack;
using ::testing::HasSubstr;

constexpr int64_t kVocabulary = 151936;
const Limits kLimits;
const std::vector<std::string> kNames = {"tiny", "other"};
const ParseContext kContext{
    .limits = kLimits, .served_names = kNames, .model = {.n_vocab = kVocabulary, .max_len = 131072}};

std::string shown(const Error& error) {
  EXPECT_EQ(error_row(error.code).status / 100, 4) << error.message;
  return std::string(error_slug(error.code)) + ": " + error.message;
}

// What /v1/completions makes of these members beside a prompt.
std::string completion(const std::string& members) {
  std::string out;
  on_small_stack([&] {
    auto body = parse_body(R"({"prompt":"x",)" + members + "}", kLimits);
    if (!body.ok()) {
      out = shown(body.error());
      return;
    }
    auto request = parse_completion(*body, kContext);
    out = request.ok() ? "accepted" : shown(request.error());
  });
  return out;
}

std::string prompt(const std::string& value) {
  auto body = parse_body(R"({"prompt":)" + value + "}", kLimits);
  if (!body.ok()) return shown(body.error());
  auto request = parse_completion(*body, kContext);
  return request.ok() ? "accepted" : shown(request.error());
}

std::string chat(const std::string& members) {
  auto body = parse_body("{" + members + "}", kLimits);
  if (!body.ok()) return shown(body.error());
  auto request = parse_chat(*body, kContext);
  return request.ok() ? "accepted" : shown(request.error());
}

std::string repeat(std::string_view text, size_t n) {
  std::string out;
  for (size_t i = 0; i < n; ++i) out += text;
  return out;
}

struct Row {
  const char* members;
  const char* wanted;
};

TEST(HostileRequestTest, S01ToS09AndS13ToS16) {
  const char* n_range = "invalid_value: n must be an integer in 1..128";
  const char* temperature = "invalid_value: temperature must be a number in 0..2";
  const char* stop = "invalid_value: stop: at most 16 strings of 1..256 bytes";
  for (const Row& row : std::vector<Row>{
           {R"("n":0)", n_range},
           {R"("n":-1)", n_range},
           {R"("n":129)", n_range},
           {R"("n":1000000)", n_range},
           {R"("n":9223372036854775808)", n_range},
           {R"("n":1.5)", n_range},
           {R"("n":"3")", n_range},
           {R"("n":true)", n_range},
           {R"("n":null)", "accepted"},
           {R"("n":1e400)", "invalid_json: "},
           {R"("best_of":3,"stream":true)", "invalid_value: best_of: 3 with n = 1 is not allowed with stream = true"},
           {R"("logprobs":21)", "logprobs must be an integer in 0..20"},
           {R"("logprobs":2147483648)", "logprobs must be an integer in 0..20"},
           {R"("logprobs":-1)", "logprobs must be an integer in 0..20"},
           {R"("n_predict":-2)", "n_predict must be an integer in -1..2147483647"},
           {R"("n_predict":-1)", "accepted"},
           {R"("n_keep":-2)", "n_keep must be an integer in -1..2147483647"},
           {R"("n_keep":5)", "unsupported_parameter: n_keep: not supported by this server (context shifting"},
           {R"("n_discard":1)", "unsupported_parameter: n_discard"},
           {R"("temperature":"NaN")", temperature},
           {R"("temperature":NaN)", "invalid_json: "},
           {R"("temperature":-0.1)", temperature},
           {R"("temperature":1e38)", temperature},
           {R"("temperature":"hot")", temperature},
           {R"("temperature":1e-40)", "accepted"},
           {R"("top_k":0.01)", "top_k must be an integer >= -1"},
           {R"("top_k":-5)", "top_k must be an integer >= -1"},
           {R"("top_k":1000000000)", "accepted"},
           {R"("top_p":0)", "top_p must be a number > 0 and <= 1"},
           {R"("top_p":1.0001)", "top_p must be a number > 0 and <= 1"},
           {R"("min_p":1.1)", "min_p must be a number in 0..1"},
           {R"("typical_p":0)", "typical_p must be a number > 0 and <= 1"},
           {R"("repetition_penalty":1e38)", "repetition_penalty must be a number > 0 and <= 1000000"},
           {R"("presence_penalty":1e38)", "presence_penalty must be a number in -2..2"},
           {R"("max_tokens":-1)", "max_tokens must be an integer >= 0"},
           {R"("max_tokens":9223372036854775808)", "max_tokens must be an integer >= 0"},
           {R"("max_tokens":0)", "accepted"},
           {R"("stop":[""])", stop},
           {R"("stop":5)", stop},
           {R"("stop":[["a"]])", stop},
           {R"("logit_bias":{"abc":1})", "logit_bias must map token ids to numbers in -100..100"},
           {R"("logit_bias":{"151936":1})", "logit_bias: token 151936 outside vocabulary 0..151935"},
           {R"("logit_bias":{"5":101})", "logit_bias: the bias of token 5 must be a number in -100..100"},
           {R"("stop_token_ids":[151936])",
            "token_out_of_range: stop_token_ids[0] = 151936: token id outside 0..151935"},
           {R"("allowed_token_ids":[-1])", "allowed_token_ids[0] = -1: token id outside 0..151935"},
           {R"("allowed_token_ids":[])", "no_token_allowed: "},
           {R"("seed":18446744073709551616)", "seed must be a 64-bit integer"},
           {R"("model":"nope")", "model_not_found: model \"nope\" does not exist, served: tiny, other"},
           {R"("model":"../x")", "model_not_found: "},
           {R"("model":"")", "model_not_found: "},
           {R"("stream":"yes")", "stream must be a boolean"},
           {R"("stream_options":{"include_usage":true})", "stream_options: only allowed with stream = true"},
           {R"("timeout":0)", "timeout must be a number > 0 and <= 86400"},
           {R"("timeout":1e18)", "timeout must be a number > 0 and <= 86400"},
           {R"("priority":9223372036854775808)", "priority must be a 64-bit integer"},
           {R"("cache_salt":"a/b")", "cache_salt must be a string of 1..128 bytes"},
           {R"("prompt_embeds":"x")", "unsupported_parameter: prompt_embeds: not supported"},
           {R"("a":1,"a":2)", "duplicate_key: "},
           {R"("a":"\ud800")", "invalid_json: "},
       }) {
    EXPECT_THAT(completion(row.members), HasSubstr(row.wanted)) << row.members;
  }
  EXPECT_THAT(completion(R"("model":")" + std::string(10240, 'm') + "\""), HasSubstr("model must be a string"));
  EXPECT_THAT(completion(R"("stop":")" + std::string(1 << 20, 's') + "\""), HasSubstr(stop));
  EXPECT_THAT(completion(R"("stop":[)" + repeat("\"a\",", 999) + R"("a"])"), HasSubstr(stop));
  EXPECT_THAT(completion(R"("a":)" + repeat("[", 100000)), HasSubstr("nesting deeper than 192"));
  EXPECT_THAT(completion(R"("a":[)" + repeat("0,", 1000000) + "0]"), HasSubstr("more than 1000000 values"));
}

TEST(HostileRequestTest, S10AndS11Prompts) {
  EXPECT_EQ(prompt("[1,2,200000]"), "token_out_of_range: prompt[2] = 200000: token id outside 0..151935");
  EXPECT_THAT(prompt("[1.5]"), HasSubstr("prompt[0] must be a token id"));
  EXPECT_THAT(prompt("[[1],[[2]]]"), HasSubstr("prompt[1][0] must be a token id"));
  EXPECT_EQ(prompt("[" + repeat("\"a\",", 9999) + "\"a\"]"), "too_many_prompts: prompt: 10000 entries, limit 1024");
  EXPECT_EQ(prompt("[" + repeat("5,", 900000) + "5]"), "accepted");
}

TEST(HostileRequestTest, J07J09J10Chat) {
  const std::string messages = R"("messages":[{"role":"user","content":"x"}],)";
  EXPECT_THAT(chat(messages + R"("chat_template":"{{ x }}")"),
              HasSubstr("chat_template_disabled: chat_template in requests is disabled"));
  EXPECT_THAT(chat(messages + R"("chat_template_kwargs":{"tools":[]})"),
              HasSubstr("\"tools\" cannot be set through chat_template_kwargs"));
  EXPECT_THAT(chat(R"("messages":[)" + repeat("{},", 99999) + "{}]"), HasSubstr("too many small values"));
  EXPECT_THAT(chat(R"("messages":[)" + repeat(R"({"role":"user","content":"x"},)", 4999) + "{}]"),
              HasSubstr("messages: 5000 entries, limit 4096"));
  EXPECT_THAT(chat(R"("messages":[{"role":"user","content":"x"},{"role":1,"content":"x"}])"),
              HasSubstr("messages[1].role must be"));
  EXPECT_THAT(chat(R"("messages":[{"role":"user","content":)" + repeat("[", 50) + repeat("]", 50) + "}]"),
              HasSubstr("messages[0].content[0] must be"));
  EXPECT_THAT(chat(messages + R"("tools":[{"type":"function"}])"), HasSubstr("tools[0].function"));
}

// The native routes of llama-server: the same door, wider ranges, prompts of more forms.
TEST(HostileRequestTest, NativeBodies) {
  for (const Row& row : std::vector<Row>{
           {R"("prompt":[])", "empty_prompt"},
           {R"("prompt":[[]])", "empty_prompt"},
           {R"("prompt":[1,"a",-1])", "token_out_of_range: prompt[2]"},
           {R"("prompt":[1,[2]])", "prompt[1] must be a token id"},
           {R"("prompt":{"prompt_string":["a"]})", "prompt.prompt_string must be a string"},
           {R"("prompt":{"multimodal_data":["AAAA"],"prompt_string":"a"})", "unsupported_parameter"},
           {R"("prompt":true)", "invalid_value: prompt must be"},
           {R"("prompt":"x","n_probs":-1)", "n_probs must be an integer in 0..20"},
           {R"("prompt":"x","temperature":1e38)", "temperature must be a number in 0..100"},
           {R"("prompt":"x","repeat_last_n":2147483648)", "repeat_last_n must be an integer in -1..2147483647"},
           {R"("prompt":"x","logit_bias":[["a",1]])", "logit_bias must map"},
           {R"("prompt":"x","logit_bias":[[5,true]])", "logit_bias: the bias of token 5"},
           {R"("prompt":"x","logit_bias":{"5":1e300})", "logit_bias: the bias of token 5"},
           {R"("prompt":"x","response_fields":"content")", "response_fields must be an array"},
           {R"("prompt":"x","response_fields":[[1]])", "response_fields must be an array of strings"},
           {R"("prompt":"x","response_fields":["////"])", "accepted"},
           {R"("prompt":"x","grammar":7)", "invalid_value: grammar"},
           {R"("prompt":"x","grammar":"root ::= x","json_schema":{})", "conflicting_constraints"},
           {R"("prompt":"x","samplers":["mirostat"])", "invalid_value: samplers must be an array of names"},
           {R"("prompt":"x","samplers":"edskypmxq")", "invalid_value: samplers"},
           {R"("prompt":"x","samplers":[7])", "invalid_value: samplers"},
           {R"("prompt":"x","samplers":true)", "invalid_value: samplers"},
           {R"("prompt":"x","samplers":["top_k","top_p"])", "accepted"},
           {R"("prompt":"x","mirostat":3)", "mirostat must be an integer in 0..2"},
           {R"("prompt":"x","mirostat":1,"mirostat_tau":0)", "mirostat_tau must be a number > 0"},
           {R"("prompt":"x","xtc_probability":1.5)", "xtc_probability must be a number in 0..1"},
           {R"("prompt":"x","dynatemp_range":-1)", "dynatemp_range must be a number in 0..100"},
           {R"("prompt":"x","dry_base":0.5)", "dry_base must be a number in 1..1000"},
           {R"("prompt":"x","dry_sequence_breakers":[""])", "dry_sequence_breakers: at most 16 strings"},
           {R"("prompt":"x","bad_words":["a",1])", "bad_words: at most 128 strings"},
           {R"("prompt":"x","bad_token_ids":[-1])", "token_out_of_range"},
           {R"("prompt":"x","samplers":"edskypmxt")", "accepted"},
           {R"("prompt":"x","n_predict":9223372036854775808)", "n_predict must be an integer"},
           {R"("prompt":"x","id_slot":-2)", "id_slot must be an integer in -1..2147483647"},
       }) {
    std::string out;
    on_small_stack([&] {
      auto body = parse_body(std::string("{") + row.members + "}", kLimits);
      if (!body.ok()) {
        out = shown(body.error());
        return;
      }
      auto request = parse_llama_completion(*body, kContext, {});
      out = request.ok() ? "accepted" : shown(request.error());
    });
    EXPECT_THAT(out, HasSubstr(row.wanted)) << row.members;
  }
}

// Embeddings and scores.
TEST(HostileRequestTest, PoolingBodies) {
  struct Row {
    DialectParser parse;
    std::string members;
    std::string wanted;
  };
  for (const Row& row : std::vector<Row>{
           {parse_embeddings, R"("input":[)" + repeat("[", 60) + repeat("]", 60) + "]", "must be a token id"},
           {parse_embeddings, R"("input":[)" + repeat("\"a\",", 9999) + "\"a\"]",
            "too_many_prompts: input: 10000 entries, limit 1024"},
           {parse_embeddings, R"("input":[1,"a",9223372036854775807])", "token_out_of_range: input[2]"},
           {parse_embeddings, R"("input":{"content":[{"type":"text","text":7}]})", "input.content[0].text must be"},
           {parse_embeddings, R"("input":"x","dimensions":9223372036854775807)",
            "dimensions must be an integer in 1.."},
           {parse_embeddings, R"("input":"x","embd_normalize":65)", "embd_normalize must be an integer in -1..64"},
           {parse_embeddings, R"("input":"x","messages":7)", "messages must be an array"},
           {parse_embeddings, R"("messages":[])", "messages"},
           {parse_llama_embedding, R"("content":null,"input":null)", "missing_field"},
           {parse_ollama_embed, R"("input":[null])", "input[0] must be"},
           {parse_ollama_embed, R"("input":"x","truncate":1)", "truncate must be a boolean"},
           {parse_cohere_embed, R"("texts":[1])", "texts must be an array of strings"},
           {parse_cohere_embed, R"("texts":["x"],"embedding_types":["int8"])", "encoding_format must be one of"},
           {parse_cohere_embed, R"("texts":["x"],"truncate":"MIDDLE")", "truncate must be one of"},
           {parse_sglang_encode, R"("text":{})", "text must be"},
           {parse_score, R"("text_1":"x","text_2":[{}])", "text_2[0] must be a string"},
           {parse_score, R"("text_1":[],"text_2":"x")", "empty_prompt: text_1"},
           {parse_rerank, R"("query":7,"documents":["x"])", "query must be a string"},
           {parse_rerank, R"("query":"x","documents":"x")", "documents must be an array"},
           {parse_rerank, R"("query":"x","documents":["x"],"top_n":-1)", "top_n must be an integer in 0.."},
           {parse_rerank, R"("query":"x","documents":[)" + repeat("\"a\",", 1024) + "\"a\"]",
            "too_many_prompts: documents: 1025 entries"},
       }) {
    std::string out;
    on_small_stack([&] {
      auto body = parse_body(std::string("{") + row.members + "}", kLimits);
      if (!body.ok()) {
        out = shown(body.error());
        return;
      }
      auto request = row.parse(*body, kContext, {});
      out = request.ok() ? "accepted" : shown(request.error());
    });
    EXPECT_THAT(out, HasSubstr(row.wanted)) << row.members.substr(0, 80);
  }
}

TEST(HostileRequestTest, UnknownFieldsAreCheapAndQuoted) {
  std::string members;
  for (int i = 0; i < 200000; ++i) members += "\"k" + std::to_string(i) + "\":0,";
  auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(completion(members + R"("stream":false)"), "accepted");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::minutes(2)) << "a square of them takes hours";
  auto body = parse_body(R"({"prompt":"x","a\nb":1})", kLimits).value();
  EXPECT_EQ(parse_completion(body, kContext)->common.ignored.names.at(0), "a\\x0ab");
}

}  // namespace
}  // namespace millrace::api
