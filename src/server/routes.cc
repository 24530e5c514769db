#include "server/routes.h"

namespace millrace::server {
namespace {

constexpr AuthClass kOpen = AuthClass::kOpen;
constexpr AuthClass kKey = AuthClass::kKey;

constexpr Route kRoutes[] = {
    {.path = "/v1/chat/completions", .id = RouteId::kChat, .methods = kPost, .auth = kKey, .has_body = true},
    {.path = "/chat/completions", .id = RouteId::kChat, .methods = kPost, .auth = kKey, .has_body = true},
    {.path = "/v1/completions", .id = RouteId::kCompletions, .methods = kPost, .auth = kKey, .has_body = true},
    {.path = "/v1/embeddings", .id = RouteId::kEmbeddings, .methods = kPost, .auth = kKey, .has_body = true},
    {.path = "/v1/models", .id = RouteId::kModels},
    {.path = "/models", .id = RouteId::kModels},
    {.path = "/v1/models/", .id = RouteId::kModel, .prefix = true},
    {.path = "/health", .id = RouteId::kHealth, .auth = kOpen},
    {.path = "/v1/health", .id = RouteId::kHealth, .auth = kOpen},
    {.path = "/ping", .id = RouteId::kHealth, .methods = kGet | kPost, .auth = kOpen},
    {.path = "/live", .id = RouteId::kLive, .auth = kOpen},
    {.path = "/health/live", .id = RouteId::kLive, .auth = kOpen},
    {.path = "/ready", .id = RouteId::kReady, .auth = kOpen},
    {.path = "/readyz", .id = RouteId::kReady, .auth = kOpen},
    {.path = "/health/ready", .id = RouteId::kReady, .auth = kOpen},
    {.path = "/metrics", .id = RouteId::kMetrics, .auth = AuthClass::kMetrics},
    {.path = "/load", .id = RouteId::kLoad, .auth = AuthClass::kMetrics},
    {.path = "/version", .id = RouteId::kVersion, .auth = kOpen},
    {.path = "/tokenize", .id = RouteId::kTokenize, .methods = kPost, .auth = kKey, .has_body = true},
    {.path = "/v1/tokenize", .id = RouteId::kTokenize, .methods = kPost, .auth = kKey, .has_body = true},
    {.path = "/detokenize", .id = RouteId::kDetokenize, .methods = kPost, .auth = kKey, .has_body = true},
    {.path = "/v1/detokenize", .id = RouteId::kDetokenize, .methods = kPost, .auth = kKey, .has_body = true},
    {.path = "/tokenizer_info", .id = RouteId::kTokenizerInfo},
    {.path = "/slots/",
     .id = RouteId::kSlotAction,
     .methods = kPost,
     .auth = AuthClass::kAdmin,
     .has_body = true,
     .prefix = true},
    {.path = "/reset_prefix_cache", .id = RouteId::kResetPrefixCache, .methods = kPost, .auth = AuthClass::kAdmin},
    {.path = "/", .id = RouteId::kRoot, .auth = kOpen},
    {.path = "/index.html", .id = RouteId::kRoot, .auth = kOpen},
};

}  // namespace

std::span<const Route> route_table() { return kRoutes; }

const Route* find_route(std::string_view path) {
  for (const Route& route : kRoutes) {
    if (route.prefix ? path.starts_with(route.path) && path.size() > route.path.size() : path == route.path)
      return &route;
  }
  return nullptr;
}

bool allows(const Route& route, std::string_view method) {
  if (method == "GET" || method == "HEAD") return (route.methods & kGet) != 0;
  return method == "POST" && (route.methods & kPost) != 0;
}

std::string allowed_methods(const Route& route) {
  std::string out;
  if ((route.methods & kGet) != 0) out += "GET, HEAD, ";
  if ((route.methods & kPost) != 0) out += "POST, ";
  return out + "OPTIONS";
}

}  // namespace millrace::server
