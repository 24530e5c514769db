#include "sched/seq_table.h"

#include <algorithm>
#include <tuple>

#include "base/macros.h"

namespace millrace::sched {
namespace {

constexpr Tick kWaitGain = 16;  // the last 16 admissions or so make the average

auto arrival_key(const Seq& seq) { return std::tuple(seq.request->arrival, seq.rank.number, seq.fork); }

void drop(std::vector<SeqId>& list, SeqId id) {
  auto found = std::ranges::find(list, id);
  CHECK(found != list.end(), "sequence {} is not in its list", id);
  *found = list.back();
  list.pop_back();
}

}  // namespace

SeqTable::SeqTable(const SchedOptions& options)
    : k_bypass_(options.k_bypass), least_barrier_age_(options.barrier_age), slot_used_(options.max_live, false) {
  for (flow::SlotId slot = options.max_live; slot-- > 0;) free_slots_.push_back(slot);
  live_.reserve(options.max_live);
  freed_slots_.reserve(size_t{options.max_live} * 2);
}

Seq& SeqTable::create(const flow::GenerateRequest& request, uint32_t fork, uint64_t number, Tick now) {
  Seq& seq = take_unused(request, fork, number, now);
  enqueue(seq);
  return seq;
}

Seq& SeqTable::create_resumed(const flow::GenerateRequest& request, uint32_t fork, uint64_t number, Tick now) {
  Seq& seq = take_unused(request, fork, number, now);
  seq.rank.seniority = next_seniority_++;
  enqueue(seq);
  return seq;
}

Seq& SeqTable::take_unused(const flow::GenerateRequest& request, uint32_t fork, uint64_t number, Tick now) {
  if (unused_.empty()) {
    unused_.push_back(static_cast<SeqId>(seqs_.size()));
    seqs_.emplace_back();
  }
  SeqId id = unused_.back();
  unused_.pop_back();
  Seq& seq = seqs_[id];
  seq.id = id;
  seq.state = SeqState::kWaiting;
  seq.fork = fork;
  seq.request = &request;
  seq.tenant = tenants_.open(request.tenant, request.weight);
  seq.kv.scope = request.scope;
  seq.kv.priority = request.retention;
  seq.kv.window_tokens = request.window_tokens;
  seq.kv.sink_tokens = request.sink_tokens;
  seq.rank.number = number;
  seq.rank.waiting_since = now;
  return seq;
}

void SeqTable::admit(Seq& seq, Tick now) {
  CHECK(seq.state == SeqState::kWaiting && !free_slots_.empty(), "sequence {} cannot be admitted", seq.id);
  dequeue(seq);
  seq.state = SeqState::kLive;
  seq.may_load = false;
  seq.kv.slot = free_slots_.back();
  free_slots_.pop_back();
  slot_used_[seq.kv.slot] = true;
  seq.rank.n_bypassed = 0;
  if (seq.rank.seniority == 0) {
    seq.rank.seniority = next_seniority_++;
    usual_wait_ += (now - seq.rank.waiting_since - usual_wait_) / kWaitGain;
  }
  auto senior = [this](uint64_t value, SeqId other) { return value < seqs_[other].rank.seniority; };
  live_.insert(std::upper_bound(live_.begin(), live_.end(), seq.rank.seniority, senior), seq.id);
}

void SeqTable::preempt(Seq& seq, Tick now) {
  CHECK(seq.state == SeqState::kLive, "sequence {} is not live", seq.id);
  leave_slot(seq);
  seq.state = SeqState::kWaiting;
  seq.progress.computed = seq.progress.n_proposed = seq.progress.n_drafted = 0;
  ++seq.epoch;
  ++seq.rank.n_preempted;
  seq.may_load = true;
  seq.rank.waiting_since = now;
  enqueue(seq);
}

void SeqTable::end(Seq& seq) {
  if (seq.state == SeqState::kLive) {
    leave_slot(seq);
  } else {
    CHECK(seq.state == SeqState::kWaiting, "sequence {} ended twice", seq.id);
    dequeue(seq);
  }
  if (seq.parked) --n_parked_;
  seq.load_until = 0;
  seq.state = SeqState::kDraining;
}

void SeqTable::destroy(Seq& seq) {
  CHECK(seq.state == SeqState::kDraining && seq.progress.in_flight == 0, "sequence {} is still in use", seq.id);
  tenants_.close(seq.tenant);
  SeqId id = seq.id;
  seq = Seq{};
  unused_.push_back(id);
}

void SeqTable::set_parked(Seq& seq, bool parked) {
  if (seq.parked == parked) return;
  bool waits = seq.state == SeqState::kWaiting;
  if (waits) dequeue(seq);
  seq.parked = parked;
  if (waits) enqueue(seq);
  if (seq.state == SeqState::kDraining) return;
  parked ? ++n_parked_ : --n_parked_;
}

void SeqTable::set_held(Seq& seq, bool held) {
  bool waits = seq.state == SeqState::kWaiting;
  if (waits) dequeue(seq);
  seq.held = held;
  seq.lagged |= held;
  if (waits) enqueue(seq);
}

void SeqTable::set_load_until(Seq& seq, Tick until) {
  CHECK(seq.state == SeqState::kWaiting, "sequence {} does not wait", seq.id);
  dequeue(seq);
  seq.load_until = until;
  enqueue(seq);
}

void SeqTable::bypass(Seq& seq) {
  if (++seq.rank.n_bypassed != k_bypass_ || seq.rank.seniority != 0) return;
  auto found = std::ranges::find(fresh_, seq.id, &Waiter::id);
  CHECK(found != fresh_.end(), "sequence {} does not wait", seq.id);
  found->passed_over = true;
}

bool SeqTable::is_barrier(const Seq& seq, Tick now) const {
  return seq.rank.n_bypassed >= k_bypass_ || now - seq.rank.waiting_since >= barrier_age();
}

void SeqTable::take_freed_slots(std::vector<flow::SlotId>& out) {
  for (flow::SlotId slot : freed_slots_) {
    if (!slot_used_[slot] && std::ranges::find(out, slot) == out.end()) out.push_back(slot);
  }
  freed_slots_.clear();
}

// A waiting sequence into the list it belongs to.
void SeqTable::enqueue(Seq& seq) {
  if (stands_aside(seq)) {
    aside_.push_back(seq.id);
  } else if (seq.rank.seniority != 0) {
    resumed_.push_back(seq.id);
  } else {
    auto place = fresh_.end();
    while (place != fresh_.begin() && arrival_key(seq) < arrival_key(seqs_[std::prev(place)->id])) --place;
    fresh_.insert(place, {.id = seq.id,
                          .tenant = seq.tenant,
                          .band = seq.request->band,
                          .passed_over = seq.rank.n_bypassed >= k_bypass_,
                          .since = seq.rank.waiting_since});
    ++tenants_.at(seq.tenant).n_queued;
  }
}

void SeqTable::dequeue(Seq& seq) {
  if (stands_aside(seq)) {
    drop(aside_, seq.id);
  } else if (seq.rank.seniority != 0) {
    drop(resumed_, seq.id);
  } else {
    auto found = std::ranges::find(fresh_, seq.id, &Waiter::id);
    CHECK(found != fresh_.end(), "sequence {} does not wait", seq.id);
    fresh_.erase(found);
    --tenants_.at(seq.tenant).n_queued;
  }
}

void SeqTable::leave_slot(Seq& seq) {
  auto found = std::ranges::find(live_, seq.id);
  CHECK(found != live_.end(), "sequence {} is not live", seq.id);
  live_.erase(found);
  free_slots_.push_back(seq.kv.slot);
  slot_used_[seq.kv.slot] = false;
  freed_slots_.push_back(seq.kv.slot);
}

}  // namespace millrace::sched
