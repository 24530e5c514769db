#include "server/auth.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"

namespace millrace::server {
namespace {

constexpr std::string_view kBearer = "bearer ";
constexpr size_t kMaxKeyBytes = 512;  // limit key_bytes (fixed)

std::string_view presented_key(const HttpRequest& request) {
  if (const std::string* value = request.header("authorization")) {
    if (value->size() > kBearer.size() && to_lower(std::string_view(*value).substr(0, kBearer.size())) == kBearer) {
      return std::string_view(*value).substr(kBearer.size());
    }
    return {};
  }
  for (std::string_view name : {"x-api-key", "api-key"}) {
    if (const std::string* value = request.header(name)) return *value;
  }
  return {};
}

// 1 + index of the key, 0 when it is not among them; looks at all of them.
uint32_t find_key(const std::vector<std::string>& keys, std::string_view key) {
  uint32_t found = 0;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (equal_constant_time(keys[i], key)) found = static_cast<uint32_t>(i + 1);
  }
  return found;
}

}  // namespace

bool equal_constant_time(std::string_view a, std::string_view b) {
  // Runs over the longer text; the length itself is no secret.
  size_t n = std::max(a.size(), b.size());
  volatile unsigned difference = a.size() == b.size() ? 0u : 1u;
  for (size_t i = 0; i < n; ++i) {
    auto x = static_cast<unsigned char>(i < a.size() ? a[i] : 0);
    auto y = static_cast<unsigned char>(i < b.size() ? b[i] : 0);
    difference = difference | static_cast<unsigned>(x ^ y);
  }
  return difference == 0;
}

Keys::Keys(std::vector<std::string> keys, std::vector<std::string> admin_keys, bool metrics_auth, bool admin_always)
    : keys_(std::move(keys)),
      admin_keys_(std::move(admin_keys)),
      metrics_auth_(metrics_auth),
      admin_always_(admin_always) {}

Result<Principal> Keys::check(const HttpRequest& request, AuthClass wanted) const {
  Principal principal;
  if (wanted == AuthClass::kOpen || (wanted == AuthClass::kMetrics && !metrics_auth_)) return principal;
  bool any_key = !keys_.empty() || !admin_keys_.empty();
  if (!any_key && !(wanted == AuthClass::kAdmin && admin_always_)) {
    principal.admin = true;
    return principal;
  }
  std::string_view key = presented_key(request);
  Error refused{ErrorCode::kInvalidApiKey, "no API key, or one that is not known", ""};
  if (key.empty() || key.size() > kMaxKeyBytes) return refused;
  uint32_t admin = find_key(admin_keys_, key);
  uint32_t user = find_key(keys_, key);
  if (admin == 0 && user == 0) {
    // With only admin keys set, other routes still need one of them.
    return refused;
  }
  principal.admin = admin != 0;
  principal.tenant = user != 0 ? user : static_cast<uint32_t>(keys_.size()) + admin;
  if (wanted == AuthClass::kAdmin && !principal.admin) {
    return Error{ErrorCode::kAdminKeyRequired, "this route needs an admin key", ""};
  }
  return principal;
}

}  // namespace millrace::server
