// The rules of scheduling (docs/proofs.md, S1..S9) checked from outside after every turn of an engine: what the last
// plan held against what the sequences are now. Rules that need more than a turn have tests of their own.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "flow/step_plan.h"
#include "sched/policies.h"
#include "sched/scheduler.h"

namespace millrace::support {

class SchedAudit {
 public:
  SchedAudit(const engine::EngineOptions& options, const engine::Engine& engine)
      : options_(options.sched), kv_(options.kv), engine_(engine) {
    remember();
  }

  // From the backend, before the step runs.
  void on_plan(const flow::StepPlan& plan) {
    shares_ = plan.shares;
    planned_ = true;
    fault_ = check_rows(plan);
    if (fault_.empty()) fault_ = check_decodes();
    if (fault_.empty()) fault_ = check_admissions(plan);
    if (fault_.empty()) fault_ = check_sure_admissions();
  }
  void on_cancel(flow::RequestId id) { cancelled_.insert(id); }

  // The first broken rule, or nothing. `idle`: no step is in flight.
  std::string after_turn(bool idle) {
    std::string fault = std::exchange(fault_, {});
    bool planned = std::exchange(planned_, false);
    bool was_idle = std::exchange(idle_, idle);
    if (fault.empty()) fault = check_sequences();
    if (fault.empty() && !planned && idle && was_idle) fault = check_idle();
    remember();
    return fault;
  }

 private:
  uint32_t wanted(const sched::Seq& seq) const {
    return sched::wanted_rows(seq, engine_.max_len(), options_.depth - 1);
  }
  const sched::SeqTable& seqs() const { return engine_.sequences(); }

  // S1: prompt rows within the budget, all rows within the workspace.
  std::string check_rows(const flow::StepPlan& plan) const {
    uint32_t n_single = 0;  // with their proposals
    for (const flow::Share& share : plan.shares) {
      if (share.q_len == 1u + share.n_draft) n_single += share.q_len;
    }
    uint32_t most = std::max(options_.budget_tokens, n_single + options_.c_min);
    if (plan.n_rows() <= std::min(most, options_.tok_cap)) return {};
    return fmt::format("S1: {} rows, {} of decodes, budget {}", plan.n_rows(), n_single, options_.budget_tokens);
  }

  // S5: who was decoding is in the plan, unless it ended, was preempted, or there may be no memory. Exclusive steps
  // leave decodes out on purpose.
  std::string check_decodes() const {
    bool memory_short = n_available_ < 2 * options_.tok_cap * kv_.groups.size();
    bool mixes = options_.budget == sched::BudgetKind::kStatic || options_.budget == sched::BudgetKind::kSlack;
    if (!mixes || memory_short) return {};
    for (const Decoding& was : decoding_) {
      const sched::Seq& seq = seqs().at(was.id);
      bool same = seq.state == sched::SeqState::kLive && seq.epoch == was.epoch && !seq.parked;
      if (!same || seq.request->id != was.request) continue;
      bool planned = std::ranges::any_of(shares_, [&](const flow::Share& s) { return s.slot == seq.kv.slot; });
      if (!planned) return fmt::format("S5: a decoding sequence of request {} missed a step", was.request);
    }
    return {};
  }

  // S8: whoever starts leaves no request of a higher band behind that would have fitted; said of max-util, which asks
  // for nothing but the blocks of the prompt.
  std::string check_admissions(const flow::StepPlan& plan) const {
    if (!sched::row_of(options_.order).bands || options_.admit != sched::AdmitKind::kMaxUtil) return {};
    uint32_t n_taken = 0;
    for (const flow::BlockDelta& delta : plan.blocks) n_taken += delta.id != flow::kNullBlock ? 1u : 0u;
    for (sched::SeqId id : seqs().live()) {
      const sched::Seq& started = seqs().at(id);
      if (started.rank.seniority <= last_seniority_) continue;
      for (const sched::Waiter& waiter : seqs().fresh()) {
        const sched::Seq& seq = seqs().at(waiter.id);
        if (waiter.band <= started.request->band || seq.fork != 0) continue;
        uint32_t need = cache::max_blocks_of_sequence(kv_, seq.n_known(), sched::max_chunk(options_));
        if (n_available_ >= n_taken + need + kv_.n_blocks / 100) {
          return fmt::format("S8: request {} started before {}", started.request->id, seq.request->id);
        }
      }
    }
    return {};
  }

