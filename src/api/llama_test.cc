// llama-server's native bodies and replies, as llama.cpp b11434 writes them (tools/server/server-task.cpp).
#include "api/llama.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "api/output.h"
#include "tests/support/tiny_context.h"

namespace millrace::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const ParseContext& kContext = support::kTinyContext;
using support::json;

CompletionRequest completion(std::string_view body) {
  auto parsed = parse_llama_completion(json(body), kContext, {});
  EXPECT_TRUE(parsed.ok()) << (parsed.ok() ? "" : parsed.error().message);
  return parsed.ok() ? std::get<CompletionRequest>(std::move(parsed->body)) : CompletionRequest{};
}

std::string refusal(std::string_view body) {
  auto parsed = parse_llama_completion(json(body), kContext, {});
  return parsed.ok() ? "accepted" : std::string(error_slug(parsed.error().code)) + ": " + parsed.error().message;
}

TEST(LlamaTest, DefaultsAreLlamaServers) {
  CompletionRequest r = completion(R"({"prompt":"x"})");
  EXPECT_FLOAT_EQ(r.common.sampling.temperature, 0.8f);
  EXPECT_EQ(r.common.sampling.top_k, 40);
  EXPECT_FLOAT_EQ(r.common.sampling.top_p, 0.95f);
  EXPECT_FLOAT_EQ(r.common.sampling.min_p, 0.05f);
  EXPECT_EQ(r.common.sampling.penalty_window, 64u);
  EXPECT_EQ(r.common.max_tokens, -1);
  EXPECT_TRUE(r.common.clamp_max_tokens);
  EXPECT_EQ(completion(R"({"prompt":"x","seed":-1})").common.seed, std::nullopt);
  EXPECT_EQ(completion(R"({"prompt":"x","seed":5})").common.seed, 5);
  EXPECT_EQ(completion(R"({"prompt":"x","repeat_last_n":-1})").common.sampling.penalty_window, uint32_t{INT32_MAX});
  EXPECT_FLOAT_EQ(
      completion(R"({"prompt":"x","repeat_last_n":0,"repeat_penalty":1.3})").common.sampling.repetition_penalty, 1.0f);
}

TEST(LlamaTest, PromptsOfEveryForm) {
  using Ids = std::vector<TokenId>;
  using Mixed = std::vector<PromptPart>;
  EXPECT_THAT(completion(R"({"prompt":"x"})").prompts, ElementsAre(PromptInput("x")));
  EXPECT_THAT(completion(R"({"prompt":[1,2]})").prompts, ElementsAre(PromptInput(Ids{1, 2})));
  EXPECT_THAT(completion(R"({"prompt":["a","b"]})").prompts, ElementsAre(PromptInput("a"), PromptInput("b")));
  EXPECT_THAT(completion(R"({"prompt":[[1],"b"]})").prompts, ElementsAre(PromptInput(Ids{1}), PromptInput("b")));
  EXPECT_THAT(completion(R"({"prompt":[1,"b",2]})").prompts,
              ElementsAre(PromptInput(Mixed{TokenId{1}, "b", TokenId{2}})));
  EXPECT_THAT(completion(R"({"prompt":{"prompt_string":"a"}})").prompts, ElementsAre(PromptInput("a")));
  EXPECT_THAT(completion(R"({"prompt":[[1],{"prompt_string":"a"}]})").prompts,
              ElementsAre(PromptInput(Ids{1}), PromptInput("a")));
  EXPECT_THAT(refusal("{}"), HasSubstr("missing_field: prompt is required"));
  EXPECT_THAT(refusal(R"({"prompt":""})"), HasSubstr("empty_prompt"));
  EXPECT_THAT(refusal(R"({"prompt":[]})"), HasSubstr("empty_prompt"));
  EXPECT_THAT(refusal(R"({"prompt":[1,"b",2000]})"), HasSubstr("token_out_of_range: prompt[2]"));
  EXPECT_THAT(refusal(R"({"prompt":{"prompt_string":5}})"), HasSubstr("prompt.prompt_string must be a string"));
  EXPECT_THAT(refusal(R"({"prompt":{"prompt_string":"a","multimodal_data":["x"]}})"),
              HasSubstr("unsupported_parameter: prompt.multimodal_data"));
  EXPECT_THAT(refusal(R"({"prompt":"x","mirostat":3})"), HasSubstr("mirostat must be an integer in 0..2"));
  EXPECT_THAT(refusal(R"({"prompt":"x","samplers":["mirostat"]})"), HasSubstr("samplers must be an array of names"));
  EXPECT_THAT(refusal(R"({"prompt":"x","temperature":101})"), HasSubstr("temperature must be a number in 0..100"));
  EXPECT_THAT(refusal(R"({"prompt":"x","response_fields":[1]})"),
              HasSubstr("response_fields must be an array of strings"));
}

