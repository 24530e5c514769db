// How sequences and requests end: the one place that turns an outcome into the finishing event of a fork.
#include <algorithm>
#include <utility>

#include "base/macros.h"
#include "engine/engine_state.h"

namespace millrace::engine {

void Engine::State::end_fork(Request& request, uint32_t fork, flow::FinishReason reason, Error error, Tick now) {
  flow::TokenEvent event;
  event.finish = reason;
  event.error = std::move(error);
  bool complete = fork == 0 && request.prompt_logprobs.size() + 1 == request.ask.prompt.size();
  if (reason == flow::FinishReason::kLength && complete)
    event.prompt_logprobs = std::exchange(request.prompt_logprobs, {});
  if (fork == 0) event.pooled = std::exchange(request.pooled, {});
  end_fork(request, fork, std::move(event), now);
}

// Releases what the fork holds; nothing is emitted for it after this event.
void Engine::State::end_fork(Request& request, uint32_t fork_index, flow::TokenEvent&& event, Tick now) {
  Fork& fork = request.forks[fork_index];
  CHECK(!fork.ended, "request {} fork {} ended twice", request.ask.id, fork_index);
  fork.ended = true;
  ++request.n_ended;
  event.request = request.ask.id;
  event.fork = fork_index;
  event.when = now;
  event.n_prompt = static_cast<uint32_t>(request.ask.prompt.size());
  event.n_cached = fork.n_cached;
  event.times = {.arrival = request.ask.arrival,
                 .first_scheduled = fork.first_scheduled,
                 .first_token = fork.first_token,
                 .predicted_first_token = request.predicted_at,
                 .finished = now};
  if (fork.seq != sched::kNoSeq) {
    sched::Seq& seq = seqs.at(std::exchange(fork.seq, sched::kNoSeq));
    event.n_output = request.beams != nullptr ? 0 : static_cast<uint32_t>(seq.outputs.size());
    event.n_preempted = seq.rank.n_preempted;
    if (event.finish != flow::FinishReason::kError) keep_prefix(request, seq, now);
    bool by_itself = event.finish != flow::FinishReason::kCancelled && event.finish != flow::FinishReason::kError;
    if (by_itself && request.ask.sampling.max_tokens > 0) scheduler.note_output(event.n_output);
    if (seq.load_until != 0) tiers->forget({.request = request.ask.id, .seq = seq.id});
    seqs.end(seq);
    cache.release(seq.kv);
    destroy_if_idle(seq);
  } else if (fork_index == 0 && std::exchange(request.load_until, 0) != 0) {
    tiers->forget({.request = request.ask.id});
    any_done = true;
  }
  if (fork_index < request.ask.n) {  // a beam beyond is nobody's answer
    ++totals.n_finished[static_cast<size_t>(event.finish)];
    events.push_back(std::move(event));
  }
  if (request.n_ended == request.forks.size()) {
    if (request.queued) leave_queue(request);
  } else if (fork_index == 0) {
    spawn_forks(request, now);
  }
}

// What the sequence computed stays for the next turn of its session, and is noted for the tier below.
void Engine::State::keep_prefix(const Request& request, sched::Seq& seq, Tick now) {
  bool session = request.ask.session_ttl > 0 && seq.fork == 0;
  bool named = sessions != nullptr && seq.fork == 0 && !request.ask.session.empty() && seq.kv.window_tokens == 0;
  if (named) sessions->remember(request.ask.session, request.ask.scope, request.ask.cache_salt, seq.tokens());
  if ((!session && !named && tiers == nullptr) || seq.state != sched::SeqState::kLive) return;
  cache.publish(seq.kv, seq.tokens(), std::min(seq.progress.computed, seq.n_known()));
  cache.settle();
  if (tiers != nullptr) tiers->note_end(seq.kv, session);
  if (!session) return;
  Tick expires = now + request.ask.session_ttl;
  if (!cache.lease({.session = request.ask.session, .tenant = request.ask.tenant, .expires = expires}, seq.kv)) return;
  note_timer(expires);
}

// A search needs all its beams.
void Engine::State::end_failed(Request& request, uint32_t fork, const Error& error, Tick now) {
  if (request.beams != nullptr) {
    end_request(request, flow::FinishReason::kError, error, now);
  } else {
    end_fork(request, fork, flow::FinishReason::kError, error, now);
  }
}

void Engine::State::end_request(Request& request, flow::FinishReason reason, const Error& error, Tick now) {
  if (!request.spawned) --n_unspawned;
  request.spawned = true;
  for (uint32_t k = 0; k < request.forks.size(); ++k) {
    if (!request.forks[k].ended) end_fork(request, k, reason, error, now);
  }
}

// The memory of a sequence and its request stays while a step in flight names them.
void Engine::State::destroy_if_idle(sched::Seq& seq) {
  if (seq.progress.in_flight > 0) return;
  Request& request = request_of(seq);
  seqs.destroy(seq);
  CHECK(request.n_seqs > 0, "request {} lost a sequence", request.ask.id);
  --request.n_seqs;
  any_done = true;
}

void Engine::State::leave_queue(Request& request) {
  request.queued = false;
  inbox.leave_queue(request.ask);
}

void Engine::State::sweep() {
  if (!any_done) return;
  any_done = false;
  std::erase_if(in_order, [&](Request* request) {
    if (request->n_ended < request->forks.size() || request->n_seqs > 0) return false;
    if (request->parked_until != 0) --n_parked_requests;
    requests.erase(flow::RequestId{request->ask.id});
    ++totals.n_requests_ended;
    return true;
  });
}

void Engine::State::publish_stats() {
  EngineStats stats;
  stats.n_running = static_cast<uint32_t>(seqs.live().size());
  stats.n_waiting = static_cast<uint32_t>(seqs.n_waiting());
  stats.n_parked = seqs.n_parked();
  for (const Request* request : in_order) {
    if (n_unspawned == 0) break;
    if (!request->spawned) stats.n_waiting += static_cast<uint32_t>(request->forks.size()) - 1;
  }
  sched::PrefillOutlook outlook = scheduler.outlook(seqs, seqs.live());
  stats.pending_prefill = outlook.n_pending;
  stats.prefill_row = outlook.row;
  stats.decode_step = outlook.decode_step;
  const cache::PoolCounts& pool = cache.pool().counts();
  stats.kv_blocks_total = cache.pool().size();
  stats.kv_blocks_free = pool.free;
  stats.kv_blocks_cached = pool.cached;
  stats.kv_blocks_active = pool.active;
  stats.kv_blocks_cooling = pool.cooling;
  stats.kv_blocks_leased = cache.n_leased();
  stats.kv_blocks_quarantined = pool.quarantined;
  stats.prompt_tokens = totals.prompt_tokens;
  stats.prompt_tokens_computed = totals.prompt_tokens_computed;
  stats.generated_tokens = totals.generated_tokens;
  stats.prefix_query_tokens = totals.prefix_query_tokens;
  stats.prefix_hit_tokens = totals.prefix_hit_tokens;
  stats.shared_hit_tokens = cache.totals().n_shared_tokens;
  stats.n_preemptions = totals.n_preemptions;
  stats.recomputed_tokens = totals.recomputed_tokens;
  stats.n_evictions = cache.totals().n_evictions;
  if (tiers != nullptr) {
    stats.n_deferred = tiers->n_waiting();
    stats.n_waiting += stats.n_deferred;
    stats.tier_traffic = options.tier->traffic();
    stats.tier_entries = tiers->n_entries();
    stats.tier_saved_blocks = tiers->totals().n_saved;
    stats.tier_loads = tiers->totals().n_loads;
    stats.tier_failed_loads = tiers->totals().n_failed;
    stats.tier_loaded_tokens = tiers->totals().n_loaded_tokens;
    stats.swapped_out_blocks = tiers->totals().n_swapped_out;
    stats.swap_loads = tiers->totals().n_swap_loads;
  }
  stats.n_steps = totals.n_steps;
  stats.n_rows = totals.n_rows;
  stats.n_failed_steps = totals.n_failed_steps;
  stats.n_accounting_errors = cache.n_faults();
  stats.draft_tokens = totals.n_drafted;
  stats.draft_tokens_accepted = totals.n_accepted;
  stats.constraints_completed = totals.n_completed;
  auto finished = [&](flow::FinishReason reason) { return totals.n_finished[static_cast<size_t>(reason)]; };
  stats.n_finished_eos = finished(flow::FinishReason::kEos);
  stats.n_finished_stop_token = finished(flow::FinishReason::kStopToken);
  stats.n_finished_length = finished(flow::FinishReason::kLength);
  stats.n_finished_cancelled = finished(flow::FinishReason::kCancelled);
  stats.n_finished_error = finished(flow::FinishReason::kError);
  stats.heartbeat = heartbeat;
  stats.last_step_at = last_step_at;
  stats.n_requests_ended = totals.n_requests_ended;
  {
    std::lock_guard lock(published.mutex);
    published.stats = stats;
    published.cost = scheduler.cost();
  }
  bool idle = in_order.empty() && in_flight.empty();
  published.stopped.store(stopping && idle, std::memory_order_release);
  published.drained.store(idle && inbox.counts().draining && inbox.empty(), std::memory_order_release);
}

}  // namespace millrace::engine
