// Order: FCFS and strict priority. Key, ascending: (-band, class, seniority or arrival, number, fork); class 0 =
// decoding or often preempted, 1 = prefill in progress, resumed, or a barrier, 2 = waiting, and parked ones last.
#include <algorithm>
#include <tuple>

#include "sched/policy.h"

namespace millrace::sched {
namespace {

constexpr size_t kMostWaiting = 128;  // waiting sequences looked at per step

struct Place {
  int32_t negative_band = 0;
  uint8_t parked = 0;
  uint8_t level = 0;
  uint64_t major = 0;
  uint64_t number = 0;
  uint32_t fork = 0;
  SeqId id = kNoSeq;

  auto key() const { return std::tie(parked, negative_band, level, major, number, fork); }
  bool operator<(const Place& other) const { return key() < other.key(); }
};

class RankedOrder : public Order {
 public:
  explicit RankedOrder(const SchedOptions& options) : options_(options) {}

  void place(const SeqTable& seqs, Tick now, bool with_waiting, std::vector<SeqId>& out) override {
    places_.clear();
    for (SeqId id : seqs.live()) places_.push_back(place_of(seqs.at(id), now));
    auto n_live = static_cast<std::ptrdiff_t>(places_.size());
    if (with_waiting) {
      for (SeqId id : seqs.waiting()) {
        if (!seqs.at(id).parked) places_.push_back(place_of(seqs.at(id), now));
      }
      auto n_waiting = std::min(places_.size() - static_cast<size_t>(n_live), kMostWaiting);
      auto end = places_.begin() + n_live + static_cast<std::ptrdiff_t>(n_waiting);
      std::partial_sort(places_.begin() + n_live, end, places_.end());
      places_.erase(end, places_.end());
    }
    std::sort(places_.begin(), places_.end());
    out.clear();
    for (const Place& place : places_) out.push_back(place.id);
  }

 private:
  Place place_of(const Seq& seq, Tick now) const {
    Place place{.negative_band = -band(seq), .number = seq.rank.number, .fork = seq.fork, .id = seq.id};
    bool resumed = seq.rank.seniority != 0;
    if (seq.state == SeqState::kLive) {
      place.parked = seq.parked ? 1 : 0;
      bool decoding = seq.n_known() + seq.progress.placeholders - seq.progress.computed <= 1;
      place.level = decoding || seq.rank.n_preempted_by_others >= options_.k_preempt ? 0 : 1;
    } else if (resumed) {
      place.level = seq.rank.n_preempted_by_others >= options_.k_preempt ? 0 : 1;
    } else {
      place.level = is_barrier(seq, now, options_) ? 1 : 2;
    }
    // a barrier that never ran stands behind all that did
    place.major = resumed ? seq.rank.seniority : (uint64_t{1} << 63) + static_cast<uint64_t>(seq.request->arrival);
    return place;
  }

  SchedOptions options_;
  std::vector<Place> places_;  // scratch
};

class FcfsOrder final : public RankedOrder {
 public:
  using RankedOrder::RankedOrder;
  int32_t band(const Seq&) const override { return 0; }
};

class PriorityOrder final : public RankedOrder {
 public:
  using RankedOrder::RankedOrder;
  int32_t band(const Seq& seq) const override { return seq.request->band; }
};

}  // namespace

bool is_barrier(const Seq& seq, Tick now, const SchedOptions& options) {
  return seq.rank.n_bypassed >= options.k_bypass || now - seq.rank.waiting_since >= options.barrier_age;
}

std::unique_ptr<Order> make_order(const SchedOptions& options) {
  switch (options.order) {
    case OrderKind::kFcfs:
      return std::make_unique<FcfsOrder>(options);
    case OrderKind::kPriority:
      break;
  }
  return std::make_unique<PriorityOrder>(options);
}

}  // namespace millrace::sched
