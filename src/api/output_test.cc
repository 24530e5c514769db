// Golden bodies: errors in three styles, whole replies, streams, models. API.md sections 4 and 5.
#include "api/output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/chunks.h"
#include "api/errors.h"
#include "api/json_text.h"

namespace millrace::api {
namespace {

using ::testing::HasSubstr;

const ReplyHead kHead{.id = "id-1", .created = 1700000000, .model = "tiny", .system_fingerprint = "fp"};
const char* const kUsage =
    R"("usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":1,)"
    R"("created_cache_tokens":2,"multimodal_tokens":{}},)"
    R"("completion_tokens_details":{"reasoning_tokens":0}})";
const Usage kCounts{.prompt_tokens = 3, .completion_tokens = 2, .cached_tokens = 1, .created_tokens = 2};

TEST(ErrorsTest, EveryRequestCodeHasARow) {
  for (int code = 0; code <= static_cast<int>(ErrorCode::kCancelled); ++code) {
    auto wanted = static_cast<ErrorCode>(code);
    EXPECT_EQ(error_row(wanted).code, wanted) << error_slug(wanted);
    EXPECT_GE(error_row(wanted).status, 400);
  }
  EXPECT_EQ(error_row(ErrorCode::kBadFile).status, 500);
  for (const ErrorRow& row : error_table()) {
    bool server_limit = row.status == 503 || row.status == 429;
    EXPECT_EQ(row.retry == RetryPolicy::kRetryAfter, server_limit) << error_slug(row.code);
  }
}

TEST(ErrorsTest, BodiesInThreeStyles) {
  Error error{ErrorCode::kInvalidValue, "n must be an integer in 1..128", "n"};
  EXPECT_EQ(error_body(error, ErrorStyle::kOpenAi),
            R"({"error":{"message":"n must be an integer in 1..128","type":"invalid_request_error",)"
            R"("param":"n","code":"invalid_value"}})");
  EXPECT_EQ(
      error_body(error, ErrorStyle::kVllm),
      R"({"error":{"message":"n must be an integer in 1..128","type":"BadRequestError","param":"n","code":400}})");
  EXPECT_EQ(error_body(Error{ErrorCode::kQueueFull, "queue full", ""}, ErrorStyle::kLlama),
            R"({"error":{"message":"queue full","type":"unavailable_error","param":null,"code":503}})");
  ApiError lengths = with_lengths(Error{ErrorCode::kContextLengthExceeded, "too long", "prompt"}, 9, 8);
  EXPECT_THAT(error_body(lengths, ErrorStyle::kOpenAi),
              HasSubstr(R"("code":"context_length_exceeded","n_prompt_tokens":9,"n_ctx":8}})"));
  EXPECT_THAT(error_body(Error{ErrorCode::kInvalidJson, "got \xFB", ""}, ErrorStyle::kOpenAi),
              HasSubstr("got \xEF\xBF\xBD"));
  EXPECT_FALSE(with_lengths(error, 9, 8).n_ctx.has_value());
  EXPECT_EQ(
      error_event(ApiError{Error{ErrorCode::kInternal, "x", ""}}, ErrorStyle::kOpenAi),
      "data: {\"error\":{\"message\":\"x\",\"type\":\"server_error\",\"param\":null,\"code\":\"internal_error\"}}\n\n");
}

PositionText position(TokenId id, std::string bytes, float logprob) {
  return {.chosen = {.id = id, .bytes = bytes, .text = bytes, .logprob = logprob, .rank = 1}};
}

TEST(OutputTest, WholeChat) {
  CommonParams params;
  params.sampling.n_logprobs = 1;
  PositionText at = position(7, "\xC3", -0.5f);
  at.chosen.text = "";
  at.top = {{.id = 8, .bytes = "b", .text = "b", .logprob = -1e9f, .rank = 1}};
  PromptOutput prompt;
  ChoiceOutput choice{.index = 0, .text = "a\"", .finish = {FinishKind::kStop, std::string("END")}, .logprobs = {at}};
  std::string body = chat_reply({kHead, params, {&prompt, 1}, {&choice, 1}, kCounts});
  EXPECT_EQ(body,
            R"({"id":"id-1","object":"chat.completion","created":1700000000,"model":"tiny","system_fingerprint":"fp",)"
            R"("service_tier":null,"choices":[{"index":0,"message":{"role":"assistant","content":"a\"",)"
            R"("refusal":null,"annotations":[],)"
            R"("audio":null,"function_call":null},"logprobs":{"content":[{"token":"","logprob":-0.5,"bytes":[195],)"
            R"("top_logprobs":[{"token":"b","logprob":-9999.0,"bytes":[98]}]}]},)"
            R"("finish_reason":"stop","stop_reason":"END"}],)" +
                std::string(kUsage) + "}");
  EXPECT_TRUE(parse_json(body).ok());
}

TEST(OutputTest, WholeCompletionWithEcho) {
  CommonParams params;
  params.sampling.n_logprobs = 1;
  params.output.echo = true;
  params.output.return_token_ids = true;
  PromptOutput prompt{.text = "\xC3\xA9", .token_ids = {4}, .logprobs = {position(4, "\xC3\xA9", 0)}};
  prompt.logprobs[0].has_logprob = false;
  ChoiceOutput choice{
      .text = "x", .finish = {FinishKind::kLength, {}}, .token_ids = {5}, .logprobs = {position(5, "x", -2)}};
  choice.logprobs[0].top = {{.id = 6, .bytes = "y", .text = "y", .logprob = -1, .rank = 1}};
  Timings timings{.cache_n = 1, .prompt_n = 2, .prompt_ms = 4, .predicted_n = 3, .predicted_ms = 10};
  std::string body = completion_reply({kHead, params, {&prompt, 1}, {&choice, 1}, kCounts, &timings});
  EXPECT_THAT(
      body,
      HasSubstr("\"text\":\"\xC3\xA9x\",\"logprobs\":{\"text_offset\":[0,1],\"token_logprobs\":[null,-2.0],"
                "\"tokens\":[\"\xC3\xA9\",\"x\"],\"top_logprobs\":[null,{\"y\":-1.0,\"x\":-2.0}]},"
                "\"finish_reason\":\"length\",\"stop_reason\":null,\"token_ids\":[5],\"prompt_token_ids\":[4]}]"));
  EXPECT_THAT(
      body,
      HasSubstr(R"("timings":{"cache_n":1,"prompt_n":2,"prompt_ms":4.0,"prompt_per_token_ms":2.0,)"
                R"("prompt_per_second":500.0,)"
                R"("predicted_n":3,"predicted_ms":10.0,"predicted_per_token_ms":5.0,"predicted_per_second":200.0})"));
  EXPECT_TRUE(parse_json(body).ok());
}

TEST(OutputTest, PromptLogprobsAndTokenNames) {
  std::string out;
  std::vector<PositionText> positions = {position(4, "a", 0), position(5, "b", -1)};
  positions[0].has_logprob = false;
  positions[1].chosen.rank = 3;
  positions[1].top = {{.id = 6, .bytes = "c", .text = "c", .logprob = -0.25f, .rank = 1}};
  append_prompt_logprobs(out, positions);
  EXPECT_EQ(out, R"([null,{"5":{"logprob":-1.0,"rank":3,"decoded_token":"b"},)"
                 R"("6":{"logprob":-0.25,"rank":1,"decoded_token":"c"}}])");
  out.clear();
  append_chat_logprobs(out, std::span<const PositionText>(positions).subspan(1), true);
  EXPECT_THAT(out, HasSubstr(R"("token":"token_id:5")"));
}

TEST(ChunksTest, ChatStream) {
  CommonParams params;
  ChunkWriter writer(ReplyKind::kChat, kHead, params);
  std::string out;
  writer.append_roles(out, 2, nullptr);
  writer.append_delta(out, 1, {.text = "h\n"});
  writer.append_finish(out, 1, {FinishKind::kStop, TokenId{2}}, nullptr);
  writer.append_usage(out, kCounts);
  out += kDoneEvent;
  std::string head = R"(data: {"id":"id-1","object":"chat.completion.chunk","created":1700000000,"model":"tiny",)"
                     R"("system_fingerprint":"fp","choices":[)";
  EXPECT_EQ(out, head +
                     R"({"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]})"
                     "\n\n" +
                     head +
                     R"({"index":1,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]})"
                     "\n\n" +
                     head +
                     R"({"index":1,"delta":{"content":"h\n"},"logprobs":null,"finish_reason":null}]})"
                     "\n\n" +
                     head +
                     R"({"index":1,"delta":{},"logprobs":null,"finish_reason":"stop","stop_reason":2}]})"
                     "\n\n" +
                     head + "]," + kUsage + "}\n\ndata: [DONE]\n\n");
}

