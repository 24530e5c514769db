// What a server does about an error in the books of KV blocks (cache/faults.h) instead of ending: blocks whose books
// are wrong go into quarantine, the requests that use them end with an error, all others start again from their tokens,
// and the books begin anew. Without EngineOptions::contain_accounting_errors such an error aborts where it is found.
#include <algorithm>

#include "engine/engine_state.h"

namespace millrace::engine {

// A plan that is not submitted: as if its shares had never been given.
void Engine::State::drop_plan(const sched::PlanRecord& record) {
  for (size_t i = 0; i < record.seqs.size(); ++i) {
    sched::SeqProgress& progress = seqs.at(record.seqs[i]).progress;
    --progress.in_flight;
    if (record.plan.shares[i].sample) --progress.placeholders;
  }
  seqs.note_freed_slots(record.plan.freed_slots);
}

// What must run does not: somebody holds memory that no table names. The auditor says so; it is asked only then.
bool Engine::State::is_stuck(Tick now) const {
  bool still = in_flight.empty() && last_step_at < now;  // no step in this turn
  if (!still || !options.contain_accounting_errors) return false;
  std::vector<const cache::SeqBlocks*> holders;
  bool runnable = false;
  for (sched::SeqId id : seqs.live()) {
    const sched::Seq& seq = seqs.at(id);
    holders.push_back(&seq.kv);
    runnable |= !seq.parked && !seq.held;
  }
  if (tiers != nullptr) static_cast<const Tiers&>(*tiers).holders(holders);
  if (sessions != nullptr) static_cast<const Sessions&>(*sessions).holders(holders);
  return runnable && !cache.check_integrity(holders).empty();
}

bool Engine::State::contain(Tick now) {
  bool aside = (tiers != nullptr && tiers->waits_for_idle()) || (sessions != nullptr && sessions->waits());
  cache.look_for_faults((aside || !seqs.live().empty() || !in_flight.empty()) && !is_stuck(now));
  if (!has_faults()) return false;
  const Error error{ErrorCode::kInternal, "the books of the KV cache were wrong: the request's memory was lost", ""};
  for (uint32_t i = 0; i < in_flight.size(); ++i) in_flight.at(i).discarded = true;
  std::vector<sched::SeqId> live = seqs.live();
  for (sched::SeqId id : live) {
    sched::Seq& seq = seqs.at(id);
    if (seq.state != sched::SeqState::kLive) continue;  // ended with another of its request
    Request& request = request_of(seq);
    bool again = ++request.forks[seq.fork].n_step_failures > kMaxStepFailures;
    if (again || cache.holds_poisoned(seq.kv)) {
      end_failed(request, seq.fork, error, now);
    } else {
      seq.lagged = true;
      sched::preempt(seqs, cache, seq, now);
      ++totals.n_preemptions;
    }
  }
  std::vector<cache::SeqBlocks*> holders;
  if (tiers != nullptr) tiers->holders(holders);
  if (sessions != nullptr) sessions->holders(holders);
  cache.rebuild(holders,
                cache::max_blocks_of_sequence(options.kv, options.kv.max_len, sched::max_chunk(options.sched)));
  if (kv_events != nullptr) kv_events->clear();
  n_contained = cache.n_faults();
  return true;
}

}  // namespace millrace::engine
