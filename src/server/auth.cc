#include "server/auth.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"

namespace millrace::server {
namespace {

constexpr std::string_view kBearer = "bearer ";

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

Keys::Keys(const std::vector<std::string>& keys, const std::vector<std::string>& admin_keys, bool metrics_auth,
           bool admin_always, size_t n_gateway)
    : metrics_auth_(metrics_auth), admin_always_(admin_always) {
  add(keys, false, n_gateway);
  add(admin_keys, true, 0);
}

Keys Keys::replaced(const std::vector<std::string>& keys, const std::vector<std::string>& admin_keys,
                    size_t n_gateway) const {
  Keys out = *this;
  out.known_.clear();
  out.add(keys, false, n_gateway);
  out.add(admin_keys, true, 0);
  return out;
}

void Keys::add(const std::vector<std::string>& keys, bool admin, size_t n_gateway) {
  for (size_t i = 0; i < keys.size(); ++i) {
    uint32_t number = numbers_.emplace(keys[i], static_cast<uint32_t>(numbers_.size() + 1)).first->second;
    bool gateway = i + n_gateway >= keys.size();
    auto same = std::find_if(known_.begin(), known_.end(), [&](const Known& one) { return one.key == keys[i]; });
    if (same == known_.end()) {
      known_.push_back({keys[i], {.tenant = number, .admin = admin, .gateway = gateway}});
    } else {
      same->principal.admin = same->principal.admin || admin;
      same->principal.gateway = same->principal.gateway || gateway;
    }
  }
}

// Looks at all of them, so that the time says nothing of where one was found.
const Keys::Known* Keys::find(std::string_view key) const {
  const Known* found = nullptr;
  for (const Known& one : known_) {
    if (equal_constant_time(one.key, key)) found = &one;
  }
  return found;
}

Result<Principal> Keys::check(const HttpRequest& request, AuthClass wanted) const {
  Principal principal;
  if (wanted == AuthClass::kOpen || (wanted == AuthClass::kMetrics && !metrics_auth_)) return principal;
  if (known_.empty() && !(wanted == AuthClass::kAdmin && admin_always_)) {
    principal.admin = true;
    return principal;
  }
  std::string_view key = presented_key(request);
  Error refused{ErrorCode::kInvalidApiKey, "no API key, or one that is not known", ""};
  if (key.empty() || std::ssize(key) > Limits()[LimitId::kKeyBytes]) return refused;
  const Known* found = find(key);
  if (found == nullptr) return refused;  // with only admin keys set, other routes still need one of them
  if (wanted == AuthClass::kAdmin && !found->principal.admin) {
    return Error{ErrorCode::kAdminKeyRequired, "this route needs an admin key", ""};
  }
  return found->principal;
}

}  // namespace millrace::server
