// Histogram: counts of durations in buckets 1/256 wide relative to their value, so percentiles are within 0.4 %.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace millrace::sim {

class Histogram {
 public:
  Histogram();
  void add(Tick value);  // negative counts as 0
  void add(const Histogram& other);
  uint64_t count() const { return count_; }
  Tick largest() const { return largest_; }
  double mean() const;  // ns; 0 when empty
  // The value that a share q in [0, 1] of the samples does not exceed; 0 when empty.
  Tick percentile(double q) const;

 private:
  std::vector<uint64_t> buckets_;
  uint64_t count_ = 0;
  double sum_ = 0;
  Tick largest_ = 0;
};

}  // namespace millrace::sim
