// Order fcfs and priority: by arrival. The two differ in their rows: fcfs sees one band.
#include <algorithm>

#include "sched/policies.h"

namespace millrace::sched {
namespace {

class Fcfs final : public Order {
 public:
  void rank(const OrderView&, std::span<const Waiter> waiting, size_t limit, std::vector<SeqId>& out) override {
    for (const Waiter& waiter : waiting.first(std::min(limit, waiting.size()))) out.push_back(waiter.id);
  }
};

}  // namespace

std::unique_ptr<Order> make_fcfs(const SchedOptions&) { return std::make_unique<Fcfs>(); }

}  // namespace millrace::sched
