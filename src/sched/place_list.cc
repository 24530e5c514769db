#include "sched/place_list.h"

#include <algorithm>

namespace millrace::sched {
namespace {

constexpr size_t kMostOwed = 4;  // waiting ones: each costs a look at every prompt in progress

enum Level : uint8_t { kRunning, kOwedCatchingUp, kOwed, kCatchingUp, kBarrier, kFresh };

bool decodes(const Seq& seq) {
  return seq.state == SeqState::kLive && seq.n_known() + seq.progress.placeholders - seq.progress.computed <= 1;
}

// Higher bands sort first.
uint64_t group_of(bool parked, int32_t band, Level level) {
  return uint64_t{parked} << 40 | static_cast<uint64_t>(INT16_MAX - band) << 8 | level;
}

}  // namespace

PlaceList::PlaceList(const SchedOptions& options)
    : row_(row_of(options.order)),
      k_preempt_(options.k_preempt),
      n_candidates_(options.n_candidates),
      order_(row_.make(options)) {
  places_.reserve(size_t{options.max_live} + options.n_candidates);
  ids_.reserve(places_.capacity());
}

void PlaceList::build(const OrderView& view, bool with_waiting) {
  begin(view);
  if (with_waiting) {
    for (SeqId id : view.seqs.resumed()) add_ran(view, view.seqs.at(id));
    add_fresh(view, n_candidates_);
  }
  sort_places();
}

void PlaceList::build_all(const OrderView& view) {
  begin(view);
  for (SeqId id : view.seqs.resumed()) add_ran(view, view.seqs.at(id));
  add_fresh(view, view.seqs.fresh().size());
  sort_places();
}

void PlaceList::begin(const OrderView& view) {
  places_.clear();
  owed_.clear();
  catching_up_.clear();
  decodes_ = false;
  for (SeqId id : view.seqs.live()) {
    const Seq& seq = view.seqs.at(id);
    if (seq.parked || seq.held) continue;
    if (decodes(seq)) {
      decodes_ = true;
    } else {
      catching_up_.push_back(id);
    }
  }
  for (SeqId id : view.seqs.live()) add_ran(view, view.seqs.at(id));
}

void PlaceList::sort_places() {
  if (!std::is_sorted(places_.begin(), places_.end())) std::sort(places_.begin(), places_.end());
  ids_.clear();
  for (const Place& place : places_) ids_.push_back(place.id);
}

void PlaceList::add_ran(const OrderView& view, const Seq& seq) {
  bool aside = seq.parked || seq.held;
  Level level = decodes(seq) || seq.rank.n_preempted_by_others >= k_preempt_ ? kRunning : kCatchingUp;
  if (level == kCatchingUp && seq.state == SeqState::kLive && !aside && is_owed(view, seq)) {
    level = kOwedCatchingUp;
    owed_.push_back(seq.id);
  }
  places_.push_back(
      {.group = group_of(aside, band_of(seq.request->band), level), .within = seq.rank.seniority, .id = seq.id});
}

// Something decodes (so it is not the head, which may take what others hold), nobody was preempted, and every other
// prompt in progress is of its own tenant or of one that has had more of its part; one at least is.
bool PlaceList::is_owed(const OrderView& view, const Seq& seq) const {
  if (!decodes_ || !view.seqs.resumed().empty()) return false;
  bool passes = false;
  for (SeqId id : catching_up_) {
    const Seq& other = view.seqs.at(id);
    if (other.tenant == seq.tenant) continue;
    if (!order_->owes(view, seq, other)) return false;
    passes = true;
  }
  return passes;
}

// Band by band, the highest first, until there are enough candidates.
void PlaceList::add_fresh(const OrderView& view, size_t limit) {
  const std::vector<Waiter>& fresh = view.seqs.fresh();
  auto band = [this](const Waiter& waiter) { return band_of(waiter.band); };
  bool one_band = std::ranges::all_of(fresh, [&](const Waiter& w) { return band(w) == band(fresh.front()); });
  if (one_band) {
    add_band(view, fresh, limit);
    return;
  }
  int32_t above = INT16_MAX + 1;
  for (size_t n_left = limit; n_left > 0;) {
    int32_t highest = INT32_MIN;
    for (const Waiter& waiter : fresh) {
      if (band(waiter) < above) highest = std::max(highest, band(waiter));
    }
    if (highest == INT32_MIN) return;
    band_.clear();
    for (const Waiter& waiter : fresh) {
      if (band(waiter) == highest) band_.push_back(waiter);
    }
    size_t before = places_.size();
    add_band(view, band_, n_left);
    n_left -= places_.size() - before;
    above = highest;
  }
}

void PlaceList::add_band(const OrderView& view, std::span<const Waiter> band, size_t limit) {
  if (band.empty()) return;
  size_t n_barriers = 0;
  auto barrier = [&](const Waiter& waiter) { return view.seqs.is_barrier(waiter, view.now); };
  if (row_.barriers_first && std::ranges::any_of(band, barrier)) {
    others_.clear();
    for (const Waiter& waiter : band) {
      if (!barrier(waiter)) {
        others_.push_back(waiter);
      } else if (n_barriers < limit) {
        places_.push_back(
            {.group = group_of(false, band_of(waiter.band), kBarrier), .within = n_barriers++, .id = waiter.id});
      }
    }
    band = others_;
  }
  if (band.empty() || n_barriers == limit) return;
  ranked_.clear();
  int32_t number = band_of(band.front().band);
  order_->rank(view, band, limit - n_barriers, ranked_);
  bool owed = true;  // as far as those before it are
  for (size_t i = 0; i < ranked_.size(); ++i) {
    const Seq& seq = view.seqs.at(ranked_[i]);
    owed = owed && i < kMostOwed && !view.seqs.is_barrier(seq, view.now) && is_owed(view, seq);
    if (owed) owed_.push_back(seq.id);
    places_.push_back({.group = group_of(false, number, owed ? kOwed : kFresh), .within = i, .id = ranked_[i]});
  }
}

}  // namespace millrace::sched
