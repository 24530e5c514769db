// Budget static: a fixed number of rows; what the decodes leave goes to prompts.
#include "sched/policies.h"

namespace millrace::sched {
namespace {

class StaticBudget final : public Budget {
 public:
  explicit StaticBudget(const SchedOptions& options) : budget_tokens_(options.budget_tokens), c_min_(options.c_min) {}

  StepBudget compute(const BudgetView& view) override {
    return {.prefill_rows = rows_beside_decodes(view, budget_tokens_, c_min_)};
  }

 private:
  uint32_t budget_tokens_;
  uint32_t c_min_;
};

}  // namespace

std::unique_ptr<Budget> make_static_budget(const SchedOptions& options) {
  return std::make_unique<StaticBudget>(options);
}

}  // namespace millrace::sched
