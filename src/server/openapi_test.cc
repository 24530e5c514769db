// /openapi.json: every route and method of the route table, references that resolve, and keys where keys are needed.
#include "server/openapi.h"

#include <gtest/gtest.h>

#include <set>

#include "server/routes.h"
#include "tests/support/server_fixture.h"

namespace millrace::server {
namespace {

using testing::HttpClient;
using testing::TestServer;

Json document(ServerOptions options = {}) {
  TestServer server(std::move(options));
  HttpClient client(server.port());
  testing::ClientReply reply = client.get("/openapi.json", "Authorization: Bearer k\r\n");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.header("Content-Type"), "application/json");
  return reply.json();
}

void collect(const Json& value, std::set<std::string>& out) {
  if (value.is_array()) {
    for (const Json& item : value.as_array()) collect(item, out);
  }
  if (!value.is_object()) return;
  for (const auto& [name, member] : value.as_object().members) {
    if (name == "$ref") out.insert(member.as_string());
    collect(member, out);
  }
}

TEST(OpenApiTest, HasEveryRouteAndMethod) {
  Json all = document();
  EXPECT_EQ(*all.find("openapi"), Json("3.1.0"));
  const Json* paths = all.find("paths");
  ASSERT_NE(paths, nullptr);
  std::set<std::string> ids;
  size_t n_operations = 0;
  for (const Route& route : route_table()) {
    std::string path(route.path);
    bool slot = route.kind == RouteKind::kSlotAction;
    if (route.prefix) path += std::string(slot ? "{slot}" : "{model}") + std::string(route.suffix);
    const Json* item = paths->find(path);
    ASSERT_NE(item, nullptr) << path;
    for (const auto& [method, operation] : item->as_object().members) {
      const Route* row = find_route(route.prefix ? path : route.path, method == "get" ? "GET" : "POST");
      if (row != &route) continue;
      ++n_operations;
      EXPECT_TRUE(ids.insert(operation.find("operationId")->as_string()).second) << path;
      EXPECT_EQ(operation.find("requestBody") != nullptr, route.has_body && method == "post") << path;
      EXPECT_NE(operation.find("responses")->find("200"), nullptr) << path;
      EXPECT_NE(operation.find("summary"), nullptr) << path;
    }
  }
  EXPECT_EQ(ids.size(), n_operations);
  EXPECT_GE(n_operations, 70u);
  size_t n_listed = 0;
  for (const auto& [path, item] : paths->as_object().members) n_listed += item.size();
  EXPECT_EQ(n_listed, n_operations);
}

TEST(OpenApiTest, ReferencesResolve) {
  Json all = document();
  std::set<std::string> references;
  collect(all, references);
  EXPECT_GT(references.size(), 60u);
  const std::string prefix = "#/components/";
  for (const std::string& reference : references) {
    ASSERT_TRUE(reference.starts_with(prefix)) << reference;
    size_t cut = reference.find('/', prefix.size());
    const Json* kind = all.find("components")->find(reference.substr(prefix.size(), cut - prefix.size()));
    ASSERT_NE(kind, nullptr) << reference;
    EXPECT_NE(kind->find(reference.substr(cut + 1)), nullptr) << reference;
  }
}

TEST(OpenApiTest, NamesTheModelTheLimitsAndTheKeys) {
  ServerOptions options;
  options.api_keys = {"k"};
  ASSERT_TRUE(options.limits.set(LimitId::kN, 7).ok());
  Json all = document(std::move(options));
  const Json* schemas = all.find("components")->find("schemas");
  const Json* chat = schemas->find("ChatCompletionRequest")->find("properties");
  EXPECT_EQ(*chat->find("n")->find("maximum"), Json(7));
  const JsonArray& names = chat->find("model")->find("enum")->as_array();
  EXPECT_NE(std::find(names.begin(), names.end(), Json("echo")), names.end());
  const Json* paths = all.find("paths");
  EXPECT_EQ(paths->find("/v1/chat/completions")->find("post")->find("security")->size(), 2u);
  EXPECT_EQ(paths->find("/health")->find("get")->find("security")->size(), 0u);
}

TEST(OpenApiTest, NeedsAKey) {
  ServerOptions options;
  options.api_keys = {"k"};
  TestServer server(std::move(options));
  HttpClient client(server.port());
  EXPECT_EQ(client.get("/openapi.json").status, 401);
}

}  // namespace
}  // namespace millrace::server
