// What a running server takes anew: keys, limits; and that a bad reload changes nothing.
#include <gtest/gtest.h>

#include "server/file_watch.h"
#include "tests/support/server_fixture.h"
#include "tests/support/temp_dir.h"

namespace millrace::server {
namespace {

using testing::HttpClient;
using testing::TestServer;

int status_with(uint16_t port, const std::string& key) {
  HttpClient client(port);
  return client.get("/v1/models", "Authorization: Bearer " + key + "\r\n").status;
}

ServerOptions with_keys(std::vector<std::string> keys) {
  ServerOptions options;
  options.api_keys = std::move(keys);
  return options;
}

TEST(Reload, KeysComeAndGo) {
  TestServer server(with_keys({"old", "both"}));
  EXPECT_EQ(status_with(server.port(), "old"), 200);
  ASSERT_TRUE(server.context().reload(with_keys({"both", "new"})).ok());
  EXPECT_EQ(status_with(server.port(), "old"), 401);
  EXPECT_EQ(status_with(server.port(), "both"), 200);
  EXPECT_EQ(status_with(server.port(), "new"), 200);
}

TEST(Reload, AKeyKeepsItsNumberAndNoNumberIsUsedTwice) {
  Keys first({"a", "b"}, {"admin"}, false, false);
  Keys second = first.replaced({"c", "b"}, {"admin"}, 1);
  HttpRequest request;
  request.headers.emplace_back("x-api-key", "b");
  EXPECT_EQ(second.check(request, AuthClass::kKey)->tenant, 2u);
  EXPECT_TRUE(second.check(request, AuthClass::kKey)->gateway);
  request.headers[0].second = "c";
  EXPECT_EQ(second.check(request, AuthClass::kKey)->tenant, 4u);
  EXPECT_FALSE(second.check(request, AuthClass::kKey)->gateway);
  request.headers[0].second = "a";
  EXPECT_FALSE(second.check(request, AuthClass::kKey).ok());
}

TEST(Reload, NoKeysLeftIsRefused) {
  TestServer server(with_keys({"old"}));
  EXPECT_FALSE(server.context().reload(with_keys({})).ok());
  EXPECT_EQ(status_with(server.port(), "old"), 200);
  HttpClient nobody(server.port());
  EXPECT_EQ(nobody.get("/v1/models").status, 401);
}

TEST(Reload, TheLimitOfAKeyIsTaken) {
  TestServer server(with_keys({"k"}));
  ServerOptions next = with_keys({"k"});
  ASSERT_TRUE(next.limits.set(LimitId::kRequestsPerKey, 1).ok());
  ASSERT_TRUE(server.context().reload(next).ok());
  EXPECT_TRUE(server.context().enter_key(1).ok());
  EXPECT_EQ(server.context().enter_key(1).error().code, ErrorCode::kKeyConcurrency);
}

TEST(Reload, TheOptionsAreAskedForAgainAfterAHangUp) {
  TestServer server(with_keys({"old"}));
  server.server().set_reload([]() -> Result<ServerOptions> { return with_keys({"new"}); });
  server.server().hang_up();
  EXPECT_TRUE(testing::eventually([&] { return status_with(server.port(), "new") == 200; }));
}

TEST(Reload, AWatchTellsAChangeOnceAndNotWhileItHappens) {
  testing::TempDir folder;
  folder.write("keys", "a\n");
  FileWatch watch({folder.path() + "/keys"});
  FileWatch::TimePoint now{};
  auto look = [&] { return watch.changed(now += std::chrono::seconds(2)); };
  EXPECT_FALSE(look());
  folder.write("keys", "a\nb\n");
  EXPECT_FALSE(look());  // it may still be written
  EXPECT_TRUE(look());
  EXPECT_FALSE(look());
  EXPECT_FALSE(FileWatch({}).changed(now));
}

}  // namespace
}  // namespace millrace::server
