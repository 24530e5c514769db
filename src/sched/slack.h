// Slack: how many prompt rows a step may have beside its decodes so that no stream waits too long for its next token.
//  - With a target: the step is predicted to end before the first stream is due, with room for 98 of 100 steps to be
//    as late as steps of this machine are (CostModel::lateness).
//  - Streams without a target: within 10 ms, or 3 times what a step of decodes takes once those are aboard who wait for
//    their prompt (n streams: at most n * n together, four times as many, and 64): a stream keeps a third of the speed
//    that it will have anyway, and a lone one does not pay for a crowd. When more prompts wait than 6 s can compute,
//    the multiple grows with them, to 8 and by one a stream at most: under load that lasts, prompts and streams are
//    late alike. From 64 streams on, when the weights are a twentieth of their step or less, it is 2.
//  - Nothing decodes: as many as fit the workspace, in at most half a second, so that new requests and cancels are
//    heard.
// The rows of the step are a multiple of the row tile, the prompt rows at least c_min. Source: dynamic chunking,
// Niyama, arXiv 2503.22562, section 4.2.
#pragma once

#include "sched/policy.h"

namespace millrace::sched {

class Slack {
 public:
  explicit Slack(const SchedOptions& options);

  // ns that a step with these decodes may take.
  Tick limit(const BudgetView& view) const;
  // Prompt rows so that extra + predicted time <= limit.
  uint32_t prefill_rows(const BudgetView& view, Tick limit, Tick extra) const;
  Tick predict(const BudgetView& view, uint32_t n_prefill) const;

 private:
  // The decodes as they will be when the waiting prompts have joined them.
  static StepShape with_newcomers(const BudgetView& view);
  uint32_t most(const BudgetView& view) const;
  uint32_t to_tile(const BudgetView& view, uint32_t n_prefill) const;

  uint32_t budget_tokens_;
  uint32_t c_min_;
  uint32_t row_tile_;
};

}  // namespace millrace::sched
