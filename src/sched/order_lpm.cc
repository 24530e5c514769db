// Order lpm: the longest cached prefix first, then arrival; among the oldest requests of the band (SGLang's policy of
// that name, arXiv 2312.07104 section 3, with a bounded number of candidates).
#include <algorithm>

#include "sched/policies.h"
#include "sched/prefix_rank.h"

namespace millrace::sched {
namespace {

class Lpm final : public Order {
 public:
  void rank(const OrderView& view, std::span<const Waiter> waiting, size_t limit, std::vector<SeqId>& out) override {
    ranked_.clear();
    for (const Waiter& waiter : waiting.first(std::min(limit, waiting.size()))) {
      ranked_.push_back({.n_cached = peek_.cached_tokens(view, waiter.id),
                         .arrival = static_cast<uint32_t>(ranked_.size()),
                         .id = waiter.id});
    }
    std::sort(ranked_.begin(), ranked_.end());
    for (const PrefixRanked& ranked : ranked_) out.push_back(ranked.id);
  }

 private:
  PrefixPeek peek_;
  std::vector<PrefixRanked> ranked_;  // scratch
};

}  // namespace

std::unique_ptr<Order> make_lpm(const SchedOptions&) { return std::make_unique<Lpm>(); }

}  // namespace millrace::sched
