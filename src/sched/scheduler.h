// Scheduler: sequences, cache and time in, the next StepPlan out. One list, one loop: everyone in order asks for
// tokens; memory comes from free, then cached, then victims from the tail of the same list, none of which is planned
// yet.
//  1. Deterministic: no clock, thread or random source of its own.
//  2. Decoding sequences always get their row; prefills share what the budget leaves.
//  3. Nothing planned is rolled back; a sequence that gets nothing is left as it was.
// Thread: engine.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "cache/kv_cache.h"
#include "flow/step_plan.h"
#include "sched/policy.h"
#include "sched/seq_table.h"

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
  Tick planned_at = 0;
  bool discarded = false;  // an earlier step failed: its output means nothing
  void clear();
};

class Scheduler {
 public:
  Scheduler(const SchedOptions& options, const flow::KvGeometry& kv);

  // Fills `out` with the next step and moves the state as if it had run. False when no sequence gets a row: nothing is
  // to be submitted.
  bool plan(SeqTable& seqs, cache::KvCache& cache, Tick now, PlanRecord& out);

 private:
  class Run;

  SchedOptions options_;
  std::unique_ptr<Order> order_;
  std::unique_ptr<Admit> admit_;
  std::unique_ptr<Budget> budget_;
  std::unique_ptr<Victim> victim_;
  uint32_t max_len_;
  uint64_t next_step_ = 1;
  std::vector<SeqId> order_list_;  // scratch
  std::vector<SeqId> victims_;     // scratch
};

// Tokens whose KV is still to be computed and may be planned now; 0 while samples are unresolved beyond the depth.
uint32_t wanted_rows(const Seq& seq, uint32_t max_len, uint32_t max_ahead);

// Releases the blocks and the slot of a live sequence, which waits again.
void preempt(SeqTable& seqs, cache::KvCache& cache, Seq& seq, Tick now);

}  // namespace millrace::sched
