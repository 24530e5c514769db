// Plain integer types that every folder shares.
#pragma once

#include <cstdint>

namespace millrace {

using TokenId = int32_t;  // index into the vocabulary, 0 .. n_vocab-1; negative = none
using Tick = int64_t;     // nanoseconds of a monotonic clock (base/clock.h)

constexpr TokenId kNoToken = -1;
constexpr Tick kMicrosecond = 1'000;
constexpr Tick kMillisecond = 1'000'000;
constexpr Tick kSecond = 1'000'000'000;

}  // namespace millrace
