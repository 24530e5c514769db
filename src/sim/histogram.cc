#include "sim/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace millrace::sim {
namespace {

constexpr unsigned kBits = 8;  // 256 buckets per power of two

size_t bucket_of(uint64_t value) {
  if (value < (1u << kBits)) return value;
  auto exponent = static_cast<unsigned>(std::bit_width(value)) - 1 - kBits;
  return (size_t{exponent} << kBits) + (value >> exponent);
}

// Middle of a bucket.
Tick value_of(size_t bucket) {
  if (bucket < (2u << kBits)) return static_cast<Tick>(bucket);
  size_t exponent = (bucket >> kBits) - 1;
  uint64_t mantissa = (bucket & ((1u << kBits) - 1)) + (1u << kBits);
  return static_cast<Tick>((mantissa << exponent) + ((uint64_t{1} << exponent) >> 1));
}

}  // namespace

Histogram::Histogram() : buckets_(size_t{64 - kBits} << kBits) {}

void Histogram::add(Tick value) {
  value = std::max<Tick>(value, 0);
  ++buckets_[bucket_of(static_cast<uint64_t>(value))];
  ++count_;
  sum_ += static_cast<double>(value);
  largest_ = std::max(largest_, value);
}

void Histogram::add(const Histogram& other) {
  for (size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  largest_ = std::max(largest_, other.largest_);
}

double Histogram::mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }

Tick Histogram::percentile(double q) const {
  if (count_ == 0) return 0;
  auto rank = static_cast<uint64_t>(std::ceil(std::clamp(q, 0.0, 1.0) * static_cast<double>(count_)));
  uint64_t below = 0;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    below += buckets_[i];
    if (below >= std::max<uint64_t>(rank, 1)) return std::min(value_of(i), largest_);
  }
  return largest_;
}

}  // namespace millrace::sim
