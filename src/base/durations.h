// Durations: how long something took, counted in buckets by many threads and taken away by one reader, for a metric.
//  1. add() takes no lock and allocates nothing. 2. Each duration is in exactly one take().
// Thread: any.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "base/ids.h"

namespace millrace {

// Upper bounds of the buckets, seconds; one more bucket is beyond them.
constexpr double kDurationBounds[] = {5e-6, 10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3,
                                      .01,  .02,   .05,   .1,    .2,     .3,     .5,     .75,  1,    2};

class Durations {
 public:
  static constexpr size_t kBuckets = std::size(kDurationBounds) + 1;
  struct Taken {
    std::array<uint64_t, kBuckets> counts{};
    double sum_s = 0;
  };

  void add(Tick took) {
    double took_s = static_cast<double>(took) / static_cast<double>(kSecond);
    const double* bound = std::lower_bound(std::begin(kDurationBounds), std::end(kDurationBounds), took_s);
    counts_[static_cast<size_t>(bound - kDurationBounds)].fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(took, std::memory_order_relaxed);
  }

  // What was added since the last take().
  Taken take() {
    Taken out;
    for (size_t i = 0; i < kBuckets; ++i) out.counts[i] = counts_[i].exchange(0, std::memory_order_relaxed);
    out.sum_s = static_cast<double>(sum_.exchange(0, std::memory_order_relaxed)) / static_cast<double>(kSecond);
    return out;
  }

 private:
  std::array<std::atomic<uint64_t>, kBuckets> counts_{};
  std::atomic<Tick> sum_{0};
};

}  // namespace millrace
