#include "server/tenant_service.h"

namespace millrace::server {

void TenantService::add(std::string_view tenant, uint64_t n_tokens) {
  if (tenant.empty()) tenant = kNobody;
  std::lock_guard lock(mutex_);
  auto found = tokens_.find(tenant);
  if (found == tokens_.end() && tokens_.size() >= kMostTenants) found = tokens_.find(kOthers);
  if (found == tokens_.end()) {
    std::string_view name = tokens_.size() + 1 < kMostTenants ? tenant : kOthers;
    found = tokens_.emplace(std::string(name), 0).first;
  }
  found->second += n_tokens;
}

std::vector<std::pair<std::string, uint64_t>> TenantService::tokens() const {
  std::lock_guard lock(mutex_);
  return {tokens_.begin(), tokens_.end()};
}

}  // namespace millrace::server
