// Budget slack.
#include "sched/slack.h"

#include <algorithm>

#include "sched/policies.h"

namespace millrace::sched {
namespace {

constexpr Tick kShortStep = 20 * kMillisecond;
constexpr Tick kDecodeMultiple = 3;
constexpr Tick kLongestStep = 500 * kMillisecond;  // without decodes
// Prompt rows of a step that nobody waits beside: below this the weights are read too often for the work done.
constexpr uint32_t kWorthwhileRows = 128;

class SlackBudget final : public Budget {
 public:
  explicit SlackBudget(const SchedOptions& options) : slack_(options) {}

  StepBudget compute(const BudgetView& view) override {
    return {.prefill_rows = slack_.prefill_rows(view, slack_.limit(view), 0)};
  }

 private:
  Slack slack_;
};

}  // namespace

Slack::Slack(const SchedOptions& options)
    : budget_tokens_(options.budget_tokens), c_min_(options.c_min), row_tile_(options.row_tile) {}

Tick Slack::limit(const BudgetView& view) const {
  if (view.decodes.n_decode == 0) return kLongestStep;
  Tick by_target = view.due != 0 ? (view.due - view.now) * 85 / 100 : INT64_MAX;
  if (view.due != 0 && !view.untargeted) return by_target;
  return std::min(by_target, std::max(kShortStep, kDecodeMultiple * view.cost.predict(view.decodes)));
}

uint32_t Slack::most(const BudgetView& view) const { return rows_beside_decodes(view, budget_tokens_, c_min_); }

Tick Slack::predict(const BudgetView& view, uint32_t n_prefill) const {
  StepShape shape = view.decodes;
  shape.n_prefill = n_prefill;
  shape.ctx_prefill = row_context(view.prefill_ctx, n_prefill);
  return view.cost.predict(shape);
}

uint32_t Slack::prefill_rows(const BudgetView& view, Tick limit, Tick extra) const {
  uint32_t high = most(view);
  uint32_t low = std::min(c_min_, high);
  if (view.decodes.n_decode == 0) low = std::min(std::max(low, kWorthwhileRows), high);
  if (!view.cost.known() || predict(view, high) + extra <= limit) return high;
  while (low < high) {  // predictions grow with the rows
    uint32_t middle = low + (high - low + 1) / 2;
    if (predict(view, middle) + extra <= limit) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return to_tile(view, low);
}

uint32_t Slack::to_tile(const BudgetView& view, uint32_t n_prefill) const {
  uint32_t beyond = (view.decodes.n_decode + n_prefill) % row_tile_;
  uint32_t least = std::min(c_min_, most(view));
  return n_prefill >= least + beyond ? n_prefill - beyond : n_prefill;
}

std::unique_ptr<Budget> make_slack_budget(const SchedOptions& options) {
  return std::make_unique<SlackBudget>(options);
}

}  // namespace millrace::sched
