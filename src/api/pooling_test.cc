// Parsers and replies of embedding and score routes: what inputs become, what is refused, what vectors and scores look
// like in each dialect.
#include "api/pooling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "api/pooling_format.h"
#include "tests/support/tiny_context.h"
#include "text/base64.h"

namespace millrace::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using support::json;
using support::kLimits;
using support::kNames;

ParseContext context(PoolingFacts facts = {.d_model = 4}) {
  return {.limits = kLimits, .served_names = kNames, .model = {.n_vocab = 1000, .max_len = 128, .pooling = facts}};
}

const CompletionRequest& completion(const DialectRequest& request) { return std::get<CompletionRequest>(request.body); }

// The reply when each prompt was read out as `pooled`.
Json reply_of(const DialectRequest& request, std::vector<std::vector<float>> pooled) {
  ReplyHead head{.id = "embd-1", .created = 7, .model = "tiny", .system_fingerprint = {}};
  std::vector<PromptOutput> prompts(pooled.size());
  for (size_t i = 0; i < pooled.size(); ++i) {
    prompts[i].pooled = std::move(pooled[i]);
    prompts[i].token_ids = {1, 2};
  }
  CommonParams params;
  return json(request.format->whole(
      {.head = head, .params = params, .prompts = prompts, .choices = {}, .usage = {.prompt_tokens = 5}}));
}

TEST(Pooling, InputsOfEveryForm) {
  struct Row {
    const char* input;
    size_t n;
  };
  for (const Row& row : {Row{R"("a")", 1}, Row{R"("")", 1}, Row{"[1,2,3]", 1}, Row{R"([1,"a",2])", 1},
                         Row{R"(["a","b"])", 2}, Row{"[[1],[2,3]]", 2}, Row{R"(["a",[1,2],[3,"b"]])", 3},
                         Row{R"({"prompt_string":"a"})", 1}, Row{R"({"content":[{"type":"text","text":"a"}]})", 1},
                         Row{R"(["a",{"content":[{"type":"text","text":"b"},{"type":"text","text":"c"}]}])", 2}}) {
    auto request = parse_embeddings(json(std::string(R"({"input":)") + row.input + "}"), context(), {});
    ASSERT_TRUE(request.ok()) << row.input << ": " << request.error().message;
    EXPECT_EQ(completion(*request).prompts.size(), row.n) << row.input;
    EXPECT_EQ(completion(*request).common.max_tokens, 0);
    EXPECT_EQ(completion(*request).common.sampling.pooling, flow::Pooling::kLast);
  }
  auto joined = parse_embeddings(
      json(R"({"input":{"content":[{"type":"text","text":"b"},{"type":"text","text":"c"}]}})"), context(), {});
  EXPECT_EQ(std::get<std::string>(completion(*joined).prompts[0]), "bc");
}

