// Budgets that other engines use and that this one is measured against; no deployment wants them.
//  - prefill-first: while a prompt can be computed, nothing decodes (vLLM before chunked prefill, Orca's predecessors):
//    the first token comes soonest, streams stall.
//  - alternate: a step of prompt rows, then a step of decodes ("chunked prefills only" of Sarathi-Serve, OSDI
//  2024, 5.4).
// Prompt rows of a step: what budget_tokens leaves beside the decodes, as with every budget: a step that nobody can
// prefill in holds both.
#include <utility>

#include "sched/policies.h"

namespace millrace::sched {
namespace {

class Rows {
 public:
  explicit Rows(const SchedOptions& options) : budget_tokens_(options.budget_tokens), c_min_(options.c_min) {}
  uint32_t left(const BudgetView& view) const { return rows_beside_decodes(view, budget_tokens_, c_min_); }

 private:
  uint32_t budget_tokens_;
  uint32_t c_min_;
};

class PrefillFirst final : public Budget {
 public:
  explicit PrefillFirst(const SchedOptions& options) : rows_(options) {}
  StepBudget compute(const BudgetView& view) override {
    Side side = view.decodes.n_decode == 0 ? Side::kBoth : Side::kPrefill;
    return {.prefill_rows = rows_.left(view), .side = side};
  }

 private:
  Rows rows_;
};

class Alternate final : public Budget {
 public:
  explicit Alternate(const SchedOptions& options) : rows_(options) {}
  StepBudget compute(const BudgetView& view) override {
    bool decode = std::exchange(decode_next_, !decode_next_);
    if (view.decodes.n_decode == 0) return {.prefill_rows = rows_.left(view)};
    if (decode) return {.prefill_rows = 0, .side = Side::kDecode};
    return {.prefill_rows = rows_.left(view), .side = Side::kPrefill};
  }

 private:
  Rows rows_;
  bool decode_next_ = false;
};

}  // namespace

std::unique_ptr<Budget> make_prefill_first_budget(const SchedOptions& options) {
  return std::make_unique<PrefillFirst>(options);
}

std::unique_ptr<Budget> make_alternate_budget(const SchedOptions& options) {
  return std::make_unique<Alternate>(options);
}

}  // namespace millrace::sched
