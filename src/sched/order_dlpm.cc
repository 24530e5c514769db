// Order dlpm: among tenants with credit left, the longest cached prefix first, then the tenant with most of its credit
// left, then arrival; when none of the waiting tenants has credit, a round begins: each gets a quantum per unit of
// weight (Deficit Longest Prefix Match, Cao et al., arXiv 2501.14312). Credit is charged for what steps really compute;
// within one plan the requests placed so far count.
//  1. A tenant never holds more credit than one quantum times its weight. Rounds that it slept through count for it, so
//     who asks seldom is served at once.
//  2. Every tenant that waits has candidates, however many requests the others queue.
//  3. A tenant's barriers come before its other requests, by arrival: prefixes starve nobody.
//  4. Between tenants a cached prefix counts by eighths of the prompt: a greeting that is cached passes nobody over.
#include <algorithm>

#include "sched/policies.h"
#include "sched/prefix_rank.h"

namespace millrace::sched {
namespace {

class Dlpm final : public Order {
 public:
  explicit Dlpm(const SchedOptions& options) : quantum_(options.quantum) {}

  void rank(const OrderView& view, std::span<const Waiter> waiting, size_t limit, std::vector<SeqId>& out) override {
    meet_tenants(view.seqs.tenants(), waiting);
    if (!any_credit()) grant(view.seqs.tenants());
    choose_candidates(view, waiting, limit);
    std::sort(candidates_.begin(), candidates_.end());
    take_turns(view, out);
  }

  // It has more of its quantum left. Who does not wait has not been paid the last rounds yet.
  bool owes(const OrderView& view, const Seq& waiting, const Seq& running) const override {
    if (waiting.tenant == running.tenant) return false;
    const TenantBook& book = view.seqs.tenants();
    const TenantAccount& mine = book.at(waiting.tenant);
    const TenantAccount& theirs = book.at(running.tenant);
    int64_t left = credit_of(mine, book.round());
    return left > 0 && left * theirs.weight > credit_of(theirs, book.round()) * mine.weight;
  }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;

  struct Tenant {
    TenantIdx idx = 0;
    int64_t quantum = 0;
    int64_t credit = 0;   // what is left after the requests placed so far
    uint32_t n_left = 0;  // candidates not yet placed
    size_t next = 0;      // the best of them
  };
  struct Candidate {
    bool barrier = false;
    uint32_t n_cached = 0;  // tokens
    uint32_t eighths = 0;   // of the prompt, that are cached
    uint32_t arrival = 0;   // place among the waiting
    uint32_t tenant = 0;    // index into tenants_
    SeqId id = kNoSeq;
    bool operator<(const Candidate& other) const {
      if (tenant != other.tenant) return tenant < other.tenant;
      if (barrier != other.barrier) return barrier;
      if (!barrier && n_cached != other.n_cached) return n_cached > other.n_cached;
      return arrival < other.arrival;
    }
  };

  void meet_tenants(TenantBook& book, std::span<const Waiter> waiting) {
    tenants_.clear();
    place_of_.assign(book.size(), kNone);
    for (const Waiter& waiter : waiting) {
      uint32_t& place = place_of_[waiter.tenant];
      if (place != kNone) continue;
      place = static_cast<uint32_t>(tenants_.size());
      TenantAccount& account = book.at(waiter.tenant);
      pay_rounds(account, book.round());
      tenants_.push_back(
          {.idx = waiter.tenant, .quantum = int64_t{quantum_} * account.weight, .credit = account.credit});
    }
  }

  // With the rounds that began since the tenant last waited.
  int64_t credit_of(const TenantAccount& account, uint64_t round) const {
    constexpr uint64_t kMostRounds = 1 << 20;  // debts are far smaller
    int64_t quantum = int64_t{quantum_} * account.weight;
    auto rounds = static_cast<int64_t>(std::min(round - account.round, kMostRounds));
    return std::min(account.credit + rounds * quantum, quantum);
  }
  void pay_rounds(TenantAccount& account, uint64_t round) const {
    account.credit = credit_of(account, round);
    account.round = round;
  }

  bool any_credit() const {
    return std::ranges::any_of(tenants_, [](const Tenant& tenant) { return tenant.credit > 0; });
  }

