// Who is served when many ask: tenants by key and by a gateway's word, quotas of tokens per minute, and deadlines that
// cannot be met, over HTTP.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/support/server_fixture.h"

namespace millrace::server {
namespace {

using testing::ClientReply;
using testing::EchoOptions;
using testing::eventually;
using testing::HttpClient;
using testing::TestServer;

constexpr const char* kLarge = "Authorization: Bearer large\r\n";
constexpr const char* kSmall = "Authorization: Bearer small\r\n";
constexpr const char* kGateway = "Authorization: Bearer gateway\r\n";

ServerOptions with_keys() {
  ServerOptions options;
  options.api_keys = {"large", "small", "gateway"};
  options.n_gateway_keys = 1;
  return options;
}

std::string body(size_t n_prompt, int max_tokens, const std::string& more = "") {
  return R"({"prompt":")" + std::string(n_prompt, 'a') + R"(","ignore_eos":true,"max_tokens":)" +
         std::to_string(max_tokens) + more + "}";
}

std::string code_of(const ClientReply& reply) { return reply.json().find("error")->find("code")->as_string(); }

int64_t number_in(const ClientReply& reply, std::string_view header) {
  return parse_json(*reply.header(header)).value().as_int();
}

// `n` requests of the large tenant that wait or run.
std::vector<std::unique_ptr<HttpClient>> flood(TestServer& server, int n, const std::string& text) {
  std::vector<std::unique_ptr<HttpClient>> clients;
  uint64_t before = server.instance().engine().stats().n_requests;
  for (int i = 0; i < n; ++i) {
    clients.push_back(std::make_unique<HttpClient>(server.port()));
    clients.back()->send(HttpClient::post_bytes("/v1/completions", text, kLarge));
  }
  auto all_in = [&] { return server.instance().engine().stats().n_requests == before + static_cast<uint64_t>(n); };
  EXPECT_TRUE(eventually(all_in));
  return clients;
}

TEST(ServerTenants, AFloodOfOneIsNotBeforeTheOther) {
  TestServer server(with_keys(), {.max_live = 1, .order = sched::OrderKind::kDlpm});
  server.backend().hold();
  auto clients = flood(server, 40, body(40, 30));
  HttpClient small(server.port());
  small.send(HttpClient::post_bytes("/v1/completions", body(40, 5), kSmall));
  ASSERT_TRUE(eventually([&] { return server.instance().engine().stats().n_requests == 41; }));
  server.backend().run_to(600);  // of 1,200: half of the flood stays behind the small one
  EXPECT_EQ(small.read_reply().status, 200);
  EXPECT_LT(server.instance().stats().n_requests_ended, 40u) << "first come, first served";
}

TEST(ServerTenants, AQuotaAnswers429AndWhenToComeAgain) {
  TestServer server(with_keys(), {.tenants = {{.name = "key-1", .weight = 1, .tokens_per_minute = 60}}});
  HttpClient client(server.port());
  EXPECT_EQ(client.post("/v1/completions", body(50, 40), kLarge).status, 200);
  ClientReply refused = client.post("/v1/completions", body(5, 1), kLarge);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(code_of(refused), "rate_limit_exceeded");
  EXPECT_NE(refused.body.find("60 tokens per minute"), std::string::npos) << refused.body;
  ASSERT_TRUE(refused.header("Retry-After"));
  int64_t wait = number_in(refused, "Retry-After");
  EXPECT_LE(wait, 31) << "30 tokens too many, one a second";
  EXPECT_GE(wait, 1);
  EXPECT_EQ(client.post("/v1/completions", body(5, 1), kSmall).status, 200) << "others have no quota";
}

TEST(ServerTenants, OnlyAGatewayNamesTenants) {
  TestServer server(with_keys(), {.tenants = {{.name = "team", .weight = 1, .tokens_per_minute = 30}}});
  const std::string by_field = body(40, 1, R"(,"millrace":{"tenant":"team"})");
  const std::string by_header = std::string(kGateway) + "x-gateway-inference-fairness-id: team\r\n";
  HttpClient client(server.port());
  EXPECT_EQ(client.post("/v1/completions", by_field, kGateway).status, 200);
  EXPECT_EQ(client.post("/v1/completions", by_field, kGateway).status, 429);
  EXPECT_EQ(client.post("/v1/completions", body(1, 1), by_header).status, 429);
  EXPECT_EQ(client.post("/v1/completions", body(1, 1), kGateway).status, 200) << "a tenant of its own";
  EXPECT_EQ(client.post("/v1/completions", by_field, kSmall).status, 200) << "the field of a user is not heard";
}

// Enough steps for the cost model to know the machine, and answers of 20 tokens to expect.
void learn(TestServer& server) {
  server.backend().step_us = 5000;
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(HttpClient(server.port()).post("/v1/completions", body(8, 20), kSmall).status, 200);
  }
}

TEST(ServerTenants, ADeadlineThatCannotBeMetIsRefusedAtOnceWithThePrediction) {
  TestServer server(with_keys());
  learn(server);
  HttpClient client(server.port());
  for (std::string more : {"", R"(,"stream":true)"}) {
    ClientReply refused = client.post("/v1/completions", body(300, 5, R"(,"timeout":0.001)" + more), kSmall);
    EXPECT_EQ(refused.status, 503) << refused.body;
    EXPECT_EQ(code_of(refused), "deadline_unreachable");
    ASSERT_TRUE(refused.header("X-Millrace-Predicted-TTFT-Ms"));
    int64_t predicted = number_in(refused, "X-Millrace-Predicted-TTFT-Ms");
    EXPECT_GE(predicted, 4);
    std::string text = "the first token is predicted after " + std::to_string(predicted) + " ms, the deadline is 1 ms";
    EXPECT_NE(refused.body.find(text), std::string::npos) << refused.body;
    EXPECT_TRUE(refused.header("Retry-After"));
  }
  EXPECT_EQ(server.context().metrics.value(MetricId::kRequestsShed, 3), 2.0);
  ClientReply met = client.post("/v1/completions", body(8, 1), std::string(kSmall) + "X-Request-Timeout-Ms: 30000\r\n");
  EXPECT_EQ(met.status, 200) << met.body;
}

TEST(ServerTenants, AFloodOfOneDoesNotRefuseTheOthersDeadline) {
  TestServer server(with_keys(), {.max_live = 2, .order = sched::OrderKind::kDlpm});
  learn(server);
  std::string prompts = "\"" + std::string(20, 'a');
  for (int i = 1; i < 400; ++i) prompts += "\",\"" + std::string(20, 'a');
  HttpClient large(server.port());  // 200 waves of 20 steps, whatever these take here
  large.send(HttpClient::post_bytes("/v1/completions",
                                    R"({"prompt":[)" + prompts + R"("],"ignore_eos":true,"max_tokens":20})", kLarge));
  ASSERT_TRUE(eventually([&] { return server.instance().engine().stats().n_requests >= 400; }));
  HttpClient client(server.port());
  auto within = [](double seconds) { return body(20, 2, R"(,"timeout":)" + std::to_string(seconds)); };
  ClientReply own = client.post("/v1/completions", within(0.001), kLarge);
  ASSERT_EQ(own.status, 503) << own.body;
  const std::string in_time = within(static_cast<double>(number_in(own, "X-Millrace-Predicted-TTFT-Ms")) / 2000);
  own = client.post("/v1/completions", in_time, kLarge);
  EXPECT_EQ(own.status, 503) << own.body;
  ClientReply other = client.post("/v1/completions", in_time, kSmall);
  EXPECT_NE(other.status, 503) << other.body;
}

}  // namespace
}  // namespace millrace::server
