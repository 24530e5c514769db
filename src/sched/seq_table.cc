#include "sched/seq_table.h"

#include <algorithm>

#include "base/macros.h"

namespace millrace::sched {

SeqTable::SeqTable(uint32_t max_live) : slot_used_(max_live, false) {
  for (flow::SlotId slot = max_live; slot-- > 0;) free_slots_.push_back(slot);
  live_.reserve(max_live);
  freed_slots_.reserve(size_t{max_live} * 2);
}

Seq& SeqTable::create(const flow::GenerateRequest& request, uint32_t fork, uint64_t number, Tick now) {
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
  seq.kv.scope = request.scope;
  seq.kv.priority = request.retention;
  seq.kv.window_tokens = request.window_tokens;
  seq.kv.sink_tokens = request.sink_tokens;
  seq.rank.number = number;
  seq.rank.waiting_since = now;
  waiting_.push_back(id);
  return seq;
}

void SeqTable::admit(Seq& seq) {
  CHECK(seq.state == SeqState::kWaiting && !free_slots_.empty(), "sequence {} cannot be admitted", seq.id);
  drop(waiting_, seq.id);
  live_.push_back(seq.id);
  seq.state = SeqState::kLive;
  seq.kv.slot = free_slots_.back();
  free_slots_.pop_back();
  slot_used_[seq.kv.slot] = true;
  seq.rank.n_bypassed = 0;
  if (seq.rank.seniority == 0) seq.rank.seniority = next_seniority_++;
}

void SeqTable::preempt(Seq& seq, Tick now) {
  CHECK(seq.state == SeqState::kLive, "sequence {} is not live", seq.id);
  leave_slot(seq);
  waiting_.push_back(seq.id);
  seq.state = SeqState::kWaiting;
  seq.progress.computed = 0;
  ++seq.epoch;
  ++seq.rank.n_preempted;
  seq.rank.waiting_since = now;
}

void SeqTable::end(Seq& seq) {
  if (seq.state == SeqState::kLive) {
    leave_slot(seq);
  } else {
    CHECK(seq.state == SeqState::kWaiting, "sequence {} ended twice", seq.id);
    drop(waiting_, seq.id);
  }
  seq.state = SeqState::kDraining;
}

void SeqTable::destroy(Seq& seq) {
  CHECK(seq.state == SeqState::kDraining && seq.progress.in_flight == 0, "sequence {} is still in use", seq.id);
  SeqId id = seq.id;
  seq = Seq{};
  unused_.push_back(id);
}

void SeqTable::take_freed_slots(std::vector<flow::SlotId>& out) {
  for (flow::SlotId slot : freed_slots_) {
    if (!slot_used_[slot] && std::ranges::find(out, slot) == out.end()) out.push_back(slot);
  }
  freed_slots_.clear();
}

void SeqTable::leave_slot(Seq& seq) {
  drop(live_, seq.id);
  free_slots_.push_back(seq.kv.slot);
  slot_used_[seq.kv.slot] = false;
  freed_slots_.push_back(seq.kv.slot);
}

void SeqTable::drop(std::vector<SeqId>& list, SeqId id) {
  auto found = std::ranges::find(list, id);
  CHECK(found != list.end(), "sequence {} is not in its list", id);
  *found = list.back();
  list.pop_back();
}

}  // namespace millrace::sched
