// Slack: how many prompt rows a step may have beside its decodes so that no stream waits too long for its next token.
//  - With a target: the step is predicted to end before the first stream is due, with room for 98 of 100 steps to be
//    as late as steps of this machine are (CostModel::lateness).
//  - Streams without a target: within 10 ms, or a multiple of what a step of decodes takes once those are aboard who
//    wait for their prompt (n streams: at most n * n together, four times as many, and 64). The multiple is what the
//    load needs to stay in balance and a quarter more: prompt rows for each token that the answers of those who wait
//    will have, 2 at least, 12 at most, 3 for a lone stream and one more for each other; short prompts leave streams
//    their speed, long ones do not queue for ever. When more prompts wait than 2 s a multiple can compute, it grows
//    with them. From 64 streams on, when the weights are a twentieth of their step or less, it is 2.
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
  // The decodes as they will be when the waiting prompts have joined them: all of a long queue, else those who come
  // next.
  static StepShape with_newcomers(const BudgetView& view, bool long_queue);
  // How many times the time of these decodes a step may take.
  static double multiple_of(const BudgetView& view, const StepShape& aboard);
  uint32_t most(const BudgetView& view) const;
  uint32_t to_tile(const BudgetView& view, uint32_t n_prefill) const;

  uint32_t budget_tokens_;
  uint32_t c_min_;
  uint32_t row_tile_;
};

}  // namespace millrace::sched
