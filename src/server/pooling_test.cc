// Embedding and score routes over real sockets with an echo instance, whose backend reads a prompt out as [number of
// tokens, sum of them, first, last].
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/support/server_fixture.h"

namespace millrace::server {
namespace {

using testing::HttpClient;
using testing::TestServer;

constexpr double kSum = 'a' + 'b';

TEST(PoolingRoutes, EmbeddingsOfTextsAndIds) {
  TestServer server;
  HttpClient client(server.port());
  Json reply = client.post("/v1/embeddings", R"({"input":["ab",[97,98],"zzz"],"use_activation":false})").json();
  const JsonArray& data = reply.get("data")->as_array();
  ASSERT_EQ(data.size(), 3u);
  EXPECT_EQ(data[0].get("embedding")->dump(), "[2,195,97,98]");
  EXPECT_EQ(data[1].get("embedding")->dump(), data[0].get("embedding")->dump());
  EXPECT_EQ(data[2].get("embedding")->dump(), "[3,366,122,122]");
  EXPECT_EQ(reply.get("usage")->get("prompt_tokens")->as_int(), 7);
  Json normal = client.post("/v1/embeddings", R"({"input":"ab"})").json();
  double norm = std::sqrt(4 + kSum * kSum + 97 * 97 + 98 * 98);
  EXPECT_NEAR(normal.get("data")->as_array()[0].get("embedding")->as_array()[1].as_double(), kSum / norm, 1e-6);
  Json chat =
      client.post("/v1/embeddings", R"({"messages":[{"role":"user","content":"ab"}],"normalize":false})").json();
  EXPECT_EQ(chat.get("data")->as_array()[0].get("embedding")->dump(), "[3,452,257,98]");  // <user> a b
}

// The echo reads out four values: [number of tokens, their sum, first, last].
TEST(PoolingRoutes, ClassesOfTexts) {
  testing::EchoOptions echo;
  echo.pooling = {.pooling = flow::Pooling::kFirst, .generates = false, .n_scores = 4, .d_model = 4};
  TestServer server({}, echo);
  HttpClient client(server.port());
  Json reply = client.post("/classify", R"({"input":["a","b"]})").json();
  const JsonArray& data = reply.get("data")->as_array();
  ASSERT_EQ(data.size(), 2u);
  EXPECT_EQ(data[1].get("label")->as_string(), "LABEL_1");  // of three equal values the first
  EXPECT_EQ(data[1].get("num_classes")->as_int(), 4);
  EXPECT_NEAR(data[1].get("probs")->as_array()[2].as_double(), 1.0 / 3, 1e-9);
  EXPECT_LT(data[1].get("probs")->as_array()[0].as_double(), 1e-9);
  Json raw = client.post("/classify", R"({"input":"a","use_activation":false})").json();
  EXPECT_EQ(raw.get("data")->as_array()[0].get("probs")->dump(), "[1.0,97.0,97.0,97.0]");
  EXPECT_EQ(client.post("/classify", "{}").status, 400);
  TestServer embeds;
  EXPECT_EQ(HttpClient(embeds.port()).post("/classify", R"({"input":"a"})").status, 501);
}

TEST(PoolingRoutes, EveryDialect) {
  TestServer server;
  HttpClient client(server.port());
  EXPECT_EQ(client.post("/embedding", R"({"content":"ab","embd_normalize":-1})").body,
            R"([{"index":0,"embedding":[[2,195,97,98]]}])");
  EXPECT_EQ(client.post("/embeddings", R"({"input":"ab","embd_normalize":-1})").status, 200);
  EXPECT_EQ(client.post("/pooling", R"({"input":"ab","task":"token_embed"})")
                .json()
                .get("data")
                ->as_array()[0]
                .get("data")
                ->dump(),
            "[[97,1,0,0],[98,1,0,0]]");
  EXPECT_EQ(client.post("/api/embed", R"({"model":"echo","input":["a","b"]})").json().get("embeddings")->size(), 2u);
  EXPECT_EQ(client.post("/api/embed", R"({"model":"echo","input":[]})").json().get("embeddings")->size(), 0u);
  EXPECT_EQ(client.post("/api/embeddings", R"({"model":"echo","prompt":"ab"})").body, R"({"embedding":[2,195,97,98]})");
  EXPECT_EQ(client.post("/v2/embed", R"({"texts":["a"]})").json().get("embeddings")->get("float")->size(), 1u);
  EXPECT_EQ(client.post("/encode", R"({"text":"ab"})").json().get("meta_info")->get("prompt_tokens")->as_int(), 2);
  for (const char* path : {"/score", "/v1/score"}) {
    Json reply = client.post(path, R"({"text_1":"ab","text_2":["ab","zz"]})").json();
    EXPECT_NEAR(reply.get("data")->as_array()[0].get("score")->as_double(), 1.0, 1e-9) << path;
    EXPECT_LT(reply.get("data")->as_array()[1].get("score")->as_double(), 1.0) << path;
  }
  for (const char* path : {"/rerank", "/v1/rerank", "/v2/rerank", "/reranking", "/v1/reranking"}) {
    Json reply = client.post(path, R"({"query":"ab","documents":["zz","ab"],"top_n":1})").json();
    ASSERT_EQ(reply.get("results")->size(), 1u) << path;
    EXPECT_EQ(reply.get("results")->as_array()[0].get("index")->as_int(), 1) << path;
  }
}

// The echo reads out [number of tokens, their sum, first, last].
TEST(PoolingRoutes, VectorsAsBytes) {
  TestServer server;
  HttpClient client(server.port());
  const std::string ask = R"({"input":["ab","c"],"use_activation":false,"encoding_format":)";
  auto reply = client.post("/v1/embeddings", ask + R"("bytes","embed_dtype":"bfloat16","endianness":"big"})");
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(reply.header("Content-Type"), "application/octet-stream");
  // 2, 195, 97, 98; 1, 99, 99, 99
  EXPECT_EQ(reply.body, std::string("\x40\x00\x43\x43\x42\xC2\x42\xC4\x3F\x80\x42\xC6\x42\xC6\x42\xC6", 16));
  Json metadata = parse_json(reply.header("metadata").value_or("")).value();
  EXPECT_EQ(metadata.get("data")->dump(),
            R"([{"index":0,"embed_dtype":"bfloat16","endianness":"big","start":0,"end":8,"shape":[4]},)"
            R"({"index":1,"embed_dtype":"bfloat16","endianness":"big","start":8,"end":16,"shape":[4]}])");
  EXPECT_EQ(metadata.get("usage")->get("prompt_tokens")->as_int(), 3);
  auto bare = client.post("/v1/embeddings", ask + R"("bytes_only"})");
  EXPECT_EQ(bare.body.size(), 32u);
  EXPECT_EQ(bare.body.substr(0, 4), std::string("\x00\x00\x00\x40", 4));
  EXPECT_FALSE(bare.header("metadata").has_value());
  auto tokens = client.post("/pooling", R"({"input":"ab","task":"token_embed","encoding_format":"bytes"})");
  EXPECT_EQ(tokens.body.size(), 32u);
  metadata = parse_json(tokens.header("metadata").value_or("")).value();
  EXPECT_EQ(metadata.get("data")->as_array()[0].get("shape")->dump(), "[2,4]");
  Json base64 = client.post("/v1/embeddings", ask + R"("base64","embed_dtype":"float16"})").json();
  EXPECT_EQ(base64.get("data")->as_array()[1].get("embedding")->as_string(), "ADwwVjBWMFY=");
  for (const char* path : {"/embedding", "/v2/embed"}) {
    auto refused =
        client.post(path, R"({"content":"a","texts":["a"],"encoding_format":"bytes","embedding_types":["bytes"]})");
    EXPECT_EQ(refused.status, 400) << path;
    EXPECT_THAT(refused.body, ::testing::HasSubstr("bytes are given by /v1/embeddings and /pooling")) << path;
  }
  for (const char* bad : {R"("embed_dtype":"fp8_e4m3")", R"("endianness":"middle")", R"("encoding_format":"hex")"}) {
    EXPECT_EQ(client.post("/v1/embeddings", R"({"input":"a",)" + std::string(bad) + "}").status, 400) << bad;
  }
}

TEST(PoolingRoutes, RefusalsAreOfTheirDialect) {
  TestServer server({}, {.max_len = 64});
  HttpClient client(server.port());
  std::string long_text(65, 'a');
  auto long_input = client.post("/v1/embeddings", R"({"input":")" + long_text + "\"}");
  EXPECT_EQ(long_input.status, 400);
  EXPECT_THAT(long_input.body, ::testing::HasSubstr("too large"));
  EXPECT_EQ(client.post("/v1/embeddings", R"({"input":")" + long_text + R"(","truncate_prompt_tokens":-1})").status,
            200);
  EXPECT_EQ(client.post("/api/embed", R"({"input":")" + long_text + "\"}").status, 200);  // Ollama cuts
  EXPECT_EQ(client.post("/v1/embeddings", R"({"input":")" + std::string(64, 'a') + "\"}").status, 200);
  EXPECT_EQ(client.post("/v1/embeddings", R"({"input":""})").status, 400);  // no token
  EXPECT_EQ(client.post("/v1/embeddings", R"({"input":["a",""]})").status, 400);
  EXPECT_EQ(client.post("/api/embed", R"({"model":"none","input":"a"})").json().get("error")->is_string(), true);
  EXPECT_EQ(client.post("/rerank", R"({"query":"a","documents":[1]})").status, 400);
  for (const char* path : {"/reranking", "/v1/reranking"}) {  // of llama-server: the code is the status
    Json reply = client.post(path, R"({"query":"","documents":[""]})").json();
    EXPECT_EQ(reply.get("error")->get("code")->as_int(), 400) << path;
  }
}

