// Backend: all the engine knows of the machine. Implemented by runtime::WorkerGroup and tests/support/fake_worker.h.
#pragma once

#include <cstdint>

#include "flow/step_plan.h"

namespace millrace::flow {

// Thread: engine. At depth 1 (CPU) submit() computes the step before it returns.
class Backend {
 public:
  virtual ~Backend() = default;
  // The plan must stay alive until its output was taken. One step in flight per unit of depth.
  virtual void submit(const StepPlan& plan) = 0;
  virtual bool done(uint64_t step) = 0;
  // Output of a done step; call once per step.
  virtual StepOutput take_output(uint64_t step) = 0;
};

}  // namespace millrace::flow