ChoiceOutput answer() {
  ChoiceOutput choice;
  choice.text = "a\nb";
  choice.token_ids = {5, 6};
  choice.finish.reason = std::string("STOP");
  choice.timings = {.cache_n = 1, .prompt_n = 2, .prompt_ms = 4, .predicted_n = 2, .predicted_ms = 10};
  choice.logprobs.push_back({.chosen = {.id = 5, .bytes = "a", .text = "a", .logprob = -0.5f, .rank = 1},
                             .top = {{.id = 5, .bytes = "a", .text = "a", .logprob = -0.5f, .rank = 1}}});
  return choice;
}

std::string whole(std::string_view body, std::vector<ChoiceOutput> choices) {
  auto parsed = parse_llama_completion(json(body), kContext, {});
  EXPECT_TRUE(parsed.ok()) << (parsed.ok() ? "" : parsed.error().message);
  const auto& request = std::get<CompletionRequest>(parsed->body);
  ReplyHead head{.id = "cmpl-1", .created = 1, .model = "tiny", .system_fingerprint = ""};
  std::vector<PromptOutput> prompts(request.prompts.size());
  for (PromptOutput& prompt : prompts) prompt = {.text = "x", .token_ids = {1, 2, 3}, .logprobs = {}};
  return parsed->format->whole(
      {.head = head, .params = request.common, .prompts = prompts, .choices = choices, .usage = {}});
}

TEST(LlamaTest, WholeReply) {
  Json reply =
      json(whole(R"({"prompt":"x","n_predict":8,"n_probs":1,"return_tokens":true,"ignore_eos":true})", {answer()}));
  EXPECT_EQ(reply.get("content")->as_string(), "a\nb");
  EXPECT_EQ(reply.get("tokens")->dump(), "[5,6]");
  EXPECT_EQ(reply.get("stop_type")->as_string(), "word");
  EXPECT_EQ(reply.get("stopping_word")->as_string(), "STOP");
  EXPECT_TRUE(reply.get("has_new_line")->as_bool() && reply.get("stop")->as_bool());
  EXPECT_FALSE(reply.get("truncated")->as_bool());
  EXPECT_EQ(reply.get("tokens_evaluated")->as_int(), 3);
  EXPECT_EQ(reply.get("tokens_predicted")->as_int(), 2);
  EXPECT_EQ(reply.get("timings")->get("cache_n")->as_int(), 1);
  const Json& settings = *reply.get("generation_settings");
  EXPECT_EQ(settings.get("n_predict")->as_int(), 8);
  EXPECT_EQ(settings.find("logit_bias")->dump(), R"([{"bias":null,"token":7}])");
  EXPECT_EQ(reply.get("completion_probabilities")->dump(),
            R"([{"id":5,"token":"a","bytes":[97],"logprob":-0.5,"top_logprobs":[{"id":5,"token":"a","bytes":[97],)"
            R"("logprob":-0.5}]}])");
}

// llama-server's names for probabilities of what was drawn from.
TEST(LlamaTest, PostSamplingProbabilities) {
  ChoiceOutput choice = answer();
  choice.logprobs[0].chosen.logprob = choice.logprobs[0].top[0].logprob = 0.0f;
  Json reply = json(whole(R"({"prompt":"x","n_probs":1,"post_sampling_probs":true})", {choice}));
  EXPECT_EQ(reply.get("completion_probabilities")->dump(),
            R"([{"id":5,"token":"a","bytes":[97],"prob":1.0,"top_probs":[{"id":5,"token":"a","bytes":[97],)"
            R"("prob":1.0}]}])");
  EXPECT_TRUE(reply.get("generation_settings")->get("post_sampling_probs")->as_bool());
}

