// Order vtc: the tenant with the least weighted service first, its oldest request (Virtual Token Counter, Sheng et al.,
// arXiv 2401.00588). Counters are charged for what steps really compute; within one plan the requests placed so far
// count as served, so that a burst of one tenant does not fill it. A tenant's requests keep their order of arrival, so
// a barrier needs no place of its own.
#include <algorithm>

#include "sched/policies.h"

namespace millrace::sched {
namespace {

class Vtc final : public Order {
 public:
  void rank(const OrderView& view, std::span<const Waiter> waiting, size_t limit, std::vector<SeqId>& out) override {
    collect(view, waiting);
    for (size_t n = std::min(limit, waiting.size()); n > 0; --n) {
      auto least = std::min_element(queues_.begin(), queues_.end(), before);
      SeqId id = waiting[least->head].id;
      out.push_back(id);
      least->counter += static_cast<double>(view.seqs.at(id).n_prompt() * kPromptUnits) / least->weight;
      least->head = next_[least->head];
      if (least->head == kEnd) queues_.erase(least);
    }
  }

 private:
  static constexpr size_t kEnd = SIZE_MAX;

  struct Queue {
    double weight = 1;
    double counter = 0;  // service units per weight
    size_t head = kEnd;  // the tenant's oldest request not yet placed
  };

  static bool before(const Queue& a, const Queue& b) {
    return a.counter != b.counter ? a.counter < b.counter : a.head < b.head;
  }

  // One queue per tenant, chained through next_.
  void collect(const OrderView& view, std::span<const Waiter> waiting) {
    const TenantBook& book = view.seqs.tenants();
    queues_.clear();
    next_.assign(waiting.size(), kEnd);
    head_of_.assign(book.size(), kEnd);
    for (size_t i = waiting.size(); i-- > 0;) {
      next_[i] = head_of_[waiting[i].tenant];
      head_of_[waiting[i].tenant] = i;
    }
    for (TenantIdx tenant = 0; tenant < head_of_.size(); ++tenant) {
      if (head_of_[tenant] == kEnd) continue;
      const TenantAccount& account = book.at(tenant);
      queues_.push_back(
          {.weight = static_cast<double>(account.weight),
           .counter = static_cast<double>(account.counter) / static_cast<double>(TenantBook::kCounterUnit),
           .head = head_of_[tenant]});
    }
  }

  std::vector<Queue> queues_;    // scratch
  std::vector<size_t> next_;     // scratch: by place among the waiting
  std::vector<size_t> head_of_;  // scratch: by TenantIdx
};

}  // namespace

std::unique_ptr<Order> make_vtc(const SchedOptions&) { return std::make_unique<Vtc>(); }

}  // namespace millrace::sched
