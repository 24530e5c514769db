// Time as an injected dependency: nothing below server reads a clock of its own.
#pragma once

#include "base/ids.h"

namespace millrace {

// A monotonic clock in nanoseconds. Thread: any.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Tick now() const = 0;
};

// CLOCK_MONOTONIC.
class SystemClock final : public Clock {
 public:
  Tick now() const override;
};

}  // namespace millrace