TEST(ChunksTest, CompletionStreamCountsCharacters) {
  CommonParams params;
  params.sampling.n_logprobs = 0;
  params.output.return_token_ids = true;
  params.stream.continuous_usage_stats = true;
  ChunkWriter writer(ReplyKind::kCompletion, kHead, params);
  PromptOutput prompt{.token_ids = {1, 2}};
  std::string out;
  writer.append_roles(out, 1, nullptr);
  EXPECT_EQ(out, "");
  writer.attach_prompt(0, prompt);
  PositionText first = position(9, "\xC3\xA9", -1);
  TokenId id = 9;
  writer.append_delta(out, 0,
                      {.text = "\xC3\xA9", .logprobs = {&first, 1}, .token_ids = {&id, 1}, .running = &kCounts});
  EXPECT_THAT(out, HasSubstr("{\"index\":0,\"text\":\"\xC3\xA9\",\"logprobs\":{\"text_offset\":[0],"));
  EXPECT_THAT(out, HasSubstr(R"("finish_reason":null,"stop_reason":null,"token_ids":[9],"prompt_token_ids":[1,2]}],)" +
                             std::string(kUsage) + "}\n\n"));
  out.clear();
  writer.append_delta(out, 0, {.text = "\xC3\xA9", .logprobs = {&first, 1}, .token_ids = {&id, 1}});
  EXPECT_THAT(out, HasSubstr("\"text_offset\":[1]"));
  EXPECT_THAT(out, ::testing::Not(HasSubstr("prompt_token_ids")));
  out.clear();
  Timings timings;
  writer.append_finish(out, 0, {FinishKind::kLength, {}}, &timings);
  EXPECT_THAT(
      out,
      HasSubstr(R"("text":"","logprobs":null,"finish_reason":"length","stop_reason":null}],"timings":{"cache_n":0,)"));
}

