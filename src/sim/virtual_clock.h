// VirtualClock: time that moves only when the simulation moves it, never back. Thread: one.
#pragma once

#include "base/clock.h"
#include "base/macros.h"

namespace millrace::sim {

class VirtualClock final : public Clock {
 public:
  Tick now() const override { return now_; }
  void advance_to(Tick at) {
    CHECK(at >= now_, "the virtual clock goes back from {} to {}", now_, at);
    now_ = at;
  }

 private:
  Tick now_ = 0;
};

}  // namespace millrace::sim
