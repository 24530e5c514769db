#include "sched/place_list.h"

#include <algorithm>

namespace millrace::sched {
namespace {

constexpr size_t kMostOwed = 4;  // waiting ones: each costs a look at every prompt in progress

// Of a live sequence.
bool decodes(const Seq& seq) { return seq.n_known() + seq.progress.placeholders - seq.progress.computed <= 1; }

}  // namespace

// Higher bands sort first.
uint64_t PlaceList::group_of(bool aside, int32_t band, Level level) {
  return uint64_t{aside} << 40 | static_cast<uint64_t>(INT16_MAX - band) << 8 | level;
}

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
    for (SeqId id : view.seqs.resumed()) add_ran(view.seqs.at(id), false);
    add_fresh(view, n_candidates_);
  }
  sort_places();
}

void PlaceList::build_all(const OrderView& view) {
  begin(view);
  for (SeqId id : view.seqs.resumed()) add_ran(view.seqs.at(id), false);
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
    bool decoding = decodes(seq);
    add_ran(seq, decoding);
    if (seq.parked || seq.held) continue;
    decodes_ |= decoding;
    if (!decoding) catching_up_.push_back(places_.size() - 1);
  }
  for (size_t i : catching_up_) {
    Place& place = places_[i];
    const Seq& seq = view.seqs.at(place.id);
    if (level_of(seq, false) != kCatchingUp || !is_owed(view, seq)) continue;
    place.group = group_of(false, band_of(seq.request->band), kOwedCatchingUp);
    owed_.push_back(place.id);
  }
}

void PlaceList::sort_places() {
  if (!std::is_sorted(places_.begin(), places_.end())) std::sort(places_.begin(), places_.end());
  ids_.clear();
  for (const Place& place : places_) ids_.push_back(place.id);
}

PlaceList::Level PlaceList::level_of(const Seq& seq, bool decoding) const {
  return decoding || seq.rank.n_preempted_by_others >= k_preempt_ ? kRunning : kCatchingUp;
}

void PlaceList::add_ran(const Seq& seq, bool decoding) {
  places_.push_back({.group = group_of(seq.parked || seq.held, band_of(seq.request->band), level_of(seq, decoding)),
                     .within = seq.rank.seniority,
                     .id = seq.id});
}

// Something decodes (so it is not the head, which may take what others hold), nobody was preempted, and every other
// prompt in progress is of its own tenant or of one that has had more of its part; one at least is.
bool PlaceList::is_owed(const OrderView& view, const Seq& seq) const {
  if (!decodes_ || !view.seqs.resumed().empty()) return false;
  bool passes = false;
  for (size_t i : catching_up_) {
    const Seq& other = view.seqs.at(places_[i].id);
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