TEST(PoolingRoutes, AnEncoderGeneratesNothing) {
  testing::EchoOptions echo;
  echo.pooling = {.pooling = flow::Pooling::kMean, .generates = false, .d_model = 4};
  TestServer server({}, echo);
  HttpClient client(server.port());
  for (const char* path : {"/v1/completions", "/completion", "/api/generate"}) {
    auto reply = client.post(path, R"({"prompt":"a"})");
    EXPECT_EQ(reply.status, 501) << path;
    EXPECT_THAT(reply.body, ::testing::HasSubstr("/v1/embeddings")) << path;
  }
  EXPECT_EQ(client.post("/v1/embeddings", R"({"input":"a"})").status, 200);
}

// A cross-encoder's prompt is both texts; its score, here, how many tokens they are.
TEST(PoolingRoutes, AHeadReadsPairs) {
  testing::EchoOptions echo;
  echo.pooling = {.pooling = flow::Pooling::kFirst, .generates = false, .n_scores = 1, .d_model = 4};
  TestServer server({}, echo);
  HttpClient client(server.port());
  std::string ask = R"({"query":"ab","documents":["c","defg"],"use_activation":false)";
  Json reply = client.post("/rerank", ask + "}").json();
  const JsonArray& results = reply.get("results")->as_array();
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0].get("index")->as_int(), 1);
  EXPECT_EQ(results[0].get("relevance_score")->as_double(), 6);
  EXPECT_EQ(results[1].get("relevance_score")->as_double(), 3);
  EXPECT_EQ(reply.get("usage")->get("prompt_tokens")->as_int(), 9);
  Json cut = client.post("/rerank", ask + R"(,"truncate_prompt_tokens":4})").json();
  EXPECT_EQ(cut.get("results")->as_array()[0].get("relevance_score")->as_double(), 4);
  const std::string large(100'000, 'a');  // refused by its size, on either side
  for (const std::string& body :
       {R"({"query":")" + large + R"(","documents":["c"])", R"({"query":"c","documents":[")" + large + "\"]"}) {
    auto refused = client.post("/rerank", body + "}");
    EXPECT_EQ(refused.status, 400);
    EXPECT_THAT(refused.body, ::testing::HasSubstr("tokens or more (a text of 100000 bytes)"));
    EXPECT_EQ(client.post("/rerank", body + R"(,"truncate_prompt_tokens":4})").status, 200);
  }
  Json score = client.post("/score", R"({"text_1":"a","text_2":["b","cd"]})").json();
  EXPECT_NEAR(score.get("data")->as_array()[1].get("score")->as_double(), 1 / (1 + std::exp(-3.0)), 1e-9);
  EXPECT_EQ(client.post("/v1/embeddings", R"({"input":"a"})").status, 501);
}

// Many inputs at once: one client request, its reply written on a text worker.
TEST(PoolingRoutes, AThousandInputs) {
  TestServer server({}, {.pooling = {.pooling = flow::Pooling::kTokens, .d_model = 4}});
  HttpClient client(server.port());
  std::string body = R"({"input":[)";
  for (int i = 0; i < 1024; ++i) body += i == 0 ? R"("abc")" : R"(,"abc")";
  auto reply = client.post("/pooling", body + "]}");
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(reply.json().get("data")->size(), 1024u);
  EXPECT_EQ(reply.json().get("data")->as_array()[1023].get("data")->as_array()[2].dump(), "[99,1,0,0]");
  EXPECT_EQ(client.post("/pooling", body + R"(,"one more"]})").status, 400);
}

}  // namespace
}  // namespace millrace::server
