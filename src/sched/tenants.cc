#include "sched/tenants.h"

#include <algorithm>

#include "base/macros.h"

namespace millrace::sched {

TenantIdx TenantBook::open(uint32_t tenant, uint32_t weight) {
  auto found = index_.find(tenant);
  TenantIdx idx = found != index_.end() ? found->second : place_for(tenant);
  TenantAccount& account = accounts_[idx];
  account.weight = std::max(weight, 1u);
  if (account.n_seqs == 0) {
    // "Counter lift" of VTC (Sheng et al., Fairness in Serving Large Language Models, algorithm 2): who was away does
    // not come back with a lead.
    account.counter = std::max(account.counter, least_counter());
    --n_idle_;
  }
  ++account.n_seqs;
  return idx;
}

void TenantBook::close(TenantIdx idx) {
  TenantAccount& account = accounts_[idx];
  CHECK(account.n_seqs > 0, "tenant {} has no sequence to close", account.tenant);
  if (--account.n_seqs > 0) return;
  account.idle_since = ++n_closed_;
  last_counter_ = account.counter;
  ++n_idle_;
}

void TenantBook::charge(TenantIdx idx, uint64_t units) {
  TenantAccount& account = accounts_[idx];
  account.credit -= static_cast<int64_t>(units);
  account.counter += units * kCounterUnit / account.weight;
  account.served += units;
}

// A new account, or the one idle longest when enough are remembered.
TenantIdx TenantBook::place_for(uint32_t tenant) {
  TenantIdx idx = 0;
  if (n_idle_ < kMostIdle) {
    idx = static_cast<TenantIdx>(accounts_.size());
    accounts_.emplace_back();
    ++n_idle_;
  } else {
    uint64_t oldest = UINT64_MAX;
    for (size_t i = 0; i < accounts_.size(); ++i) {
      if (accounts_[i].n_seqs > 0 || accounts_[i].idle_since >= oldest) continue;
      oldest = accounts_[i].idle_since;
      idx = static_cast<TenantIdx>(i);
    }
    index_.erase(accounts_[idx].tenant);
    accounts_[idx] = {};
  }
  accounts_[idx].tenant = tenant;
  index_.emplace(tenant, idx);
  return idx;
}

uint64_t TenantBook::least_counter() const {
  uint64_t least = UINT64_MAX;
  for (const TenantAccount& account : accounts_) {
    if (account.n_seqs > 0) least = std::min(least, account.counter);
  }
  return least == UINT64_MAX ? last_counter_ : least;
}

}  // namespace millrace::sched
