// Golden table G3: hit rate by order. 100 prefixes of 64 blocks x 30 requests, each with one of 4 middles of 32 blocks
// and 8 blocks of its own, B = 16, shuffled, the first 600 of them at once; 24 slots; about a quarter of the running
// end with every step (geometric answers). Source of the numbers: as in golden_cache_test.cc; its generator is not
// recorded, hence bands: FCFS within 3 points.
#include "tests/support/sim_golden.h"

namespace millrace::sim {
namespace {

constexpr uint32_t kBlock = 16;

Workload shared_prefixes(uint64_t seed) {
  Draws draws(seed);
  Workload load;
  for (uint32_t prefix = 0; prefix < 100; ++prefix) {
    for (uint32_t i = 0; i < 30; ++i) {
      SimRequest request;
      request.prompt = {{.content = prefix, .n_tokens = 64 * kBlock},
                        {.content = 1000 + prefix * 4 + draws.below(4), .n_tokens = 32 * kBlock},
                        {.content = unique_content(prefix * 30 + i), .n_tokens = 8 * kBlock}};
      while (draws.uniform() >= 0.25) ++request.n_output;
      load.requests.push_back(std::move(request));
    }
  }
  draws.shuffle(load.requests);
  keep_first(load, 600);
  return load;
}

// Mean over seeds, percent of prompt tokens found in the cache.
double hit_percent(sched::OrderKind order, uint32_t n_blocks) {
  constexpr uint64_t kSeeds = 3;
  constexpr uint32_t kAllRows = 24 * 104 * kBlock;  // every turn prefills what it admits
  double sum = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    auto options = support::golden_engine({.n_blocks = n_blocks, .max_len = 2048, .max_live = 24, .budget = kAllRows});
    options.sched.order = order;
    Workload load = shared_prefixes(seed);
    sum += 100 * support::run_engine(options, support::golden_cost("llama3-8b-a100"), load).hit_rate();
  }
  return sum / kSeeds;
}

struct Row {
  uint32_t n_blocks;
  double fcfs;
};

TEST(GoldenOrder, HitRates) {
  constexpr Row kRows[] = {{1500, 10.6}, {3000, 16.8}, {6000, 33.1}, {12'000, 55.3}};
  for (const Row& row : kRows) {
    EXPECT_NEAR(hit_percent(sched::OrderKind::kFcfs, row.n_blocks), row.fcfs, 3.0) << row.n_blocks << " blocks";
  }
}

}  // namespace
}  // namespace millrace::sim
