// Below: what a plan asks of the blocks below the pool. Implemented by engine::Tiers; without a tier there is none.
// Thread: engine, inside Scheduler::plan.
#pragma once

#include "sched/seq_table.h"

namespace millrace::sched {

class Below {
 public:
  virtual ~Below() = default;
  // `seq` is about to be preempted: copies down what of it nobody else holds, when loading that again is expected to be
  // faster than computing it again.
  virtual void swap_out(const Seq& seq) = 0;
  // `seq`, preempted before, could start now. Begins to load what the pool lacks of it, when that pays: the time until
  // which the sequence should wait for it (the engine says when it is over before); 0 = nothing to wait for.
  virtual Tick swap_in(const Seq& seq) = 0;
};

}  // namespace millrace::sched