TEST(LlamaTest, WholeReplyOfManyAndOfChosenFields) {
  ChoiceOutput second = answer();
  second.index = 1;
  second.prompt_index = 1;
  Json many = json(whole(R"({"prompt":["x","y"]})", {answer(), second}));
  ASSERT_TRUE(many.is_array());
  EXPECT_EQ(many.as_array()[1].get("index")->as_int(), 1);
  EXPECT_TRUE(json(whole(R"({"prompt":["x"]})", {answer()})).is_object());
  EXPECT_EQ(whole(R"({"prompt":"x","n_predict":8,"response_fields":["content","generation_settings/n_predict","no"]})",
                  {answer()}),
            R"({"content":"a\nb","generation_settings/n_predict":8})");
}

TEST(LlamaTest, Stream) {
  auto parsed = parse_llama_completion(json(R"({"prompt":"x","stream":true,"n_probs":1})"), kContext, {});
  const auto& request = std::get<CompletionRequest>(parsed->body);
  ReplyHead head{.id = "cmpl-1", .created = 1, .model = "tiny", .system_fingerprint = ""};
  std::vector<PromptOutput> prompts = {{.text = "x", .token_ids = {1, 2, 3}, .logprobs = {}}};
  StreamView view{.head = head, .params = request.common, .prompts = prompts, .n_choices = 1, .usage = {}};
  ChoiceOutput choice = answer();
  Timings timings = choice.timings;
  std::string out;
  parsed->format->begin(out, view);
  EXPECT_EQ(out, "");
  parsed->format->piece(out, view,
                        {.choice = 0,
                         .text = "a\n",
                         .logprobs = choice.logprobs,
                         .token_ids = choice.token_ids,
                         .n_output = 1,
                         .finish = nullptr,
                         .timings = &timings});
  EXPECT_EQ(out.substr(0, out.find("\n\n")),
            R"(data: {"index":0,"content":"a\n","tokens":[5,6],"stop":false,"id_slot":-1,"tokens_predicted":1,)"
            R"("tokens_evaluated":3,"completion_probabilities":[{"id":5,"token":"a","bytes":[97],"logprob":-0.5,)"
            R"("top_logprobs":[{"id":5,"token":"a","bytes":[97],"logprob":-0.5}]}]})");
  out.clear();
  Finish limit{.kind = FinishKind::kLength, .reason = {}};
  timings.predicted_n = 61;  // to the end of the context
  parsed->format->piece(out, view, {.choice = 0, .finish = &limit, .timings = &timings});
  parsed->format->end(out, view);
  Json last = json(out.substr(6));
  EXPECT_EQ(last.get("content")->as_string(), "");
  EXPECT_EQ(last.get("stop_type")->as_string(), "limit");
  EXPECT_TRUE(last.get("stop")->as_bool() && last.get("truncated")->as_bool() && last.get("has_new_line")->as_bool());
  EXPECT_EQ(last.find("completion_probabilities"), nullptr);
  out.clear();
  parsed->format->fail(out, {Error{ErrorCode::kDraining, "going", ""}});
  EXPECT_THAT(out, HasSubstr(R"("type":"unavailable_error")"));
}

TEST(LlamaTest, InfillNeedsTheTokensOfTheModel) {
  auto infill = [](std::string_view body) {
    auto parsed = parse_llama_infill(json(body), kContext, {});
    return parsed.ok() ? "accepted" : std::string(error_slug(parsed.error().code)) + ": " + parsed.error().message;
  };
  EXPECT_THAT(infill(R"({"input_prefix":"a","input_suffix":"b"})"), HasSubstr("not_supported"));
  EXPECT_THAT(infill(R"({"input_suffix":"b"})"), HasSubstr("missing_field: input_prefix"));
  for (const char* extra :
       {"{}", R"({"filename":"ok"})", R"({"filename":1,"text":"a"})", R"({"filename":"a","text":4})"}) {
    EXPECT_THAT(infill(R"({"input_prefix":"a","input_suffix":"b","input_extra":[)" + std::string(extra) + "]}"),
                HasSubstr("invalid_value: input_extra[0]"));
  }
}

}  // namespace
}  // namespace millrace::api
