// Slack: how many prompt rows a step may have beside its decodes so that no stream waits too long for its next token.
//  - With a target: the step ends within 0.85 of the time that is left until the first stream is due.
//  - Streams without a target: within max(20 ms, 3 times the step of the decodes alone): an idle machine takes long
//    steps, streams keep a third of their speed or better.
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
  uint32_t most(const BudgetView& view) const;
  uint32_t to_tile(const BudgetView& view, uint32_t n_prefill) const;

  uint32_t budget_tokens_;
  uint32_t c_min_;
  uint32_t row_tile_;
};

}  // namespace millrace::sched
