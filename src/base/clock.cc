#include "base/clock.h"

#include <ctime>

namespace millrace {

Tick SystemClock::now() const {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<Tick>(now.tv_sec) * kSecond + static_cast<Tick>(now.tv_nsec);
}

}  // namespace millrace
