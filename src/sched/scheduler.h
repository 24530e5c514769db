// Scheduler: sequences, cache and time in, the next StepPlan out. One list, one loop: everyone in order asks for
// tokens; memory comes from free, then cached, then victims from the tail of the same list, none of which is planned
// yet.
//  1. Deterministic: no clock, thread or random source of its own.
//  2. Decoding sequences always get their row; prefills share what the budget leaves.
//  3. Nothing planned is rolled back; a sequence that gets nothing is left as it was.
//  4. With c_min >= max_len (encoders) a prompt is computed in one step, alone if it is longer than the budget.
// Thread: engine.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cache/kv_cache.h"
#include "flow/step_plan.h"
#include "sched/below.h"
#include "sched/output_lengths.h"
#include "sched/place_list.h"
#include "sched/seq_table.h"
#include "sched/slack.h"

namespace millrace::sched {

// A StepPlan with what the engine needs to retire it. Reused from step to step: its vectors keep their memory.
struct PlanRecord {
  flow::StepPlan plan;
  std::vector<SeqId> seqs;            // of plan.shares
  std::vector<SeqId> first_admitted;  // sequences that got their first slot, with n_matched
  std::vector<uint32_t> n_matched;    // [first_admitted] tokens found in the cache
  uint32_t n_decode_seqs = 0;         // sequences with one row that continue an output
  uint32_t n_preempted = 0;
  uint32_t n_prompt_rows = 0;
  uint32_t n_recomputed_rows = 0;
  StepShape shape;     // of plan.shares
  Tick predicted = 0;  // ns that the step should take; 0 = the cost model knows nothing yet
  Tick planned_at = 0;
  bool discarded = false;  // an earlier step failed: its output means nothing
  void clear();
};

// What a new prompt would meet.
struct PrefillOutlook {
  uint64_t n_pending = 0;  // prompt rows of live sequences still to compute
  Tick row = 0;            // predicted ns of a prompt row beside what decodes now; 0 = not known yet
  Tick decode_step = 0;    // predicted ns of a step of what decodes now; 0 = nothing does, or not known yet
};

class Scheduler {
 public:
  Scheduler(const SchedOptions& options, const flow::KvGeometry& kv);

  // Fills `out` with the next step and moves the state as if it had run. False when no sequence gets a row: nothing is
  // to be submitted.
  bool plan(SeqTable& seqs, cache::KvCache& cache, Tick now, PlanRecord& out);
  // A step that succeeded took so long.
  void observe(const PlanRecord& record, Tick took) { cost_.observe(record.shape, took); }
  // A sequence ended by itself with so many output tokens.
  void note_output(uint32_t n_tokens) { lengths_.add(n_tokens); }

  // What lies below the pool; nullptr (as at first): nothing. Outlives its use by plan().
  void set_below(Below* below) { below_ = below; }

  // ids: the live sequences, and those waiting whose prompts count when the length of steps is foreseen.
  PrefillOutlook outlook(const SeqTable& seqs, std::span<const SeqId> ids) const;
  // When the waiting sequence is expected to give its first token (forecast.h), on the clock of `now`; 0 = not known.
  Tick first_token_at(SeqTable& seqs, const cache::KvCache& cache, SeqId id, Tick now);

  const CostModel& cost() const { return cost_; }
  void set_cost(const CostModel& cost) { cost_ = cost; }

 private:
  class Run;
  // A sequence whose prompt is not computed.
  void add_prompt(const Seq& seq, BudgetView& view) const;
  // Rows of its prompt to compute, but what an order knows to be cached.
  uint32_t rows_left(const Seq& seq) const;

  SchedOptions options_;
  PlaceList places_;
  std::unique_ptr<Admit> admit_;
  std::unique_ptr<Budget> budget_;
  std::unique_ptr<Victim> victim_;
  CostModel cost_;
  OutputLengths lengths_;
  Slack slack_;
  uint32_t max_len_;
  uint32_t block_tokens_;
  uint64_t next_step_ = 1;
  Below* below_ = nullptr;
  std::vector<SeqId> victims_;   // scratch
  std::vector<SeqId> takeable_;  // scratch
  std::vector<SeqId> refused_;   // scratch
};

// Tokens whose KV is still to be computed and may be planned now; 0 while samples are unresolved beyond the depth.
uint32_t wanted_rows(const Seq& seq, uint32_t max_len, uint32_t max_ahead);

// Releases the blocks and the slot of a live sequence, which waits again.
void preempt(SeqTable& seqs, cache::KvCache& cache, Seq& seq, Tick now);

}  // namespace millrace::sched