TEST(OutputTest, ModelsAndIds) {
  ModelCard card{
      .id = "tiny", .root = "org/tiny", .created = 1, .max_model_len = 128, .vocab_type = "bpe", .n_vocab = 10};
  std::string body = models_reply({&card, 1});
  auto parsed = parse_json(body);
  ASSERT_TRUE(parsed.ok());
  EXPECT_THAT(body,
              HasSubstr(R"({"object":"list","data":[{"id":"tiny","object":"model","created":1,"owned_by":"millrace",)"
                        R"("root":"org/tiny","parent":null,"max_model_len":128,)"));
  EXPECT_EQ(make_reply_id("cmpl-", 1, 2), "cmpl-00000000000000010000000000000002");
}

TEST(OutputTest, TimingsFromTheFinishingEvent) {
  flow::TokenEvent event;
  event.n_prompt = 10;
  event.n_cached = 4;
  event.n_output = 3;
  event.times = {.arrival = 1, .first_scheduled = 1000000, .first_token = 3000000, .finished = 7000000};
  Timings t = timings_of(event);
  EXPECT_EQ(t.prompt_n, 6u);
  EXPECT_DOUBLE_EQ(t.prompt_ms, 2.0);
  EXPECT_DOUBLE_EQ(t.predicted_ms, 4.0);
}

TEST(JsonTextTest, Utf8IsRepairedByMaximalParts) {
  EXPECT_EQ(repair_utf8("a\xC3\xA9"), "a\xC3\xA9");
  EXPECT_EQ(repair_utf8("\xE2\x82"), "\xEF\xBF\xBD");
  EXPECT_EQ(repair_utf8("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_FALSE(is_utf8("\xC0\x80"));
  EXPECT_EQ(count_characters("a\xC3\xA9\xF0\x9F\x98\x80"), 3u);
}

}  // namespace
}  // namespace millrace::api