TEST(Pooling, RefusalsNameTheField) {
  struct Row {
    const char* body;
    ErrorCode code;
    const char* param;
  };
  for (const Row& row : {
           Row{"{}", ErrorCode::kMissingField, "input"},
           Row{R"({"input":[]})", ErrorCode::kEmptyPrompt, "input"},
           Row{R"({"input":true})", ErrorCode::kInvalidValue, "input"},
           Row{R"({"input":[[]]})", ErrorCode::kEmptyPrompt, "input[0]"},
           Row{R"({"input":["a",7.5]})", ErrorCode::kInvalidValue, "input[1]"},
           Row{R"({"input":[1000]})", ErrorCode::kTokenOutOfRange, "input[0]"},
           Row{R"({"input":[[1],[-1]]})", ErrorCode::kTokenOutOfRange, "input[1][0]"},
           Row{R"({"input":{"content":"a"}})", ErrorCode::kInvalidValue, "input.content"},
           Row{R"({"input":{"content":[{"type":"image_url"}]}})", ErrorCode::kUnsupportedParameter,
               "input.content[0].type"},
           Row{R"({"input":"a","dimensions":5})", ErrorCode::kInvalidValue, "dimensions"},
           Row{R"({"input":"a","dimensions":0})", ErrorCode::kInvalidValue, "dimensions"},
           Row{R"({"input":"a","encoding_format":1})", ErrorCode::kInvalidValue, "encoding_format"},
           Row{R"({"input":"a","embed_dtype":"fp8_e5m2"})", ErrorCode::kInvalidValue, "embed_dtype"},
           Row{R"({"input":"a","task":"token_embed"})", ErrorCode::kInvalidValue, "model"},
           Row{R"({"input":"a","model":"other"})", ErrorCode::kModelNotFound, "model"},
       }) {
    auto request = parse_embeddings(json(row.body), context(), {});
    ASSERT_FALSE(request.ok()) << row.body;
    EXPECT_EQ(request.error().code, row.code) << row.body << ": " << request.error().message;
    EXPECT_EQ(request.error().param, row.param) << row.body;
  }
  Json many = Json::array();
  for (int i = 0; i < 10'000; ++i) many.push_back("a");
  Json body = Json::object();
  body.set("input", std::move(many));
  EXPECT_EQ(parse_embeddings(body, context(), {}).error().code, ErrorCode::kTooManyPrompts);
  auto scorer = parse_embeddings(json(R"({"input":"a"})"), context({.n_scores = 1, .d_model = 4}), {});
  EXPECT_EQ(scorer.error().code, ErrorCode::kNotSupported);
}

TEST(Pooling, VectorsAreCutThenNormalised) {
  std::vector<float> vector = {3, 4, 12, 0};
  EXPECT_THAT(finished_embedding(vector, {.dimensions = 2}), ElementsAre(0.6f, 0.8f));
  EXPECT_THAT(finished_embedding(vector, {.dimensions = 2, .norm = 1}), ElementsAre(3.0f / 7, 4.0f / 7));
  EXPECT_THAT(finished_embedding(vector, {.norm = -1}), ElementsAre(3, 4, 12, 0));
  EXPECT_THAT(finished_embedding(vector, {.activation = false}), ElementsAre(3, 4, 12, 0));
  EXPECT_THAT(finished_embedding(vector, {.norm = 0}), ElementsAre(8190, 10920, 32760, 0));  // int16 range
  std::vector<float> cube = finished_embedding(vector, {.norm = 3});
  EXPECT_NEAR(cube[2], 12 / std::cbrt(27.0 + 64 + 1728), 1e-6);
  EXPECT_THAT(finished_embedding(std::vector<float>{0, 0}, {}), ElementsAre(0, 0));
}

TEST(Pooling, RepliesOfTheDialects) {
  std::vector<std::vector<float>> two = {{3, 4, 0, 0}, {0, 0, 0, 2}};
  auto request = parse_embeddings(json(R"({"input":["a","b"]})"), context(), {}).value();
  Json reply = reply_of(request, two);
  EXPECT_EQ(reply.find("object")->as_string(), "list");
  EXPECT_EQ(reply.find("usage")->dump(), R"({"prompt_tokens":5,"total_tokens":5})");
  EXPECT_EQ(reply.find("data")->as_array()[0].dump(), R"({"index":0,"object":"embedding","embedding":[0.6,0.8,0,0]})");

  request = parse_embeddings(json(R"({"input":"a","encoding_format":"base64"})"), context(), {}).value();
  std::string coded = reply_of(request, {{3, 4, 0, 0}}).find("data")->as_array()[0].find("embedding")->as_string();
  std::string bytes = text::decode_base64(coded).value();
  float first = 0;
  ASSERT_EQ(bytes.size(), 16u);
  std::memcpy(&first, bytes.data(), 4);
  EXPECT_EQ(first, 0.6f);

  request = parse_pooling(json(R"({"input":"a","task":"token_embed"})"), context(), {}).value();
  EXPECT_EQ(completion(request).common.sampling.pooling, flow::Pooling::kTokens);
  reply = reply_of(request, {{1, 2, 3, 4}});
  EXPECT_EQ(reply.find("data")->as_array()[0].dump(), R"({"index":0,"object":"pooling","data":[[1,2],[3,4]]})");

  request = parse_llama_embedding(json(R"({"content":["a","b"],"embd_normalize":-1})"), context(), {}).value();
  EXPECT_EQ(reply_of(request, two).dump(),
            R"([{"index":0,"embedding":[[3,4,0,0]]},{"index":1,"embedding":[[0,0,0,2]]}])");

  request = parse_ollama_embed(json(R"({"input":"a","truncate":true})"), context(), {}).value();
  EXPECT_EQ(completion(request).common.prompt.truncate_prompt_tokens, -1);
  EXPECT_EQ(reply_of(request, {{0, 2, 0, 0}}).find("embeddings")->dump(), "[[0,1,0,0]]");
  request = parse_ollama_embeddings(json(R"({"prompt":"a"})"), context(), {}).value();
  EXPECT_EQ(reply_of(request, {{0, 2, 0, 0}}).dump(), R"({"embedding":[0,2,0,0]})");
  EXPECT_EQ(parse_ollama_embeddings(json("{}"), context(), {})->instant, R"({"embedding":[]})");

  request = parse_cohere_embed(json(R"({"texts":["a"],"embedding_types":["float"]})"), context(), {}).value();
  reply = reply_of(request, {{0, 2, 0, 0}});
  EXPECT_EQ(reply.find("embeddings")->dump(), R"({"float":[[0,1,0,0]]})");
  EXPECT_EQ(reply.find("meta")->find("billed_units")->dump(), R"({"input_tokens":5})");

  request = parse_sglang_encode(json(R"({"text":["a","b"]})"), context(), {}).value();
  EXPECT_EQ(reply_of(request, two).as_array()[1].find("embedding")->dump(), "[0,0,0,1]");
  request = parse_sglang_encode(json(R"({"input_ids":[1,2]})"), context(), {}).value();
  EXPECT_EQ(reply_of(request, {{0, 0, 1, 0}}).find("meta_info")->find("prompt_tokens")->as_int(), 2);
}

TEST(Scoring, EmbeddingsScoreByTheirCosine) {
  auto request = parse_score(json(R"({"text_1":"q","text_2":["a","b"]})"), context(), {}).value();
  EXPECT_EQ(completion(request).prompts.size(), 3u);
  Json data = *reply_of(request, {{1, 0, 0, 0}, {3, 4, 0, 0}, {0, 0, 1, 0}}).find("data");
  EXPECT_EQ(data.dump(), R"([{"index":0,"object":"score","score":0.6},{"index":1,"object":"score","score":0.0}])");
  EXPECT_TRUE(parse_score(json(R"({"queries":["a","b"],"documents":["c","d"]})"), context(), {}).ok());
  auto unequal = parse_score(json(R"({"data_1":["a","b"],"data_2":["c","d","e"]})"), context(), {});
  EXPECT_EQ(unequal.error().param, "data_1");
  EXPECT_EQ(parse_score(json(R"({"text_1":"a"})"), context(), {}).error().code, ErrorCode::kMissingField);
  EXPECT_EQ(parse_score(json(R"({"text_1":"a","text_2":[]})"), context(), {}).error().code, ErrorCode::kEmptyPrompt);
}

TEST(Scoring, AHeadScoresPairsAndRerankSorts) {
  PoolingFacts facts{.pooling = flow::Pooling::kFirst, .generates = false, .n_scores = 1, .d_model = 4};
  auto request =
      parse_rerank(json(R"({"query":"q","documents":["a",{"text":"b"},"c"],"top_n":2})"), context(facts), {}).value();
  ASSERT_EQ(completion(request).prompts.size(), 3u);
  EXPECT_EQ(std::get<PromptPair>(completion(request).prompts[1]), (PromptPair{"q", "b"}));
  Json results = *reply_of(request, {{-2}, {0}, {2}}).find("results");
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results.as_array()[0].find("index")->as_int(), 2);
  EXPECT_EQ(results.as_array()[0].find("document")->find("text")->as_string(), "c");
  EXPECT_NEAR(results.as_array()[0].find("relevance_score")->as_double(), 1 / (1 + std::exp(-2.0)), 1e-9);
  EXPECT_EQ(results.as_array()[1].find("relevance_score")->as_double(), 0.5);

  request = parse_rerank(json(R"({"query":"q","texts":["a","b"],"raw_scores":true})"), context(facts), {}).value();
  EXPECT_EQ(reply_of(request, {{-2}, {3}}).dump(), R"([{"index":1,"score":3.0},{"index":0,"score":-2.0}])");

  for (const char* documents : {"[]", "null", "123", "[1,2,3]"}) {
    auto bad = parse_rerank(json(std::string(R"({"query":"q","documents":)") + documents + "}"), context(facts), {});
    EXPECT_FALSE(bad.ok()) << documents;
  }
  auto labels = parse_rerank(json(R"({"query":"q","documents":["a"]})"), context({.n_scores = 3}), {});
  EXPECT_EQ(labels.error().code, ErrorCode::kNotSupported);
  EXPECT_THAT(labels.error().message, HasSubstr("3 labels"));
}

}  // namespace
}  // namespace millrace::api
