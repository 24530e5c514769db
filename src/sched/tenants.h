// TenantBook: one account per tenant that has sequences or had some lately. Fair policies keep their numbers in it, so
// that the choice of a policy does not decide who remembers what.
//  1. An account with sequences stays where it is; of those without, the kMostIdle latest are remembered.
//  2. Debt is kept while idle; what is saved up meanwhile is the affair of the policy.
// Thread: engine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace millrace::sched {

using TenantIdx = uint32_t;  // index into TenantBook

struct TenantAccount {
  uint32_t tenant = 0;
  uint32_t weight = 1;
  uint32_t n_seqs = 0;    // waiting, live and draining
  uint32_t n_queued = 0;  // of those waiting for their first admission
  int64_t credit = 0;     // dlpm: service units it may still use in `round`
  uint64_t round = 0;     // dlpm: the last round that it got its credit of
  uint64_t counter = 0;   // vtc: service units / weight, in 1/kCounterUnit
  uint64_t served = 0;    // service units, ever
  uint64_t idle_since = 0;
};

class TenantBook {
 public:
  static constexpr size_t kMostIdle = 1024;
  static constexpr uint64_t kCounterUnit = 65536;

  // A sequence of this tenant appears; weight >= 1 replaces the one known. The account stays until close().
  TenantIdx open(uint32_t tenant, uint32_t weight);
  void close(TenantIdx idx);
  TenantAccount& at(TenantIdx idx) { return accounts_[idx]; }
  const TenantAccount& at(TenantIdx idx) const { return accounts_[idx]; }
  // Indices below size() are valid; accounts without sequences may be among them.
  size_t size() const { return accounts_.size(); }
  // Rounds of dlpm so far; the first has begun before anybody came.
  uint64_t round() const { return round_; }
  void begin_rounds(uint64_t n) { round_ += n; }
  // Takes `units` of service: counter, credit and total.
  void charge(TenantIdx idx, uint64_t units);

 private:
  TenantIdx place_for(uint32_t tenant);
  uint64_t least_counter() const;

  std::vector<TenantAccount> accounts_;
  std::unordered_map<uint32_t, TenantIdx> index_;  // looked up only
  uint64_t round_ = 1;
  size_t n_idle_ = 0;
  uint64_t n_closed_ = 0;
  uint64_t last_counter_ = 0;  // of the tenant that became idle last
};

}  // namespace millrace::sched
