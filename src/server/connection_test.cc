// The HTTP layer over real sockets: framing, limits, timeouts, routes, keys. No generation here.
#include "server/connection.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "server/page.h"
#include "server/routes.h"
#include "tests/support/server_fixture.h"

namespace millrace::server {
namespace {

using testing::HttpClient;
using testing::TestServer;
using testing::with_limit;

constexpr const char* kGetVersion = "GET /version HTTP/1.1\r\nHost: t\r\n\r\n";

std::string error_code(const testing::ClientReply& reply) {
  Json body = reply.json();
  const Json* error = body.get("error");
  const Json* code = error == nullptr ? nullptr : error->get("code");
  return code == nullptr ? "" : code->as_string();
}

TEST(Connection, KeepAliveAndItsEnd) {
  TestServer server;
  HttpClient client(server.port());
  for (int i = 0; i < 3; ++i) {
    auto reply = client.request(kGetVersion);
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, "{\"version\":\"0.1.0\"}");
    EXPECT_EQ(reply.header("Content-Type"), "application/json");
    EXPECT_FALSE(reply.header("Connection"));
  }
  auto last = client.request("GET /version HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(last.header("Connection"), "close");
  EXPECT_TRUE(client.wait_closed());

  HttpClient old(server.port());
  auto reply = old.request("GET /version HTTP/1.0\r\n\r\n");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.header("Connection"), "close");
  EXPECT_TRUE(old.wait_closed());
  HttpClient old_kept(server.port());
  reply = old_kept.request("GET /version HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(reply.header("Connection"), "keep-alive");
  EXPECT_EQ(old_kept.request(kGetVersion).status, 200);
}

TEST(Connection, PipelinedRequestsAreAnsweredInOrder) {
  TestServer server;
  HttpClient client(server.port());
  std::string all;
  constexpr int kRequests = 1000;
  for (int i = 0; i < kRequests; ++i) {
    all += "GET /version HTTP/1.1\r\nHost: t\r\nX-Request-Id: r" + std::to_string(i) + "\r\n\r\n";
  }
  std::thread sender([&] { client.send(all); });
  for (int i = 0; i < kRequests; ++i) {
    auto reply = client.read_reply();
    ASSERT_EQ(reply.status, 200) << i;
    ASSERT_EQ(reply.header("X-Request-Id"), "r" + std::to_string(i));
  }
  sender.join();
}

TEST(Connection, RequestsInPieces) {
  TestServer server;
  HttpClient client(server.port());
  for (const char* c = kGetVersion; *c != 0; ++c) client.send({c, 1});
  EXPECT_EQ(client.read_reply().status, 200);
  std::string body = R"({"tokens":[104,105]})";
  client.send("POST /detokenize HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (char c : body) client.send(std::string("1\r\n") + c + "\r\n");
  client.send("0\r\n\r\n");
  auto reply = client.read_reply();
  EXPECT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(reply.body, R"({"prompt":"hi"})");
}

TEST(Connection, EmptyLinesBeforeARequestArePassedOver) {
  TestServer server;
  HttpClient client(server.port());
  std::string body = R"({"tokens":[104,105]})";
  client.send("\r\n\r");
  client.send("\n");
  EXPECT_EQ(client.post("/detokenize", body).status, 200);
  EXPECT_EQ(client.request(std::string("\r\n") + kGetVersion).status, 200);
  client.send("\r\n\r\n\n");
  EXPECT_EQ(client.read_reply().status, 400);
}

TEST(Connection, MalformedRequestsEndTheConnection) {
  TestServer server;
  struct Row {
    std::string bytes;
    int status;
    const char* code;
  };
  const Row rows[] = {
      {"GET /version HTTP/1.1\nHost: t\n\n", 400, "invalid_value"},
      {"GET /version HTTP/3.0\r\nHost: t\r\n\r\n", 505, "http_version"},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "invalid_value"},
      {"\x16\x03\x01\x02", 400, "invalid_value"},
      {"GET /" + std::string(9000, 'a') + " HTTP/1.1\r\nHost: t\r\n\r\n", 414, "uri_too_long"},
      {"GET / HTTP/1.1\r\nHost: t\r\nA: " + std::string(9000, 'a') + "\r\n\r\n", 431, "headers_too_large"},
      {"POST /tokenize HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
       "invalid_value"},
      {"POST /tokenize HTTP/1.1\r\nHost: t\r\nExpect: magic\r\nContent-Length: 5\r\n\r\n", 417, "expectation_failed"},
      {"POST /tokenize HTTP/1.1\r\nHost: t\r\nContent-Length: 10000000000\r\n\r\n", 413, "request_too_large"},
      {"POST /tokenize HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 10000000000\r\n\r\n", 413,
       "request_too_large"},
      {"POST /tokenize HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "invalid_value"},
      {"POST /tokenize HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n", 400, "invalid_value"},
  };
  for (const Row& row : rows) {
    HttpClient client(server.port());
    auto reply = client.request(row.bytes);
    EXPECT_EQ(reply.status, row.status) << row.bytes.substr(0, 60);
    EXPECT_EQ(error_code(reply), row.code) << row.bytes.substr(0, 60) << reply.body;
    EXPECT_EQ(reply.header("Connection"), "close");
    client.send("GET /version HTTP/1.1\r\nHost: t\r\n\r\n");
    EXPECT_TRUE(client.wait_closed());
    EXPECT_EQ(client.buffer(), "") << "a request after a broken one was read";
  }
}

TEST(Connection, RepliesThatNobodyReadsAreNotPiledUp) {
  for (const char* path : {"/metrics", "/no/such/route"}) {
    TestServer server(with_limit(LimitId::kSendStallSeconds, 1));
    HttpClient client(server.port());
    client.set_receive_buffer(4096);
    constexpr int kSent = 4000;
    std::string all;
    for (int i = 0; i < kSent; ++i) all += std::string("GET ") + path + " HTTP/1.1\r\nHost: t\r\n\r\n";
    std::thread sender([&] { client.send(all); });  // may not get rid of all of it
    Metrics& metrics = server.context().metrics;
    auto replies = [&] { return metrics.value(MetricId::kHttpReplies, 0) + metrics.value(MetricId::kHttpReplies, 1); };
    EXPECT_TRUE(testing::eventually([&] { return replies() > 0; })) << path;
    EXPECT_TRUE(testing::eventually([&] { return server.context().n_connections.load() == 0; })) << path;
    EXPECT_LT(replies(), kSent / 2) << path;
    sender.join();
  }
}

TEST(Connection, BodyLimitAtAndBeyond) {
  TestServer server(with_limit(LimitId::kBodyBytes, 40));
  std::string body = R"({"tokens":[104,105]})";
  body.append(40 - body.size(), ' ');
  HttpClient client(server.port());
  EXPECT_EQ(client.post("/detokenize", body).status, 200);
  auto reply = client.post("/detokenize", body + " ");
  EXPECT_EQ(reply.status, 413);
  EXPECT_TRUE(client.wait_closed());
  HttpClient chunked(server.port());
  reply = chunked.request("POST /detokenize HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n29\r\n" + body +
                          " \r\n0\r\n\r\n");
  EXPECT_EQ(reply.status, 413);
}

TEST(Connection, RefusalsThatNeedNoBody) {
  TestServer server;
  struct Row {
    const char* bytes;
    int status;
    const char* code;
  };
  const Row rows[] = {
      {"GET /nowhere HTTP/1.1\r\nHost: t\r\n\r\n", 404, "route_not_found"},
      {"GET //v1/models HTTP/1.1\r\nHost: t\r\n\r\n", 404, "route_not_found"},
      {"GET /v1/models/ HTTP/1.1\r\nHost: t\r\n\r\n", 404, "route_not_found"},
      {"GET /tokenize HTTP/1.1\r\nHost: t\r\n\r\n", 405, "method_not_allowed"},
      {"TRACE /version HTTP/1.1\r\nHost: t\r\n\r\n", 405, "method_not_allowed"},
      {"OPTIONS /version HTTP/1.1\r\nHost: t\r\n\r\n", 405, "method_not_allowed"},
      {"POST /tokenize HTTP/1.1\r\nHost: t\r\n\r\n", 411, "length_required"},
      {"POST /tokenize HTTP/1.1\r\nHost: t\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", 415,
       "unsupported_media_type"},
      {"POST /tokenize HTTP/1.1\r\nHost: t\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", 415,
       "unsupported_media_type"},
      {"POST /tokenize HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\n[1]", 400, "invalid_json"},
      {"POST /tokenize HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n", 400, "invalid_json"},
      {"POST /v1/embeddings HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n{}", 400, "missing_field"},
      {"GET /v1/models/none HTTP/1.1\r\nHost: t\r\n\r\n", 404, "model_not_found"},
  };
  for (const Row& row : rows) {
    HttpClient client(server.port());
    auto reply = client.request(row.bytes);
    EXPECT_EQ(reply.status, row.status) << row.bytes;
    EXPECT_EQ(error_code(reply), row.code) << row.bytes << reply.body;
  }
  HttpClient client(server.port());
  EXPECT_EQ(client.get("/tokenize").header("Allow"), "POST, OPTIONS");
  EXPECT_EQ(client.request("DELETE /v1/models HTTP/1.1\r\nHost: t\r\n\r\n").header("Allow"), "GET, HEAD, OPTIONS");
}

TEST(Connection, AbsoluteTargetsAndConnect) {
  TestServer server;
  HttpClient client(server.port());
  EXPECT_EQ(client.request("GET http://elsewhere:1/version?x HTTP/1.1\r\nHost: t\r\n\r\n").body,
            "{\"version\":\"0.1.0\"}");
  EXPECT_EQ(client.request("GET HTTP://t HTTP/1.1\r\nHost: t\r\n\r\n").header("Content-Type"),
            "text/plain; charset=utf-8");
  EXPECT_EQ(client.request("GET http://t/nowhere HTTP/1.1\r\nHost: t\r\n\r\n").status, 404);
  EXPECT_EQ(client.request("TRACE /nowhere HTTP/1.1\r\nHost: t\r\n\r\n").status, 405);
  for (const char* target : {"t:443", "/version", "http://t:443/"}) {
    HttpClient tunnel(server.port());
    auto reply = tunnel.request("CONNECT " + std::string(target) + " HTTP/1.1\r\nHost: t\r\n\r\n");
    EXPECT_EQ(reply.status, 405) << target;
    EXPECT_TRUE(reply.header("Allow")) << target;
    EXPECT_TRUE(tunnel.wait_closed()) << target;
  }
}

TEST(Connection, HeadHasNoBodyAndContinueIsSent) {
  TestServer server;
  HttpClient client(server.port());
  client.send("HEAD /version HTTP/1.1\r\nHost: t\r\n\r\n");
  auto head = client.read_reply(testing::kHangMs, true);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.header("Content-Length"), "19");
  EXPECT_EQ(client.get("/version").status, 200);  // nothing of a body in between
  client.send("POST /detokenize HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 15\r\n\r\n");
  EXPECT_EQ(client.read_reply().status, 100);
  client.send(R"({"tokens":[97]})");
  EXPECT_EQ(client.read_reply().body, R"({"prompt":"a"})");
}

TEST(Connection, SlowSendersAreCut) {
  // A server each: a busy machine may need more than one of these seconds for what is right.
  TestServer of_heads(with_limit(LimitId::kHeaderSeconds, 1));
  TestServer of_bodies(with_limit(LimitId::kBodyIdleSeconds, 1));
  TestServer of_pauses(with_limit(LimitId::kKeepaliveIdleSeconds, 1));
  HttpClient head(of_heads.port());
  HttpClient silent(of_heads.port());
  HttpClient body(of_bodies.port());
  HttpClient idle(of_pauses.port());
  head.send("GET /version HTT");
  body.send("POST /tokenize HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n{");
  EXPECT_EQ(idle.get("/version").status, 200);
  auto reply = head.read_reply();
  EXPECT_EQ(reply.status, 408);
  EXPECT_EQ(error_code(reply), "request_timeout");
  EXPECT_EQ(body.read_reply().status, 408);
  EXPECT_TRUE(idle.wait_closed());
  EXPECT_TRUE(silent.wait_closed());
  EXPECT_EQ(idle.buffer() + silent.buffer(), "");
}

TEST(Connection, TooManyConnections) {
  ServerOptions options;
  CHECK(options.limits.set(LimitId::kConnectionsPerIp, 2).ok());
  TestServer server(options);
  HttpClient first(server.port());
  HttpClient second(server.port());
  EXPECT_EQ(first.get("/version").status, 200);
  EXPECT_EQ(second.get("/version").status, 200);
  HttpClient third(server.port());
  auto reply = third.read_reply();
  EXPECT_EQ(reply.status, 429);
  EXPECT_EQ(error_code(reply), "rate_limit_exceeded");
  EXPECT_TRUE(reply.header("Retry-After"));
  EXPECT_TRUE(third.wait_closed());
  first.close();
  EXPECT_TRUE(testing::eventually([&] { return HttpClient(server.port()).get("/version").status == 200; }));

  TestServer full(with_limit(LimitId::kConnections, 1));
  HttpClient one(full.port());
  EXPECT_EQ(one.get("/version").status, 200);
  HttpClient two(full.port());
  EXPECT_EQ(two.read_reply().status, 503);
}

TEST(Connection, RequestsOfOneKey) {
  ServerOptions options = with_limit(LimitId::kRequestsPerKey, 2);
  options.api_keys = {"one", "two"};
  TestServer server(options);
  server.backend().hold();
  auto request = [](const std::string& key) {
    return HttpClient::post_bytes("/v1/completions", R"({"prompt":"ab"})", "Authorization: Bearer " + key + "\r\n");
  };
  HttpClient first(server.port());
  HttpClient second(server.port());
  first.send(request("one"));
  second.send(request("one"));
  ASSERT_TRUE(testing::eventually([&] { return server.context().n_generations == 2; }));
  HttpClient third(server.port());
  auto refused = third.request(request("one"));
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(error_code(refused), "key_concurrency");
  EXPECT_TRUE(refused.header("Retry-After"));
  EXPECT_EQ(server.context().metrics.value(MetricId::kRequestsShed, 7), 1.0);
  HttpClient other(server.port());
  other.send(request("two"));
  ASSERT_TRUE(testing::eventually([&] { return server.context().n_generations == 3; }));
  EXPECT_EQ(HttpClient(server.port()).get("/v1/models", "Authorization: Bearer one\r\n").status, 200);
  second.close();  // a client that leaves gives its place back
  HttpClient fourth(server.port());
  ASSERT_TRUE(testing::eventually([&] { return server.context().n_generations == 2; }));
  fourth.send(request("one"));
  ASSERT_TRUE(testing::eventually([&] { return server.context().n_generations == 3; }));
  server.backend().release();
  for (HttpClient* client : {&first, &other, &fourth}) EXPECT_EQ(client->read_reply().status, 200);
}

TEST(Connection, BodiesBeingReceivedAreBoundedTogether) {
  TestServer server(with_limit(LimitId::kQueuedBytes, 2'000'000));
  std::string head = "POST /tokenize HTTP/1.1\r\nHost: t\r\nContent-Length: 4000000\r\n\r\n";
  HttpClient first(server.port());
  HttpClient second(server.port());
  first.send(head + std::string(1'500'000, ' '));
  ASSERT_TRUE(testing::eventually([&] { return server.context().body_bytes == 1'500'000; }));
  second.send(head + std::string(600'000, ' '));
  auto refused = second.read_reply();
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(error_code(refused), "queue_full");
  EXPECT_TRUE(refused.header("Retry-After"));
  EXPECT_EQ(HttpClient(server.port()).post("/tokenize", R"({"prompt":"hi"})").status, 200);
  first.close();
  EXPECT_TRUE(testing::eventually([&] { return server.context().body_bytes == 0; }));
}

TEST(Connection, KeysOnEveryRouteOfTheTable) {
  ServerOptions options;
  options.api_keys = {"user"};
  options.admin_keys = {"admin"};
  TestServer server(options);
  for (const Route& route : route_table()) {
    std::string path(route.path);
    if (route.prefix) path += "echo" + std::string(route.suffix);
    const char* method = (route.methods & kGet) != 0 ? "GET " : "POST ";
    auto status = [&](const std::string& header) {
      HttpClient client(server.port());
      return client.request(method + path + " HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n" + header + "\r\n").status;
    };
    bool open = route.auth == AuthClass::kOpen || route.auth == AuthClass::kMetrics;
    if (open) {
      EXPECT_EQ(status(""), 200) << path;
      continue;
    }
    EXPECT_EQ(status(""), 401) << path;
    EXPECT_EQ(status("Authorization: Bearer wrong\r\n"), 401) << path;
    int with_user = status("Authorization: Bearer user\r\n");
    EXPECT_EQ(with_user == 403, route.auth == AuthClass::kAdmin) << path;
    EXPECT_NE(with_user, 401) << path;
    int with_admin = status("x-api-key: admin\r\n");
    EXPECT_TRUE(with_admin != 401 && with_admin != 403) << path;
  }
  HttpClient client(server.port());
  auto reply = client.get("/v1/models");
  EXPECT_EQ(reply.header("WWW-Authenticate"), "Bearer");
  EXPECT_EQ(error_code(reply), "invalid_api_key");
}

// Rows H07, H08, H09 and H18 of bad inputs.
TEST(Connection, BodiesThatAreNoRequest) {
  TestServer server;
  const std::string rows[] = {"",
                              "{",
                              "not json",
                              "{}x",
                              "[1]",
                              "\"a\"",
                              "null",
                              std::string(100'000, '['),
                              "\xEF\xBB\xBF{}",
                              std::string("\xFE\xFF\0{\0}", 6),
                              R"({"prompt":1e999})",
                              "{\"prompt\":" + std::string(400, '9') + "}",
                              R"({"prompt":"a","prompt":"b"})",
                              "{\"prompt\":\"\xFF\"}",
                              R"({"prompt":"\ud800"})"};
  for (const char* path : {"/tokenize", "/v1/completions"}) {
    for (const std::string& row : rows) {
      HttpClient client(server.port());
      auto reply = client.post(path, row);
      EXPECT_EQ(reply.status, 400) << row.substr(0, 60);
      EXPECT_TRUE(reply.complete);
      EXPECT_EQ(client.get("/version").status, 200) << "the connection goes on after " << row.substr(0, 60);
    }
  }
  HttpClient chunks(server.port());
  std::string body = R"({"prompt":")" + std::string(200'000, 'a') + "\"}";
  chunks.send("POST /tokenize HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
  std::string bytes;
  for (char c : body) bytes += std::string("1\r\n") + c + "\r\n";
  chunks.send(bytes + "0\r\n\r\n");
  EXPECT_EQ(chunks.read_reply().json().find("count")->as_int(), 200'000);
  EXPECT_EQ(chunks.get("/version", "Upgrade: websocket\r\nConnection: Upgrade\r\nRange: bytes=0-1\r\n").body,
            "{\"version\":\"0.1.0\"}");
}

TEST(Connection, AbruptEndsLeaveNothing) {
  TestServer server;
  const char* stream = R"({"prompt":"abc","max_tokens":1000,"ignore_eos":true,"stream":true})";
  const std::string begun[] = {"", "GET /vers", "POST /tokenize HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n{",
                               HttpClient::post_bytes("/v1/completions", stream)};
  for (int i = 0; i < 200; ++i) {
    HttpClient client(server.port());
    client.send(begun[i % 4]);
    if (i % 8 == 7) client.receive();
    client.reset();
  }
  EXPECT_TRUE(testing::eventually([&] { return server.context().n_connections == 0; }));
  EXPECT_TRUE(testing::eventually(
      [&] { return server.instance().router().n_open() == 0 && server.instance().stats().kv_blocks_active == 0; }));
}

TEST(Connection, CorsOnlyForListedOrigins) {
  ServerOptions options;
  options.allowed_origins = {"http://good"};
  TestServer server(options);
  HttpClient client(server.port());
  EXPECT_EQ(client.get("/version", "Origin: http://good\r\n").header("Access-Control-Allow-Origin"), "http://good");
  for (const char* origin : {"http://evil", "null", "http://good.evil"}) {
    std::string header = std::string("Origin: ") + origin + "\r\n";
    EXPECT_FALSE(client.get("/version", header).header("Access-Control-Allow-Origin")) << origin;
  }
  auto preflight = client.request("OPTIONS /v1/models HTTP/1.1\r\nHost: t\r\nOrigin: http://good\r\n\r\n");
  EXPECT_EQ(preflight.status, 204);
  EXPECT_TRUE(preflight.header("Access-Control-Allow-Methods"));
}

TEST(Connection, RequestIdsAreEchoedOnlyWhenVisible) {
  TestServer server;
  HttpClient client(server.port());
  EXPECT_EQ(client.get("/version", "X-Request-Id: abc-1\r\n").header("X-Request-Id"), "abc-1");
  EXPECT_FALSE(client.get("/version", "X-Request-Id: a b\r\n").header("X-Request-Id"));
  EXPECT_FALSE(client.get("/version", "X-Request-Id: " + std::string(129, 'a') + "\r\n").header("X-Request-Id"));
}

TEST(Connection, BrowsersGetThePage) {
  TestServer server;
  HttpClient client(server.port());
  auto page = client.get("/", "Accept: text/html,*/*;q=0.8\r\n");
  EXPECT_EQ(page.header("Content-Type"), "text/html; charset=utf-8");
  EXPECT_EQ(page.body, page_html());
  EXPECT_EQ(page.header("Content-Security-Policy"), page_policy());
  EXPECT_EQ(client.get("/index.html").body, page_html());
  EXPECT_LT(page_html().size(), 60'000u);
  // one file: nothing is loaded from elsewhere, and no script runs but the one the policy names
  EXPECT_EQ(page_html().find("src="), std::string_view::npos);
  EXPECT_EQ(page_policy().find("unsafe"), std::string_view::npos);
  ServerOptions options;
  options.ui = false;
  TestServer plain(options);
  HttpClient other(plain.port());
  EXPECT_EQ(other.get("/", "Accept: text/html\r\n").header("Content-Type"), "text/plain; charset=utf-8");
}

TEST(Connection, PlainRoutes) {
  TestServer server;
  HttpClient client(server.port());
  EXPECT_EQ(client.get("/v1/models").json().find("data")->size(), 2u);
  EXPECT_EQ(client.get("/models").json().find("data")->as_array()[1].find("id")->as_string(), "echo-alias");
  EXPECT_EQ(client.get("/v1/models/echo").json().find("id")->as_string(), "echo");
  EXPECT_EQ(client.get("/load").body, "{\"server_load\":0}");
  EXPECT_EQ(client.get("/tokenizer_info").json().find("eos_token")->as_string(), "<end>");
  EXPECT_EQ(client.get("/").header("Content-Type"), "text/plain; charset=utf-8");
  auto tokens = client.post("/tokenize", R"({"prompt":"hi"})").json();
  EXPECT_EQ(tokens.find("count")->as_int(), 2);
  auto chat = client.post("/v1/tokenize", R"({"messages":[{"role":"user","content":"hi"}]})").json();
  EXPECT_EQ(chat.find("tokens")->dump(), "[257,104,105,258]");
  EXPECT_EQ(client.post("/reset_prefix_cache", "").status, 200);
  auto load = client.get("/health", "endpoint-load-metrics-format: TEXT\r\n").header("endpoint-load-metrics");
  EXPECT_EQ(load, "TEXT named_metrics.kv_cache_usage_perc=0, named_metrics.num_requests_waiting=0.0");
}

}  // namespace
}  // namespace millrace::server
