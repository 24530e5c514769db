// A server with several echo models over real sockets: choosing, loading, waiting, unloading, listing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "server/model_choice.h"
#include "tests/support/echo_models.h"
#include "tests/support/server_fixture.h"

namespace millrace::server {
namespace {

using testing::EchoModels;
using testing::eventually;
using ::testing::HasSubstr;
using testing::HttpClient;
using ::testing::Not;
using testing::TestServer;

SeveralModels two_of(EchoModels& world, std::vector<std::string> at_start = {}) {
  SeveralModels out{.source = world.source(), .options = {}, .at_start = std::move(at_start)};
  out.options.budget_bytes = 20'000;
  out.options.most_loaded = 2;
  out.options.room_wait = 20 * kMillisecond;
  return out;
}

ServerOptions ollama() {
  ServerOptions options;
  options.compat = api::Compat::kOllama;
  return options;
}

std::string completion(const std::string& model, const std::string& prompt, const std::string& more = "") {
  return R"({"prompt":")" + prompt + R"(","model":")" + model + R"(","max_tokens":400)" + more + "}";
}

std::string text_of(const testing::ClientReply& reply) {
  const Json body = reply.json();
  if (reply.status != 200) return reply.body;
  return body.find("choices")->as_array()[0].find("text")->as_string();
}

std::string state_of(TestServer& server, const std::string& name) {
  HttpClient client(server.port());
  Json body = client.get("/models").json();
  for (const Json& card : body.find("data")->as_array()) {
    if (card.find("id")->as_string() == name) return card.find("status")->find("value")->as_string();
  }
  return "absent";
}

TEST(Models, RequestsChooseTheirModel) {
  EchoModels world;
  TestServer server({}, two_of(world));
  HttpClient client(server.port());
  EXPECT_EQ(client.get("/health").status, 200);
  EXPECT_EQ(state_of(server, "a"), "unloaded");
  auto reply = client.post("/v1/completions", completion("a", "hello"));
  EXPECT_EQ(text_of(reply), "hello");
  EXPECT_EQ(reply.json().find("model")->as_string(), "a");
  EXPECT_EQ(text_of(client.post("/v1/completions", completion("b:latest", "world"))), "world");
  EXPECT_EQ(state_of(server, "a"), "loaded");
  EXPECT_EQ(state_of(server, "b"), "loaded");
  EXPECT_EQ(text_of(client.post("/v1/completions", completion("c", "third"))), "third");
  EXPECT_EQ(state_of(server, "a"), "unloaded");
  EXPECT_EQ(client.post("/v1/completions", completion("nobody", "x")).status, 404);
  EXPECT_EQ(client.post("/v1/completions", R"({"prompt":"the last one"})").json().find("model")->as_string(), "c");
}

TEST(Models, NamesInBodiesPathsAndQueries) {
  EchoModels world;
  TestServer server({}, two_of(world, {"a"}));
  HttpClient client(server.port());
  EXPECT_EQ(state_of(server, "a"), "loaded");
  EXPECT_EQ(client.post("/tokenize", R"({"content":"hi","model":"b"})").json().find("tokens")->size(), 2u);
  EXPECT_EQ(state_of(server, "b"), "loaded");
  EXPECT_EQ(client.post("/v2/models/a/generate", R"({"text_input":"hi"})").json().find("model_name")->as_string(), "a");
  EXPECT_EQ(client.get("/props?model=b").json().find("model_alias")->as_string(), "b");
  EXPECT_EQ(client.get("/props").json().find("role")->as_string(), "router");
  EXPECT_EQ(client.get("/props?model=c").status, 400);
  EXPECT_EQ(client.get("/v1/models/c").json().find("id")->as_string(), "c");
  EXPECT_EQ(client.get("/v1/models/nobody").status, 404);
}

TEST(Models, LoadAndUnloadRoutes) {
  EchoModels world;
  TestServer server({}, two_of(world));
  HttpClient client(server.port());
  EXPECT_EQ(client.post("/models/load", R"({"model":"a"})").body, R"({"success":true})");
  EXPECT_TRUE(eventually([&] { return state_of(server, "a") == "loaded"; }));
  EXPECT_EQ(client.post("/models/load", R"({"model":"a"})").status, 400);
  EXPECT_EQ(client.post("/models/unload", R"({"model":"a"})").body, R"({"success":true})");
  EXPECT_TRUE(eventually([&] { return state_of(server, "a") == "unloaded"; }));
  EXPECT_EQ(client.post("/models/unload", R"({"model":"a"})").status, 400);
  EXPECT_EQ(client.post("/models/unload", R"({"model":"nobody"})").status, 404);
  EXPECT_EQ(client.post("/models/load", R"({})").status, 400);
  EXPECT_EQ(client.post("/models/load", R"([1])").status, 400);
  TestServer one;
  EXPECT_EQ(HttpClient(one.port()).post("/models/load", R"({"model":"a"})").status, 501);
}

// Both streams belong to the first session of their instance: their keys are the same.
TEST(Models, AnUnloadCutsNoStream) {
  EchoModels world;
  world.step_us = 2000;
  TestServer server({}, two_of(world, {"a", "b"}));
  std::string prompt(60, 'x');
  prompt += "end";
  HttpClient alone(server.port());
  std::string want = text_of(alone.post("/v1/completions", completion("a", prompt)));
  EXPECT_EQ(want, prompt);
  std::string got_a;
  std::string got_b;
  auto stream = [&](const char* name, std::string& got) {
    HttpClient client(server.port());
    auto reply = client.post("/v1/completions", completion(name, prompt, R"(,"stream":true)"));
    for (const Json& event : testing::stream_events(reply.body)) {
      const Json* choices = event.get("choices");
      if (choices != nullptr && choices->size() > 0) got += choices->as_array()[0].find("text")->as_string();
    }
  };
  std::thread one([&] { stream("a", got_a); });
  std::thread two([&] { stream("b", got_b); });
  ASSERT_TRUE(eventually([&] { return server.context().n_generations.load() == 2; }));
  EXPECT_EQ(alone.post("/models/unload", R"({"model":"a"})").status, 200);
  one.join();
  two.join();
  EXPECT_EQ(got_a, want);
  EXPECT_EQ(got_b, want);
  EXPECT_TRUE(eventually([&] { return state_of(server, "a") == "unloaded"; }));
  EXPECT_EQ(state_of(server, "b"), "loaded");
}

TEST(Models, RequestsWaitForTheirModelAndOthersDoNot) {
  EchoModels world;
  TestServer server({}, two_of(world, {"a"}));
  world.hold_loads = true;
  std::string late;
  std::thread waiter([&] {
    HttpClient client(server.port());
    late = text_of(client.post("/v1/completions", completion("b", "late")));
  });
  EXPECT_TRUE(eventually([&] { return state_of(server, "b") == "loading"; }));
  HttpClient client(server.port());
  EXPECT_EQ(text_of(client.post("/v1/completions", completion("a", "meanwhile"))), "meanwhile");
  auto refused = client.post("/v1/completions", completion("b", "x"), "X-Request-Timeout-Ms: 20\r\n");
  EXPECT_EQ(refused.status, 504);
  world.hold_loads = false;
  waiter.join();
  EXPECT_EQ(late, "late");
}

TEST(Models, AClientThatLeavesEndsTheLoad) {
  EchoModels world;
  TestServer server({}, two_of(world));
  world.hold_loads = true;
  {
    HttpClient client(server.port());
    std::string body = completion("b", "x");
    client.send("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n" + body);
    ASSERT_TRUE(eventually([&] { return state_of(server, "b") == "loading"; }));
  }
  EXPECT_TRUE(eventually([&] { return state_of(server, "b") == "unloaded"; }));
  EXPECT_EQ(world.n_loads.load(), 0);
}

TEST(Models, WhatDoesNotFitIsRefusedWithSizes) {
  EchoModels world;
  TestServer server({}, two_of(world));
  HttpClient client(server.port());
  auto reply = client.post("/v1/completions", completion("big", "x"));
  EXPECT_EQ(reply.status, 503);
  EXPECT_THAT(reply.body, HasSubstr("no room for model"));
  EXPECT_TRUE(reply.header("Retry-After").has_value());
  world.fail_loads = true;
  EXPECT_EQ(client.post("/v1/completions", completion("a", "x")).status, 500);
  EXPECT_THAT(client.get("/models").body, HasSubstr(R"("failed":true)"));
}

TEST(Models, NumbersOfEachModel) {
  EchoModels world;
  TestServer server({}, two_of(world));
  HttpClient client(server.port());
  client.post("/v1/completions", completion("a", "hello"));
  client.post("/v1/completions", completion("b", "hi"));
  client.post("/v1/completions", completion("c", "unseen"));  // "a" goes, and nobody has scraped its numbers
  ASSERT_EQ(state_of(server, "a"), "unloaded");
  std::string text = client.get("/metrics").body;
  EXPECT_THAT(text, HasSubstr(R"(vllm:generation_tokens_total{engine="0",model_name="a"} 6)"));
  EXPECT_THAT(text, HasSubstr(R"(vllm:generation_tokens_total{engine="0",model_name="b"} 3)"));
  EXPECT_EQ(text.find("# TYPE vllm:generation_tokens_total"), text.rfind("# TYPE vllm:generation_tokens_total"));
  client.post("/v1/completions", completion("a", "hello"));
  ASSERT_TRUE(eventually([&] {
    return client.get("/metrics").body.find(R"(vllm:generation_tokens_total{engine="0",model_name="a"} 12)") !=
           std::string::npos;
  }));
}

TEST(Models, OllamaLoadsListsAndUnloads) {
  EchoModels world;
  TestServer server(ollama(), two_of(world));
  HttpClient client(server.port());
  EXPECT_EQ(client.get("/api/tags").json().find("models")->size(), 8u);
  EXPECT_EQ(client.get("/api/ps").json().find("models")->size(), 0u);
  auto loaded = client.post("/api/generate", R"({"model":"a"})");
  EXPECT_THAT(loaded.body, HasSubstr(R"("done_reason":"load")"));
  EXPECT_EQ(client.get("/api/ps").json().find("models")->size(), 1u);
  auto said =
      client.post("/api/generate", R"({"model":"a","prompt":"hey","raw":true,"stream":false,"keep_alive":"5m"})");
  EXPECT_EQ(said.json().find("response")->as_string(), "hey") << said.body;
  EXPECT_THAT(client.get("/api/ps").body, Not(HasSubstr("9999-")));
  auto gone = client.post("/api/generate", R"({"model":"a","keep_alive":0})");
  EXPECT_THAT(gone.body, HasSubstr(R"("done_reason":"unload")"));
  EXPECT_TRUE(eventually([&] { return client.get("/api/ps").json().find("models")->size() == 0; }));
  EXPECT_EQ(client.post("/api/chat", R"({"model":"nobody","messages":[]})").status, 404);
}

TEST(Models, OllamaSpeaksOfAModelWithoutLoadingIt) {
  EchoModels world;
  TestServer server(ollama(), two_of(world));
  HttpClient client(server.port());
  Json shown = client.post("/api/show", R"({"model":"a:latest"})").json();
  EXPECT_EQ(shown.find("details")->find("family")->as_string(), "echo-head");
  EXPECT_EQ(shown.find("capabilities")->as_array()[0].as_string(), "completion");
  EXPECT_EQ(client.post("/api/show", R"({"model":"nobody"})").status, 404);
  EXPECT_EQ(client.post("/api/show", R"({"model":7})").status, 400);
  EXPECT_EQ(client.post("/api/show", R"({})").status, 400);
  EXPECT_EQ(client.post("/api/show", R"({"model":"f"})").status, 500);
  for (const char* body : {R"({"model":"a","keep_alive":0})", R"({"model":"a","prompt":"","keep_alive":"0"})"}) {
    EXPECT_THAT(client.post("/api/generate", body).body, HasSubstr(R"("done_reason":"unload")"));
  }
  EXPECT_THAT(client.post("/api/chat", R"({"model":"a","messages":[],"keep_alive":0})").body,
              HasSubstr(R"("done_reason":"unload")"));
  EXPECT_EQ(client.post("/api/generate", R"({"model":"nobody","keep_alive":0})").status, 404);
  EXPECT_EQ(world.n_loads.load(), 0);
}

TEST(Models, LoadingByHandNeedsAnAdminKey) {
  EchoModels world;
  ServerOptions options;
  options.api_keys = {"user"};
  options.admin_keys = {"admin"};
  TestServer server(options, two_of(world));
  for (const char* path : {"/models/load", "/models/unload"}) {  // a refused body ends its connection
    EXPECT_EQ(HttpClient(server.port()).post(path, R"({"model":"a"})").status, 401) << path;
    HttpClient user(server.port());
    EXPECT_EQ(user.post(path, R"({"model":"a"})", "Authorization: Bearer user\r\n").status, 403) << path;
  }
  HttpClient client(server.port());
  EXPECT_EQ(client.post("/models/load", R"({"model":"a"})", "Authorization: Bearer admin\r\n").status, 200);
  EXPECT_EQ(text_of(client.post("/v1/completions", completion("a", "hi"), "Authorization: Bearer user\r\n")), "hi");
}

// KServe: 200 when inference would be answered at once, 4xx when the model is not loaded.
TEST(Models, KserveIsReadyWhileTheModelIsLoaded) {
  EchoModels world;
  TestServer server({}, two_of(world, {"a"}));
  HttpClient client(server.port());
  EXPECT_EQ(client.get("/v2/models/a/ready").json().find("ready")->as_bool(), true);
  auto not_ready = client.get("/v2/models/b/ready");
  EXPECT_EQ(not_ready.status, 422);
  EXPECT_THAT(not_ready.body, HasSubstr("is not loaded"));
  EXPECT_EQ(client.get("/v2/models/nobody/ready").status, 404);
  EXPECT_EQ(world.n_loads.load(), 1);
}

TEST(Models, ATokenQuotaOutlivesTheModel) {
  EchoModels world;
  world.tenants = std::make_shared<instance::TenantTable>(
      std::vector<instance::TenantRule>{{.name = "key-1", .tokens_per_minute = 30}});
  ServerOptions options;
  options.api_keys = {"user"};
  options.admin_keys = {"admin"};
  TestServer server(options, two_of(world));
  HttpClient client(server.port());
  const char* user = "Authorization: Bearer user\r\n";
  EXPECT_EQ(client.post("/v1/completions", completion("a", std::string(40, 'x')), user).status, 200);
  EXPECT_EQ(client.post("/v1/completions", completion("b", "hi"), user).status, 429);
  client.post("/models/unload", R"({"model":"a"})", "Authorization: Bearer admin\r\n");
  EXPECT_TRUE(eventually([&] { return world.alive_bytes.load() <= 10'000; }));
  EXPECT_EQ(client.post("/v1/completions", completion("a", "hi"), user).status, 429);
}

TEST(Models, FindsAMemberWithoutParsing) {
  EXPECT_EQ(find_member(R"({"model":"m"})", "model"), R"("m")");
  EXPECT_EQ(find_member(R"( { "a" : [1,{"model":"x"}], "b":"\"model\":", "model" : "y" , "c":1})", "model"), R"("y")");
  EXPECT_EQ(find_member(R"({"a":{"model":"x"}})", "model"), "");
  EXPECT_EQ(find_member(R"({"a":-1.5e3,"b":null,"keep_alive":0})", "keep_alive"), "0");
  for (const char* broken : {"", "[", "{", R"({"a)", R"({"a":)", R"({"a":[)", R"({"a" 1,"model":"x"})",
                             R"({"a":1 "model":"x"})", R"([{"model":"x"}])", R"({"model":"x)"}) {
    EXPECT_EQ(find_member(broken, "model"), "") << broken;
  }
}

TEST(Models, KeepAliveIsSecondsOrADuration) {
  EXPECT_EQ(parse_keep_alive("0"), 0);
  EXPECT_EQ(parse_keep_alive("90"), 90 * kSecond);
  EXPECT_EQ(parse_keep_alive(R"("5m")"), 300 * kSecond);
  EXPECT_EQ(parse_keep_alive(R"("1h30m")"), 5400 * kSecond);
  EXPECT_EQ(parse_keep_alive(R"("250ms")"), 250 * kMillisecond);
  EXPECT_EQ(parse_keep_alive("-1"), instance::kForever);
  EXPECT_EQ(parse_keep_alive(R"("-1")"), instance::kForever);
  for (const char* bad : {"", "[]", R"("")", R"("soon")", R"("nan")", "true"}) {
    EXPECT_EQ(parse_keep_alive(bad), std::nullopt) << bad;
  }
}

TEST(Models, NamesInAQuery) {
  EXPECT_EQ(query_value("a=1&model=x%2Fy+z&b", "model"), "x/y z");
  EXPECT_EQ(query_value("models=1&mode=2", "model"), "");
  EXPECT_EQ(query_value("model=%zz", "model"), "%zz");
}

}  // namespace
}  // namespace millrace::server
