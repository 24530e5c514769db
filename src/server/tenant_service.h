// TenantService: tokens served to each tenant, for millrace:tenant_service_tokens: prompt tokens that were computed and
// tokens that were generated, counted as answers end.
//  1. At most kMostTenants have a series of their own, the first to be served; all others share one, so that no client
//     can make the exposition grow.
// Thread: any; a short lock.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::server {

class TenantService {
 public:
  static constexpr size_t kMostTenants = 64;
  static constexpr std::string_view kNobody = "default";  // requests of no tenant
  static constexpr std::string_view kOthers = "other";

  void add(std::string_view tenant, uint64_t n_tokens);
  // By name. There is always one: that of no tenant.
  std::vector<std::pair<std::string, uint64_t>> tokens() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, uint64_t, std::less<>> tokens_{{std::string(kNobody), 0}};  // guarded by mutex_
};

}  // namespace millrace::server
