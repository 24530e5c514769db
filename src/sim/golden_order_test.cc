// Golden table G3: hit rate by order. 100 prefixes of 64 blocks x 30 requests, each with one of 4 middles of 32 blocks
// and 8 blocks of its own, B = 16, shuffled, the first 600 of them at once; 24 slots; about a quarter of the running
// end with every step (geometric answers). Source of the numbers: as in golden_cache_test.cc; its generator is not
// recorded, hence bands: FCFS and LPM within 3 points, DFS the optimum itself.
#include <set>

#include "tests/support/sim_golden.h"

namespace millrace::sim {
namespace {

using sched::OrderKind;

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

constexpr uint64_t kSeeds = 2;

// Percent of prompt tokens found in the cache.
double hit_percent(OrderKind order, uint32_t n_blocks, uint64_t seed) {
  constexpr uint32_t kAllRows = 24 * 104 * kBlock;  // every turn prefills what it admits
  auto options = support::golden_engine({.n_blocks = n_blocks, .max_len = 2048, .max_live = 24, .budget = kAllRows});
  options.sched.order = order;
  options.sched.n_candidates = order == OrderKind::kDfs ? 600 : 128;
  options.sched.barrier_age = 1000 * kSecond;  // hits alone count here
  options.sched.k_bypass = UINT32_MAX;
  Workload load = shared_prefixes(seed);
  return 100 * support::run_engine(options, support::golden_cost("llama3-8b-a100"), load).hit_rate();
}

double mean_percent(OrderKind order, uint32_t n_blocks) {
  double sum = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) sum += hit_percent(order, n_blocks, support::golden_seed(seed));
  return sum / kSeeds;
}

// Every piece is computed once.
double optimum_percent(const Workload& load) {
  std::set<uint64_t> known;
  uint64_t n_tokens = 0;
  uint64_t n_new = 0;
  for (const SimRequest& request : load.requests) {
    n_tokens += request.n_prompt();
    for (const Piece& piece : request.prompt) n_new += known.insert(piece.content).second ? piece.n_tokens : 0;
  }
  return 100 * static_cast<double>(n_tokens - n_new) / static_cast<double>(n_tokens);
}

struct Row {
  uint32_t n_blocks;
  double fcfs, lpm;
};

TEST(GoldenOrder, HitRates) {
  constexpr Row kRows[] = {{1500, 10.6, 48.6}, {3000, 16.8, 52.3}, {6000, 33.1, 57.3}, {12'000, 55.3, 64.3}};
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.n_blocks);
    double fcfs = mean_percent(OrderKind::kFcfs, row.n_blocks);
    double lpm = mean_percent(OrderKind::kLpm, row.n_blocks);
    support::expect_near(fcfs, row.fcfs, 3.0, fmt::format("hits FCFS, {} blocks, %", row.n_blocks));
    support::expect_near(lpm, row.lpm, 3.0, fmt::format("hits LPM, {} blocks, %", row.n_blocks));
    EXPECT_LT(fcfs, lpm);
    EXPECT_LT(lpm, mean_percent(OrderKind::kDfs, row.n_blocks));
  }
}

TEST(GoldenOrder, DepthFirstIsOptimalAtEveryPoolSize) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const uint64_t series_seed = support::golden_seed(seed);
    double optimum = optimum_percent(shared_prefixes(series_seed));
    support::expect_near(optimum, 65.6, 1.0, "optimum, %");
    for (uint32_t n_blocks : {1500u, 3000u, 6000u, 12'000u}) {
      EXPECT_DOUBLE_EQ(hit_percent(OrderKind::kDfs, n_blocks, series_seed), optimum)
          << n_blocks << " blocks, seed " << series_seed;
    }
  }
}

}  // namespace
}  // namespace millrace::sim
