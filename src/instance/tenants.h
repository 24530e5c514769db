// TenantTable: names of tenants (an API key, or what a gateway says in its fairness header) to small numbers, their
// weights, and their quotas of tokens per minute.
//  1. At most kMostNames names are told apart; all later ones share one tenant, so no client can make the table grow.
//  2. A quota is a bucket that fills evenly and holds one minute of tokens: a request passes while there is anything in
//     it and pays for its prompt at once, for its answer when it ends, so the bucket may be overdrawn.
// Thread: any; a short lock.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace millrace::instance {

struct TenantRule {
  std::string name;
  uint32_t weight = 1;
  uint64_t tokens_per_minute = 0;  // 0 = no quota
};

// "NAME:WEIGHT" or "NAME:WEIGHT:TOKENS_PER_MINUTE". kUsage with the text, the field and its range.
Result<TenantRule> parse_tenant_rule(std::string_view text);

struct Tenant {
  uint32_t id = 0;
  uint32_t weight = 1;
};

class TenantTable {
 public:
  static constexpr size_t kMostNames = 4096;

  explicit TenantTable(std::vector<TenantRule> rules = {});

  Tenant intern(std::string_view name);
  // "" for those without a name of their own.
  std::string name(uint32_t id);
  // Pays for the prompt of a request, or refuses it: kRateLimitExceeded with the quota and the time to wait.
  Result<void> admit(uint32_t id, uint64_t n_tokens, Tick now);
  // Seconds until it would be admitted, at least 1 while it would not be.
  int64_t wait_s(uint32_t id, Tick now);
  // A request that was admitted did not run after all.
  void refund(uint32_t id, uint64_t n_tokens);
  // Pays for tokens that were generated.
  void charge(uint32_t id, uint64_t n_tokens, Tick now);

 private:
  struct Account {
    std::string name;
    uint32_t weight = 1;
    uint64_t tokens_per_minute = 0;
    double left = 0;  // tokens
    Tick filled_at = 0;
  };
  static void fill(Account& account, Tick now);
  static int64_t wait_s(const Account& account);

  std::mutex mutex_;
  std::vector<Account> accounts_;                     // guarded by mutex_; by id; 0 = those without a name of their own
  std::map<std::string, uint32_t, std::less<>> ids_;  // guarded by mutex_
};

}  // namespace millrace::instance
