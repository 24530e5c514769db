// Budget: Static, a fixed number of rows.
#include "sched/policy.h"

namespace millrace::sched {
namespace {

class StaticBudget final : public Budget {
 public:
  explicit StaticBudget(uint32_t rows) : rows_(rows) {}
  StepBudget compute(const SeqTable&, Tick) const override { return {.rows = rows_}; }

 private:
  uint32_t rows_;
};

}  // namespace

std::unique_ptr<Budget> make_budget(const SchedOptions& options) {
  return std::make_unique<StaticBudget>(options.budget_tokens);
}

}  // namespace millrace::sched