  // S8 under the policies that predict: a request that fits whatever the others will still need, and itself at its
  // full length, is refused by none of them. Said of what there is after the plan: the one that started is in it.
  std::string check_sure_admissions() const {
    if (!sched::row_of(options_.order).bands || options_.admit == sched::AdmitKind::kMaxUtil) return {};
    auto preempted = [&](const Ran& was) { return seqs().at(was.id).epoch != was.epoch; };
    if (std::ranges::any_of(ran_, preempted)) return {};
    uint64_t others = engine_.stats().kv_blocks_leased;
    for (sched::SeqId id : seqs().live()) others += whole_need(seqs().at(id));
    for (sched::SeqId id : seqs().live()) {
      const sched::Seq& started = seqs().at(id);
      if (started.rank.seniority <= last_seniority_) continue;
      for (const sched::Waiter& waiter : seqs().fresh()) {
        const sched::Seq& seq = seqs().at(waiter.id);
        if (waiter.band <= started.request->band || seq.fork != 0) continue;
        if (others + whole_need(seq) > kv_.n_blocks) continue;
        return fmt::format("S8: request {} started before {}, which surely fits", started.request->id, seq.request->id);
      }
    }
    return {};
  }

  // Blocks at its full length, and what two steps in flight may hold longer.
  uint64_t whole_need(const sched::Seq& seq) const {
    uint64_t total = uint64_t{seq.n_prompt()} + seq.request->sampling.max_tokens;
    auto n_tokens = static_cast<uint32_t>(std::min<uint64_t>(total, engine_.max_len()));
    return cache::max_blocks_of_sequence(kv_, n_tokens, sched::max_chunk(options_)) +
           (options_.depth - 1) * kv_.groups.size();
  }

  std::string check_sequences() {
    size_t n_queued = 0;
    for (sched::TenantIdx i = 0; i < seqs().tenants().size(); ++i) n_queued += seqs().tenants().at(i).n_queued;
    if (n_queued != seqs().fresh().size()) {
      return fmt::format("{} queued in accounts, not {}", n_queued, seqs().fresh().size());
    }
    for (const sched::Waiter& waiter : seqs().fresh()) {
      const sched::Seq& seq = seqs().at(waiter.id);
      if (seq.rank.n_bypassed > options_.k_bypass) return "S3: a barrier was passed over";
      if (cancelled_.contains(seq.request->id)) return "S9: a cancelled request still waits";
    }
    for (sched::SeqId id : seqs().live()) {
      const sched::Seq& seq = seqs().at(id);
      if (seq.rank.n_preempted_by_others > options_.k_preempt) return "S4: preempted too often";
      if (cancelled_.contains(seq.request->id)) return "S9: a cancelled request still runs";
    }
    return {};
  }

  // S2, S6: nothing was planned, so nothing could be.
  std::string check_idle() const {
    for (sched::SeqId id : seqs().live()) {
      const sched::Seq& seq = seqs().at(id);
      if (seq.progress.in_flight > 0) return {};
      if (!seq.parked && wanted(seq) > 0) return fmt::format("S2: request {} is runnable", seq.request->id);
    }
    if (seqs().live().empty() && (!seqs().fresh().empty() || !seqs().resumed().empty())) {
      return "S2: requests wait for an empty pool";
    }
    return {};
  }

  void remember() {
    const engine::EngineStats stats = engine_.stats();
    ran_.clear();
    n_available_ = stats.kv_blocks_free + stats.kv_blocks_cached + stats.kv_blocks_cooling;
    decoding_.clear();
    for (sched::SeqId id : seqs().live()) {
      const sched::Seq& seq = seqs().at(id);
      ran_.push_back({id, seq.epoch});
      last_seniority_ = std::max(last_seniority_, seq.rank.seniority);
      if (!seq.parked && wanted(seq) == 1) decoding_.push_back({id, seq.epoch, seq.request->id});
    }
  }

  struct Decoding {
    sched::SeqId id = sched::kNoSeq;
    uint16_t epoch = 0;
    flow::RequestId request = 0;
  };

  struct Ran {
    sched::SeqId id = sched::kNoSeq;
    uint16_t epoch = 0;
  };

  sched::SchedOptions options_;
  flow::KvGeometry kv_;
  const engine::Engine& engine_;
  std::vector<flow::Share> shares_;
  std::vector<Decoding> decoding_;
  std::vector<Ran> ran_;  // live after the last turn
  std::unordered_set<flow::RequestId> cancelled_;
  std::string fault_;
  uint64_t last_seniority_ = 0;
  uint32_t n_available_ = 0;
  bool planned_ = false;
  bool idle_ = true;
};

}  // namespace millrace::support
