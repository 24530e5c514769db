#include "server/tenant.h"

#include <fmt/core.h>

namespace millrace::server {
namespace {

constexpr size_t kMostBytes = 128;

}  // namespace

std::string tenant_name(const HttpRequest& request, const Principal& who, const std::string& field) {
  if (who.gateway) {
    for (std::string_view name : {"x-gateway-inference-fairness-id", "x-llm-d-inference-fairness-id"}) {
      const std::string* value = request.header(name);
      if (value != nullptr && !value->empty() && value->size() <= kMostBytes) return *value;
    }
    if (!field.empty()) return field;
  }
  return who.tenant == 0 ? "" : fmt::format("key-{}", who.tenant);
}

}  // namespace millrace::server
