// The hash that makes two plans comparable: equal decisions give equal hashes on every platform.
#pragma once

#include <cstdint>

#include "flow/step_plan.h"

namespace millrace::sched {

// Of the step number, new slots with their tokens, shares and block deltas.
uint64_t hash_plan(const flow::StepPlan& plan);

}  // namespace millrace::sched