  void grant(TenantBook& book) {
    book.begin_rounds(static_cast<uint64_t>(next_round([](const Tenant&) { return true; })));
    for (const Tenant& tenant : tenants_) pay_rounds(book.at(tenant.idx), book.round());
  }

  // As many quanta for each that waits as it takes until one of them has credit. Returns how many.
  template <class Waits>
  int64_t next_round(Waits waits) {
    int64_t rounds = INT64_MAX;
    for (const Tenant& tenant : tenants_) {
      if (waits(tenant)) rounds = std::min(rounds, -tenant.credit / tenant.quantum + 1);
    }
    for (Tenant& tenant : tenants_) {
      if (waits(tenant)) tenant.credit = std::min(tenant.credit + rounds * tenant.quantum, tenant.quantum);
    }
    return rounds;
  }

  // The oldest requests, an equal number for every tenant as far as they have them.
  void choose_candidates(const OrderView& view, std::span<const Waiter> waiting, size_t limit) {
    candidates_.clear();
    auto share = static_cast<uint32_t>(std::max<size_t>(limit / tenants_.size(), 1));
    for (uint32_t i = 0; i < waiting.size() && candidates_.size() < limit; ++i) {
      if (tenants_[place_of_[waiting[i].tenant]].n_left < share) add_candidate(view, waiting[i], i);
    }
    size_t n_chosen = candidates_.size();  // by arrival
    size_t next = 0;
    for (uint32_t i = 0; i < waiting.size() && candidates_.size() < limit; ++i) {
      bool chosen = next < n_chosen && candidates_[next].arrival == i;
      next += chosen ? 1 : 0;
      if (!chosen) add_candidate(view, waiting[i], i);
    }
  }

  void add_candidate(const OrderView& view, const Waiter& waiter, uint32_t arrival) {
    uint32_t tenant = place_of_[waiter.tenant];
    ++tenants_[tenant].n_left;
    uint32_t n_cached = peek_.cached_tokens(view, waiter.id);
    candidates_.push_back({.barrier = view.seqs.is_barrier(waiter, view.now),
                           .n_cached = n_cached,
                           .eighths = n_cached * 8 / view.seqs.at(waiter.id).n_prompt(),
                           .arrival = arrival,
                           .tenant = tenant,
                           .id = waiter.id});
  }

  // What the coming plans would do one by one: requests of tenants with credit in order, then the next round.
  void take_turns(const OrderView& view, std::vector<SeqId>& out) {
    for (size_t i = candidates_.size(); i-- > 0;) tenants_[candidates_[i].tenant].next = i;
    std::erase_if(tenants_, [](const Tenant& tenant) { return tenant.n_left == 0; });
    for (size_t n = candidates_.size(); n > 0; --n) {
      if (!any_credit()) next_round([](const Tenant&) { return true; });
      auto first =
          std::ranges::max_element(tenants_, [this](const Tenant& a, const Tenant& b) { return before(b, a); });
      const Candidate& candidate = candidates_[first->next++];
      out.push_back(candidate.id);
      first->credit -= int64_t{view.seqs.at(candidate.id).n_prompt() - candidate.n_cached} * kPromptUnits;
      if (--first->n_left == 0) tenants_.erase(first);
    }
  }

  // Is it the turn of `a` rather than of `b`?
  bool before(const Tenant& a, const Tenant& b) const {
    if ((a.credit > 0) != (b.credit > 0)) return a.credit > 0;
    const Candidate& mine = candidates_[a.next];
    const Candidate& theirs = candidates_[b.next];
    if (mine.eighths != theirs.eighths) return mine.eighths > theirs.eighths;
    int64_t left = a.credit * b.quantum;  // parts of a quantum, compared crosswise
    int64_t other = b.credit * a.quantum;
    return left != other ? left > other : mine.arrival < theirs.arrival;
  }

  uint32_t quantum_;
  PrefixPeek peek_;
  std::vector<Tenant> tenants_;        // scratch: those of the band that wait
  std::vector<uint32_t> place_of_;     // scratch: TenantIdx to index into tenants_
  std::vector<Candidate> candidates_;  // scratch
};

}  // namespace

std::unique_ptr<Order> make_dlpm(const SchedOptions& options) { return std::make_unique<Dlpm>(options); }

}  // namespace millrace::sched
