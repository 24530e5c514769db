// Budget static: a fixed number of rows; what the decodes leave goes to prompts.
#include <algorithm>

#include "sched/policies.h"

namespace millrace::sched {
namespace {

class StaticBudget final : public Budget {
 public:
  explicit StaticBudget(const SchedOptions& options) : rows_(options.budget_tokens), c_min_(options.c_min) {}

  StepBudget compute(const BudgetView& view) override {
    uint32_t n_decode = view.decodes.n_decode;
    uint32_t rows = std::max(rows_ > n_decode ? rows_ - n_decode : 0, c_min_);
    return {.prefill_rows = std::min(rows, view.most_rows)};
  }

 private:
  uint32_t rows_;
  uint32_t c_min_;
};

}  // namespace

std::unique_ptr<Budget> make_static_budget(const SchedOptions& options) {
  return std::make_unique<StaticBudget>(options);
}

}  // namespace millrace::sched
