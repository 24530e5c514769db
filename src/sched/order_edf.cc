// Order edf: least slack first, slack = deadline - now - predicted time of the prompt. A request that can no longer
// meet its deadline steps back behind all others instead of making them late too ("eager relegation", Niyama, arXiv
// 2503.22562). Requests without any deadline stand between: they lose nothing by waiting.
#include <algorithm>
#include <tuple>

#include "sched/policies.h"

namespace millrace::sched {
namespace {

enum Standing : uint8_t { kOnTime, kNoDeadline, kRelegated };

struct Ranked {
  Standing standing = kNoDeadline;
  Tick slack = 0;      // of kOnTime
  size_t arrival = 0;  // place among the waiting
  SeqId id = kNoSeq;
  bool operator<(const Ranked& other) const {
    return std::tie(standing, slack, arrival) < std::tie(other.standing, other.slack, other.arrival);
  }
};

class Edf final : public Order {
 public:
  explicit Edf(const SchedOptions& options) : ttft_target_(options.ttft_target) {}

  void rank(const OrderView& view, std::span<const Waiter> waiting, size_t limit, std::vector<SeqId>& out) override {
    ranked_.clear();
    for (size_t i = 0; i < waiting.size(); ++i) ranked_.push_back(judge(view, waiting[i].id, i));
    size_t n = std::min(limit, ranked_.size());
    std::partial_sort(ranked_.begin(), ranked_.begin() + static_cast<std::ptrdiff_t>(n), ranked_.end());
    for (size_t i = 0; i < n; ++i) out.push_back(ranked_[i].id);
  }

 private:
  Ranked judge(const OrderView& view, SeqId id, size_t arrival) const {
    const Seq& seq = view.seqs.at(id);
    Ranked ranked{.standing = kNoDeadline, .slack = 0, .arrival = arrival, .id = id};
    Tick due = earliest(*seq.request);
    if (due == 0) return ranked;
    StepShape prompt{.n_prefill = seq.n_prompt(), .ctx_prefill = row_context(0, seq.n_prompt())};
    Tick slack = due - view.now - view.cost.predict(prompt);
    ranked.standing = slack >= 0 ? kOnTime : kRelegated;
    if (slack >= 0) ranked.slack = slack;
    return ranked;
  }

  // The earliest of the deadlines it has; 0 = none.
  Tick earliest(const flow::GenerateRequest& request) const {
    Tick ttft = request.ttft_slo != 0 ? request.ttft_slo : ttft_target_;
    Tick first = ttft != 0 ? request.arrival + ttft : 0;
    if (request.deadline == 0 || first == 0) return std::max(request.deadline, first);
    return std::min(request.deadline, first);
  }

  Tick ttft_target_;
  std::vector<Ranked> ranked_;  // scratch
};

}  // namespace

std::unique_ptr<Order> make_edf(const SchedOptions& options) { return std::make_unique<Edf>(options); }

}  // namespace millrace::sched
