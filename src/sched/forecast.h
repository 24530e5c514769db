// forecast_first_token: when a waiting sequence will give its first token, by the order in force: the list of a plan
// says who gets rows before it, the cost model how long they take, and who runs how long it is until a slot is free.
//  1. Nothing is promised: who comes later may pass it, outputs may be longer than usual. What is in the cache is
//     counted as computed.
//  2. A flood of one tenant is before another's request only as far as the order puts it there.
// Thread: engine.
#pragma once

#include <span>

#include "sched/policy.h"
#include "sched/scheduler.h"

namespace millrace::sched {

struct ForecastView {
  const OrderView& list;
  std::span<const SeqId> order;  // everyone, best first
  PrefillOutlook outlook;
  uint32_t usual_output = 0;  // tokens
};

// ns from now; 0 = the cost model knows nothing yet. `id` waits and stands in the order.
Tick forecast_first_token(const ForecastView& view, SeqId id);

}  // namespace millrace::sched
