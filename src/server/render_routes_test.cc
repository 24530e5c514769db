// The ids of render are those that the engine is given for the same body: what return_token_ids reports.
#include <gtest/gtest.h>

#include "tests/support/server_fixture.h"

namespace millrace::server {
namespace {

using testing::HttpClient;
using testing::TestServer;

TEST(Render, ChatIsOneObjectWithTheIdsThatArePrefilled) {
  TestServer server;
  HttpClient client(server.port());
  const std::string body = R"("messages":[{"role":"user","content":"hello there"}],"temperature":0.25,"max_tokens":3)";
  Json rendered = client.post("/v1/chat/completions/render", "{" + body + R"(,"seed":7,"cache_salt":"s"})").json();
  Json answer = client.post("/v1/chat/completions", "{" + body + R"(,"return_token_ids":true})").json();
  ASSERT_NE(rendered.find("token_ids"), nullptr) << rendered.dump();
  EXPECT_GT(rendered.find("token_ids")->size(), 1u);
  EXPECT_EQ(*rendered.find("token_ids"), *answer.find("prompt_token_ids"));
  const Json& sampling = *rendered.find("sampling_params");
  EXPECT_EQ(*sampling.find("temperature"), Json(0.25));
  EXPECT_EQ(*sampling.find("max_tokens"), Json(3));
  EXPECT_EQ(*sampling.find("seed"), Json(7));
  EXPECT_EQ(*rendered.find("cache_salt"), Json("s"));
  EXPECT_EQ(*rendered.find("model"), Json("echo"));
  EXPECT_TRUE(rendered.find("features")->is_null());
}

TEST(Render, CompletionsAreAnArrayByPrompt) {
  TestServer server;
  HttpClient client(server.port());
  const std::string body = R"("prompt":["hello","hello there"],"max_tokens":1)";
  Json rendered = client.post("/v1/completions/render", "{" + body + "}").json();
  Json answer = client.post("/v1/completions", "{" + body + R"(,"return_token_ids":true})").json();
  ASSERT_TRUE(rendered.is_array()) << rendered.dump();
  ASSERT_EQ(rendered.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const Json& choice = answer.find("choices")->as_array()[i];
    EXPECT_EQ(*rendered.as_array()[i].find("token_ids"), *choice.find("prompt_token_ids"));
  }
}

TEST(Render, RefusesWhatTheRouteRefuses) {
  TestServer server;
  HttpClient client(server.port());
  EXPECT_EQ(client.post("/v1/chat/completions/render", R"({"messages":[]})").status, 400);
  EXPECT_EQ(client.post("/v1/completions/render", R"({"prompt":"a","temperature":"hot"})").status, 400);
  auto offsets = client.post("/v1/completions/render", R"({"prompt":"a","return_token_offsets":true})");
  EXPECT_EQ(offsets.status, 400);
  EXPECT_EQ(*offsets.json().find("error")->find("param"), Json("return_token_offsets"));
}

}  // namespace
}  // namespace millrace::server
