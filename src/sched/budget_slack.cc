// Budget slack.
#include "sched/slack.h"

#include <algorithm>
#include <cmath>

#include "sched/policies.h"

namespace millrace::sched {
namespace {

constexpr Tick kShortStep = 10 * kMillisecond;
constexpr double kUsualMultiple = 3;  // while nothing is known of who waits
constexpr double kLeastMultiple = 2;
constexpr double kMostMultiple = 12;
constexpr double kHeadroom = 1.25;
constexpr double kPatience = 2e9;  // ns of work that waits: so many a multiple, whatever the balance says
// A single stream keeps its pace beside prompts that arrive. Beside a queue this long of others that will stream it is
// one of many, and steps are as long as with all of them aboard: with steps of 3 times its own it would end before the
// next prompt is done, and they be served one by one; of a few, the first would end and be followed by others before
// the last was begun.
constexpr double kLongQueue = 6e9;    // ns of work that waits
constexpr double kPerMultiple = 5e8;  // and so many more a multiple
constexpr uint64_t kStream = 16;      // tokens of an answer
constexpr uint32_t kMostGrowth = 4;
// So many streams that reading the weights is a small part of their step: more of them aboard make steps longer and
// nothing faster, and with a multiple of 3 prompts come aboard faster than streams end, up to the last slot.
constexpr uint32_t kCrowd = 64;
constexpr double kFixedPart = 0.05;
constexpr double kCrowdMultiple = 2;
constexpr double kOnTheWay = 0.88;  // of the time until a token is due: the rest takes the way to its client
constexpr Tick kLongestStep = 500 * kMillisecond;  // without decodes
// Prompt rows of a step that nobody waits beside: below this the weights are read too often for the work done.
constexpr uint32_t kWorthwhileRows = 128;

// How long the prompts that wait take.
double backlog_ns(const BudgetView& view) { return static_cast<double>(view.n_pending) * view.cost.large().c[1]; }

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
  auto left = static_cast<double>(view.due - view.now);
  Tick by_target = view.due != 0 ? std::llround(kOnTheWay * left / view.cost.lateness()) : INT64_MAX;
  if (view.due != 0 && !view.untargeted) return by_target;
  bool will_stream = view.n_answer >= kStream * uint64_t{view.n_prompts};
  double queue = will_stream ? std::max(0.0, backlog_ns(view) - kLongQueue) / kPerMultiple : 0.0;
  StepShape aboard = with_newcomers(view, queue > 0);
  double most = std::min(kMostMultiple, kUsualMultiple + view.decodes.n_decode - 1 + queue);
  double multiple = std::clamp(multiple_of(view, aboard), kLeastMultiple, most);
  auto decodes = static_cast<double>(view.cost.predict(view.decodes));
  bool crowded = view.decodes.n_decode >= kCrowd && view.cost.large().c[0] < kFixedPart * decodes;
  if (crowded) multiple = std::min(multiple, kCrowdMultiple);
  auto by_speed = std::llround(multiple * static_cast<double>(view.cost.predict(aboard)));
  return std::min(by_target, std::max<Tick>(kShortStep, by_speed));
}

// In balance as many streams come aboard as end: beside each decode a step computes the share of a prompt that one
// token of its answer pays for. With less, the queue grows and slots stay empty; much more only makes streams wait.
double Slack::multiple_of(const BudgetView& view, const StepShape& aboard) {
  double multiple = backlog_ns(view) / kPatience;
  if (view.n_answer == 0) return std::max(multiple, kUsualMultiple);
  double rows = aboard.n_decode * static_cast<double>(view.n_pending) / static_cast<double>(view.n_answer);
  StepShape balanced = aboard;
  balanced.n_prefill = static_cast<uint32_t>(std::min<double>(rows, view.most_rows));
  balanced.ctx_prefill = row_context(view.prefill_ctx, balanced.n_prefill);
  double in_balance = static_cast<double>(view.cost.predict(balanced)) / static_cast<double>(view.cost.predict(aboard));
  return std::max(multiple, kHeadroom * in_balance);
}

StepShape Slack::with_newcomers(const BudgetView& view, bool long_queue) {
  StepShape shape = view.decodes;
  uint64_t n = shape.n_decode;
  uint64_t crowd = std::max<uint64_t>(n, kCrowd);
  uint64_t growth = long_queue ? n + view.n_prompts : std::min(n * n, n * kMostGrowth);
  shape.n_decode = static_cast<uint32_t>(std::min({n + view.n_prompts, growth, crowd}));
  shape.ctx_decode = shape.ctx_decode * shape.n_decode / n;
  return shape;
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
