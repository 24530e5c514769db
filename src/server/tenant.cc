#include "server/tenant.h"

#include <fmt/core.h>

namespace millrace::server {
namespace {

constexpr size_t kMostBytes = 128;

}  // namespace

std::string tenant_name(const ServerOptions& options, const HttpRequest& request, const Principal& who) {
  size_t n_keys = options.api_keys.size();
  bool gateway = who.tenant <= n_keys && who.tenant > n_keys - options.n_gateway_keys;
  if (gateway) {
    for (std::string_view name : {"x-gateway-inference-fairness-id", "x-llm-d-inference-fairness-id"}) {
      const std::string* value = request.header(name);
      if (value != nullptr && !value->empty() && value->size() <= kMostBytes) return *value;
    }
  }
  return who.tenant == 0 ? "" : fmt::format("key-{}", who.tenant);
}

}  // namespace millrace::server
