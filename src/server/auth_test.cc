#include "server/auth.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/routes.h"
#include "tests/support/counted_work.h"

namespace millrace::server {
namespace {

HttpRequest with_header(std::string name, std::string value) {
  HttpRequest request;
  request.headers.emplace_back(std::move(name), std::move(value));
  return request;
}

std::optional<ErrorCode> verdict(const Keys& keys, const HttpRequest& request, AuthClass wanted) {
  auto checked = keys.check(request, wanted);
  return checked.ok() ? std::optional<ErrorCode>() : checked.error().code;
}

TEST(Auth, ConstantTimeCompareIsCompare) {
  EXPECT_TRUE(equal_constant_time("abc", "abc"));
  EXPECT_TRUE(equal_constant_time("", ""));
  for (const char* other : {"abd", "ab", "abcd", "", "Abc"}) EXPECT_FALSE(equal_constant_time("abc", other));
}

TEST(Auth, NoKeysMeansOpenExceptAdminBeyondLoopback) {
  Keys loopback({}, {}, false, false);
  EXPECT_EQ(verdict(loopback, {}, AuthClass::kKey), std::nullopt);
  EXPECT_EQ(verdict(loopback, {}, AuthClass::kAdmin), std::nullopt);
  Keys wide({}, {}, false, true);
  EXPECT_EQ(verdict(wide, {}, AuthClass::kKey), std::nullopt);
  EXPECT_EQ(verdict(wide, {}, AuthClass::kAdmin), ErrorCode::kInvalidApiKey);
}

TEST(Auth, EveryRouteWithEveryKindOfKey) {
  Keys keys({"user-key"}, {"admin-key"}, false, false);
  auto user = with_header("authorization", "Bearer user-key");
  auto admin = with_header("authorization", "Bearer admin-key");
  auto wrong = with_header("authorization", "Bearer user-kez");
  int n_open = 0;
  for (const Route& route : route_table()) {
    bool open = route.auth == AuthClass::kOpen || route.auth == AuthClass::kMetrics;
    n_open += open ? 1 : 0;
    bool for_admins = route.auth == AuthClass::kAdmin;
    using Verdict = std::optional<ErrorCode>;
    EXPECT_EQ(verdict(keys, {}, route.auth), open ? Verdict() : ErrorCode::kInvalidApiKey) << route.path;
    EXPECT_EQ(verdict(keys, wrong, route.auth), open ? Verdict() : ErrorCode::kInvalidApiKey) << route.path;
    EXPECT_EQ(verdict(keys, user, route.auth), for_admins ? Verdict(ErrorCode::kAdminKeyRequired) : Verdict())
        << route.path;
    EXPECT_EQ(verdict(keys, admin, route.auth), Verdict()) << route.path;
  }
  EXPECT_EQ(n_open, 16);  // the allow-list: 10 probes, /metrics, /load, /version, /api/version, /
}

TEST(Auth, WhereAKeyMayStand) {
  Keys keys({"k1", "k2"}, {}, true, false);
  EXPECT_EQ(verdict(keys, with_header("x-api-key", "k2"), AuthClass::kKey), std::nullopt);
  EXPECT_EQ(verdict(keys, with_header("api-key", "k1"), AuthClass::kKey), std::nullopt);
  EXPECT_EQ(verdict(keys, with_header("authorization", "bearer k1"), AuthClass::kKey), std::nullopt);
  EXPECT_EQ(keys.check(with_header("x-api-key", "k2"), AuthClass::kKey)->tenant, 2u);
  const HttpRequest refused[] = {
      with_header("authorization", "k1"),        with_header("authorization", "Basic k1"),
      with_header("authorization", "Bearer "),   with_header("authorization", "Bearer k1 "),
      with_header("authorization", "Bearer K1"), with_header("x-api-key", std::string(513, 'k')),
      with_header("x-api-key", "k\xc3\xa4"),     with_header("x-other", "k1"),
  };
  for (const HttpRequest& request : refused) {
    EXPECT_EQ(verdict(keys, request, AuthClass::kKey), ErrorCode::kInvalidApiKey);
  }
  EXPECT_EQ(verdict(keys, {}, AuthClass::kMetrics), ErrorCode::kInvalidApiKey);
}

// What a key that is not known costs depends on its length alone, wherever it differs from those that are: equal works,
// counted by tools/check/counted_work.py.
TEST(Auth, WrongKeysCostTheSame) {
  const std::string known = "sesame-of-36-bytes-0123456789abcdefg";
  Keys keys({"another-key", known, "sesame-of-36-bytes-0123456789abcdefX"}, {"admin"}, false, false);
  std::vector<std::string> wrong(known.size(), known);
  for (size_t i = 0; i < known.size(); ++i) wrong[i][i] = '!';
  wrong.push_back(std::string(known.size(), '!'));
  for (const std::string& key : wrong) {
    ASSERT_EQ(key.size(), known.size());
    const HttpRequest request = with_header("x-api-key", key);
    std::optional<ErrorCode> code;
    testing::count_work("an unknown key", key.size(), [&] { code = verdict(keys, request, AuthClass::kKey); });
    EXPECT_EQ(code, ErrorCode::kInvalidApiKey);
  }
  wrong.push_back(known);
  for (const std::string& key : wrong) {
    bool equal = false;
    testing::count_work("comparing it", key.size(), [&] { equal = equal_constant_time(known, key); });
    EXPECT_EQ(equal, key == known);
  }
}

TEST(Routes, TableIsConsistent) {
  for (const Route& route : route_table()) {
    std::string path(route.path);
    if (route.prefix) path += "a/b" + std::string(route.suffix);
    EXPECT_EQ(find_route(path, (route.methods & kGet) != 0 ? "GET" : "POST"), &route) << path;
    EXPECT_EQ(allows(route, "DELETE"), false);
    EXPECT_EQ(allows(route, "HEAD"), (route.methods & kGet) != 0);
    if (route.has_body) {
      EXPECT_EQ(route.methods, kPost);
    }
  }
  EXPECT_EQ(find_route("/", "DELETE")->id, RouteId::kRoot);
  EXPECT_EQ(find_route("/v2/models/m/generate", "GET")->id, RouteId::kKserveGenerate);
  for (const char* path : {"", "//v1/models", "/v1/models/", "/v1/chat/completions/", "/V1/models", "/health/"}) {
    EXPECT_EQ(find_route(path), nullptr) << path;
  }
}

}  // namespace
}  // namespace millrace::server
