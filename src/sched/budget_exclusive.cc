// Budget exclusive: like slack, but prompt rows get steps of their own where the two together are predicted to take
// longer than one after the other (EB+, arXiv 2606.00516: so on machines of low memory bandwidth). Never two prefill
// steps in a row while streams decode: a stream waits for one prefill step and its own, both inside the limit.
#include "sched/policies.h"
#include "sched/slack.h"

namespace millrace::sched {
namespace {

class ExclusiveBudget final : public Budget {
 public:
  explicit ExclusiveBudget(const SchedOptions& options) : slack_(options) {}

  StepBudget compute(const BudgetView& view) override {
    Tick limit = slack_.limit(view);
    uint32_t mixed = slack_.prefill_rows(view, limit, 0);
    bool after_prefill = last_was_prefill_;
    last_was_prefill_ = false;
    if (view.decodes.n_decode == 0 || !view.cost.known()) return {.prefill_rows = mixed};
    BudgetView alone = view;
    alone.decodes = {};
    Tick decode = view.cost.predict(view.decodes);
    if (slack_.predict(view, mixed) <= slack_.predict(alone, mixed) + decode) return {.prefill_rows = mixed};
    if (after_prefill) return {.prefill_rows = 0, .side = Side::kDecode};
    last_was_prefill_ = true;
    return {.prefill_rows = slack_.prefill_rows(alone, limit, decode), .side = Side::kPrefill};
  }

 private:
  Slack slack_;
  bool last_was_prefill_ = false;
};

}  // namespace

std::unique_ptr<Budget> make_exclusive_budget(const SchedOptions& options) {
  return std::make_unique<ExclusiveBudget>(options);
}

}  // namespace millrace::sched
