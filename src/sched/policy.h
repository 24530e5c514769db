// The four policies. Order says which waiting request is best, Admit who may start, Budget how many prompt rows a step
// has, Victim whose blocks may be taken. They decide from what they are shown: no clock, no random source. The tables
// of policies.h name them. Thread: engine.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "sched/cost_model.h"
#include "sched/seq_table.h"

namespace millrace::sched {

struct PlanRecord;

struct OrderView {
  SeqTable& seqs;  // lent for accounts and memos
  const cache::KvCache& cache;
  const CostModel& cost;
  Tick now = 0;
};

class Order {
 public:
  virtual ~Order() = default;
  // Appends the best of `waiting` (requests of one band by arrival, at least one), best first, at most `limit` (>= 1).
  virtual void rank(const OrderView& view, std::span<const Waiter> waiting, size_t limit, std::vector<SeqId>& out) = 0;
  // Is the tenant of `waiting`, which was ranked, owed service before that of `running`, whose prompt is in progress?
  virtual bool owes(const OrderView& view, const Seq& waiting, const Seq& running) const {
    (void)view, (void)waiting, (void)running;
    return false;
  }
};

struct AdmitView {
  const SeqTable& seqs;
  const cache::KvCache& cache;
  uint32_t usual_output = 0;        // tokens: mean of the outputs that ended lately
  uint32_t n_takeable = 0;          // blocks of live sequences that the asker may preempt
  std::span<const SeqId> takeable;  // those sequences
  bool head = false;                // nobody before it wants tokens
};

class Admit {
 public:
  virtual ~Admit() = default;
  // May `seq`, whose table holds the matched prefix of `computed` tokens, start now?
  virtual bool ok(const AdmitView& view, const Seq& seq, uint32_t computed) = 0;
};

struct BudgetView {
  const CostModel& cost;
  Tick now = 0;
  StepShape decodes;         // the decoding sequences: they are in every step but a pure prefill
  Tick due = 0;              // when the first of them is due its next token by a target; 0 = none has a target
  bool untargeted = false;   // some of them have no target
  uint32_t n_prompts = 0;    // sequences whose prompt is not computed: they decode next
  uint64_t n_pending = 0;    // rows of those prompts, but those that an order knows to be cached
  uint64_t n_answer = 0;     // tokens that their answers are expected to have
  uint32_t prefill_ctx = 0;  // context of the sequence that would prefill first
  uint32_t most_rows = 0;    // prompt rows that fit the step
};

// Prompt rows that a step of `budget_tokens` rows leaves beside its decodes; c_min at least, as far as they fit.
inline uint32_t rows_beside_decodes(const BudgetView& view, uint32_t budget_tokens, uint32_t c_min) {
  uint32_t n_decode = view.decodes.n_decode;
  uint32_t rows = std::max(budget_tokens > n_decode ? budget_tokens - n_decode : 0, c_min);
  return std::min(rows, view.most_rows);
}

// Which rows a step has.
enum class Side : uint8_t { kBoth, kPrefill, kDecode };

struct StepBudget {
  uint32_t prefill_rows = 0;
  Side side = Side::kBoth;
};

class Budget {
 public:
  virtual ~Budget() = default;
  // Called when there are prompt rows to compute.
  virtual StepBudget compute(const BudgetView& view) = 0;
};

class Victim {
 public:
  virtual ~Victim() = default;
  // May `asker` take the blocks of `victim`, which stands behind it? `head`: the asker is the head of the list.
  virtual bool may(const SeqTable& seqs, const Seq& victim, const Seq& asker, Tick now, bool head) const = 0;
};

}  // namespace millrace::sched
