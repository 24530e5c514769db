// FakeClock: a clock that stands still until it is told otherwise. Thread: any.
#pragma once

#include <atomic>

#include "base/clock.h"

namespace millrace::support {

class FakeClock final : public Clock {
 public:
  explicit FakeClock(Tick start = 1) : now_(start) {}
  Tick now() const override { return now_.load(); }
  void advance(Tick by) { now_.fetch_add(by); }

 private:
  std::atomic<Tick> now_;
};

}  // namespace millrace::support
