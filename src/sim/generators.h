// Synthetic workloads: arrivals, lengths and shared prefixes from a seed. The same seed gives the same workload.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "sim/workload.h"

namespace millrace::sim {

// A stream of independent draws from one seed: Philox blocks, numbered.
class Draws {
 public:
  explicit Draws(uint64_t seed) : seed_(seed) {}
  double uniform();            // [0, 1)
  uint64_t below(uint64_t n);  // 0 .. n-1, n >= 1
  double exponential();        // mean 1
  double normal();             // mean 0, deviation 1 (Box-Muller)
  template <class T>
  void shuffle(std::vector<T>& items) {  // Fisher-Yates
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

 private:
  uint64_t seed_;
  uint64_t next_ = 0;
};

// A length in tokens: fixed, uniform over [low, high], lognormal (median, sigma) or normal (mean, deviation); cut to
// [low, high].
struct LengthSpec {
  enum class Kind : uint8_t { kFixed, kUniform, kLognormal, kNormal };
  Kind kind = Kind::kFixed;
  double center = 1;  // value, median or mean
  double spread = 0;  // sigma or deviation
  uint32_t low = 1;
  uint32_t high = 1u << 20;
};

uint32_t draw_length(const LengthSpec& spec, Draws& draws);
// "512", "uniform:LOW:HIGH", "lognormal:MEDIAN:SIGMA[:LOW:HIGH]" or "normal:MEAN:DEVIATION[:LOW:HIGH]".
Result<LengthSpec> parse_length(std::string_view text);

struct SyntheticSpec {
  uint64_t seed = 1;
  uint32_t n_requests = 1000;
  double rate = 0;  // requests per second, Poisson; 0 = all at once
  LengthSpec prompt{.center = 512};
  LengthSpec output{.center = 128};
  uint32_t max_total = 0;   // prompt + output; longer ones are drawn again; 0 = no limit
  uint32_t n_tenants = 1;   // drawn evenly
  uint32_t n_prefixes = 0;  // shared prefixes to draw from, in front of the prompt; 0 = none
  uint32_t prefix_tokens = 0;
};

Workload generate(const SyntheticSpec& spec);
// Arrival times of a Poisson process at `rate` per second for requests that have none.
void arrive_poisson(Workload& workload, double rate, uint64_t seed);

}  // namespace millrace::sim
