// The fourth verb: what a step computed becomes tokens, published blocks and ends. Steps retire in order.
#include <algorithm>
#include <utility>

#include "base/macros.h"
#include "engine/engine_state.h"
#include "engine/event_log.h"

namespace millrace::engine {

bool Engine::State::retire() {
  bool busy = false;
  while (!in_flight.empty() && backend.done(in_flight.at(0).plan.step)) {
    sched::PlanRecord& record = in_flight.at(0);
    flow::StepOutput output = backend.take_output(record.plan.step);
    Tick now = clock.now();
    if (options.event_log != nullptr) {
      of_beams.clear();
      for (sched::SeqId id : record.seqs) of_beams.push_back(seqs.at(id).request->beam_width > 1 ? 1 : 0);
      options.event_log->add_output(output, of_beams, now);
    }
    busy = true;
    n_tokens_out = 0;
    if (!output.ok && !record.discarded) step_failed(record, output.error, now);
    bool usable = output.ok && !record.discarded;
    CHECK(!usable || output.shares.size() == record.seqs.size(), "step {}: {} results for {} shares", record.plan.step,
          output.shares.size(), record.seqs.size());
    flow::ShareResult nothing;
    for (size_t i = 0; i < record.seqs.size(); ++i) {
      retire_share(record, i, usable ? output.shares[i] : nothing, now);
    }
    cache.retire(record.plan.step);
    last_step_at = now;
    observe(record, output, now);
    in_flight.pop();
  }
  return busy;
}

void Engine::State::retire_share(sched::PlanRecord& record, size_t index, flow::ShareResult& result, Tick now) {
  sched::Seq& seq = seqs.at(record.seqs[index]);
  const flow::Share& share = record.plan.shares[index];
  --seq.progress.in_flight;
  if (share.sample) --seq.progress.placeholders;
  if (share.n_draft > 0 && share.epoch == seq.epoch) take_back_drafts(seq, share, result);
  if (seq.state == sched::SeqState::kDraining) {
    destroy_if_idle(seq);
    return;
  }
  if (record.discarded) return;
  Request& request = request_of(seq);
  request.forks[seq.fork].n_step_failures = 0;
  if (result.failed) {
    if (seq.state == sched::SeqState::kLive) {
      cache.unpublish_own(seq.kv);
      heal_all();
    }
    end_failed(request, seq.fork, result.error, now);
    return;
  }
  if (share.prompt_logprobs) collect_prompt_logprobs(request, seq, share, result);
  if (share.sample && request.beams != nullptr) {
    take_beam_answer(request, seq, share.ctx + share.q_len, result, now);
  } else if (share.sample) {
    uint32_t fork = seq.fork;  // an ended sequence may be gone
    accept_token(request, seq, result, now);
    for (flow::FurtherToken& next : result.further) {
      if (request.forks[fork].ended) break;
      result.token = next.token;
      result.logprobs = std::move(next.logprobs);
      accept_token(request, seq, result, now);
    }
    totals.n_completed += result.completed ? 1 : 0;
    bool goes_on = seq.state == sched::SeqState::kLive && share.epoch == seq.epoch;
    seq.progress.n_proposed = goes_on ? result.n_proposed : 0;
  } else if (seq.request->sampling.max_tokens == 0 && share.ctx + share.q_len == seq.n_prompt()) {
    request.pooled = std::move(result.pooled);
    end_request(request, flow::FinishReason::kLength, {}, now);
  }
  if (seq.state != sched::SeqState::kLive) return;
  cache.publish(seq.kv, seq.tokens(), std::min(seq.progress.computed, seq.n_known()));
  cache.settle();
  if (!seq.held || seqs.n_free_slots() > 0) return;
  seq.lagged = true;  // who is waited for may need the slot
  sched::preempt(seqs, cache, seq, now);
  ++totals.n_preemptions;
}

// KV of proposals that were wrong is given back. A sequence whose step failed was rolled back altogether.
void Engine::State::take_back_drafts(sched::Seq& seq, const flow::Share& share, const flow::ShareResult& result) {
  auto n_right = static_cast<uint32_t>(result.further.size());
  CHECK(n_right <= share.n_draft, "{} of {} proposals are right", n_right, share.n_draft);
  seq.progress.n_drafted = 0;
  totals.n_drafted += share.n_draft;
  totals.n_accepted += n_right;
  seqs.tenants().charge(seq.tenant, uint64_t{n_right} * sched::kOutputUnits);
  if (seq.state != sched::SeqState::kLive) return;
  seq.progress.computed = share.ctx + share.q_len - share.n_draft + n_right;
  cache.truncate(seq.kv, seq.progress.computed);
}

// Entry i of the result belongs to prompt token share.ctx + i + 1; rows computed again were collected before.
void Engine::State::collect_prompt_logprobs(Request& request, sched::Seq& seq, const flow::Share& share,
                                            flow::ShareResult& result) {
  for (size_t i = 0; i < result.prompt_logprobs.size(); ++i) {
    if (share.ctx + i != seq.progress.n_prompt_logprobs || !seq.wants_prompt_logprobs()) continue;
    request.prompt_logprobs.push_back(std::move(result.prompt_logprobs[i]));
    ++seq.progress.n_prompt_logprobs;
  }
}

void Engine::State::accept_token(Request& request, sched::Seq& seq, flow::ShareResult& result, Tick now) {
  seq.outputs.push_back(result.token);
  ++totals.generated_tokens;
  ++n_tokens_out;
  Tick itl = seq.request->itl_slo != 0 ? seq.request->itl_slo : options.sched.itl_target;
  seq.next_due = itl != 0 ? now + itl : 0;
  if (seq.outputs.size() == 1) request.forks[seq.fork].first_token = now;
  flow::TokenEvent event;
  event.request = request.ask.id;
  event.fork = seq.fork;
  event.token = result.token;
  event.when = now;
  event.logprobs = std::move(result.logprobs);
  if (seq.fork == 0) event.prompt_logprobs = std::exchange(request.prompt_logprobs, {});
  event.finish = reason_to_stop(seq, result.token);
  if (event.finish == flow::FinishReason::kNone) {
    events.push_back(std::move(event));
    return;
  }
  if (event.finish != flow::FinishReason::kLength) event.stop_token = result.token;
  end_fork(request, seq.fork, std::move(event), now);
}

flow::FinishReason Engine::State::reason_to_stop(const sched::Seq& seq, TokenId token) const {
  const flow::SamplingParams& sampling = seq.request->sampling;
  auto names = [token](const std::vector<TokenId>& ids) { return std::ranges::find(ids, token) != ids.end(); };
  if (seq.outputs.size() > sampling.min_tokens) {
    if (!sampling.ignore_eos && names(sampling.eos_token_ids)) return flow::FinishReason::kEos;
    if (names(sampling.stop_token_ids)) return flow::FinishReason::kStopToken;
  }
  if (seq.outputs.size() >= sampling.max_tokens || seq.n_known() >= options.kv.max_len)
    return flow::FinishReason::kLength;
  return flow::FinishReason::kNone;
}

// What this step and the later ones in flight computed is lost: their content is forgotten, and the sequences start
// again from what is still cached. A sequence that failed too often in a row ends with the error.
void Engine::State::step_failed(const sched::PlanRecord& record, const Error& error, Tick now) {
  ++totals.n_failed_steps;
  cache.poison_from(record.plan.step);
  heal_all();
  for (uint32_t i = 0; i < in_flight.size(); ++i) in_flight.at(i).discarded = true;
  for (sched::SeqId id : record.seqs) {
    sched::Seq& seq = seqs.at(id);
    if (seq.state == sched::SeqState::kDraining) continue;
    Request& request = request_of(seq);
    if (++request.forks[seq.fork].n_step_failures > kMaxStepFailures) {
      end_failed(request, seq.fork, error, now);
    }
  }
  auto roll_back = [&](sched::Seq& seq) {
    if (seq.state != sched::SeqState::kLive) return;
    seq.lagged = true;
    sched::preempt(seqs, cache, seq, now);
    ++totals.n_preemptions;
  };
  for (uint32_t i = 0; i < in_flight.size(); ++i) {
    for (sched::SeqId id : in_flight.at(i).seqs) roll_back(seqs.at(id));
  }
  std::vector<sched::SeqId> live = seqs.live();
  for (sched::SeqId id : live) {
    if (cache.holds_poisoned(seqs.at(id).kv)) roll_back(seqs.at(id));
  }
}

void Engine::State::heal_all() {
  for (sched::SeqId id : seqs.live()) cache.heal(seqs.at(id).kv);
  if (tiers != nullptr) tiers->heal();
  if (sessions != nullptr) sessions->heal();
}

void Engine::State::observe(const sched::PlanRecord& record, const flow::StepOutput& output, Tick now) {
  StepRecord step;
  step.step = record.plan.step;
  step.state_hash = record.plan.state_hash;
  step.n_rows = record.plan.n_rows();
  step.n_decode_seqs = step.n_decode_rows = record.n_decode_seqs;
  step.n_prefill_rows = step.n_rows - step.n_decode_rows;
  step.n_recomputed_rows = record.n_recomputed_rows;
  for (const flow::Share& share : record.plan.shares) step.n_draft_rows += share.n_draft;
  step.n_prefill_seqs = static_cast<uint32_t>(record.seqs.size()) - step.n_decode_seqs;
  step.n_tokens_out = n_tokens_out;
  step.shape = record.shape;
  step.ok = output.ok && !record.discarded;
  step.took = output.took;
  step.planned_at = record.planned_at;
  step.predicted = record.predicted;
  step.retired_at = now;
  ++totals.n_steps;
  totals.n_rows += step.n_rows;
  if (step.ok) scheduler.observe(record, output.took);
  remember(step);
  constexpr uint32_t kEnoughRows = 32;  // below, the cost of a step says little of the cost of a row
  if (step.ok && step.n_prefill_rows >= kEnoughRows) {
    Tick per_row = step.took / step.n_rows;
    row_time = row_time == 0 ? per_row : (7 * row_time + per_row) / 8;
  }
  if (observer != nullptr) observer->on_step(step);
}

void Engine::State::remember(const StepRecord& step) {
  std::lock_guard lock(published.mutex);
  if (published.recent.size() < kRecentSteps) {
    published.recent.push_back(step);
  } else {
    published.recent[published.next_recent] = step;
  }
  published.next_recent = (published.next_recent + 1) % kRecentSteps;
}

}  // namespace millrace::engine
