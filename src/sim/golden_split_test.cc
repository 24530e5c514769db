// Golden table G7: prefill and decode on one machine or on machines of their own, with the coefficients of DistServe
// (OSDI 2024): OPT 13B on one A100, 512 tokens in, 64 out, Poisson arrivals, 1,500 requests, P90 of TTFT and of the
// mean time per token, free hand-over. Band: the rate that just keeps both bounds within 5 %: they hold at 0.95 of it
// and not at 1.05, with half of the seeds (near its limit a queue is long in a few of them, which a mean would follow).
// Source of the numbers: as in golden_cache_test.cc; one seed that is not recorded.
#include <algorithm>
#include <array>
#include <cmath>

#include "tests/support/sim_golden.h"

namespace millrace::sim {
namespace {

constexpr uint32_t kEverything = 1 << 17;  // rows: no prompt is cut

ReplicaSpec replica(ReplicaRole role, uint32_t budget) {
  return {.engine = support::golden_engine({.n_blocks = 60'000, .max_len = 1024, .max_live = 1024, .budget = budget}),
          .cost = support::golden_cost("opt-13b-a100"),
          .role = role};
}

// How much of the tighter bound the P90s take, median over seeds: at most 1 when the rate is kept.
double strain(const ClusterSpec& spec, double rate) {
  constexpr size_t kSeeds = 15;
  std::array<double, kSeeds> parts{};
  for (size_t i = 0; i < kSeeds; ++i) {
    Workload load = generate({.seed = support::golden_seed(i + 1),
                              .n_requests = 1500,
                              .rate = rate,
                              .prompt = {.center = 512},
                              .output = {.center = 64}});
    Report report = support::run_cluster(spec, load);
    auto part = [](const Histogram& h, Tick bound) {
      return bound == 0 ? 0 : static_cast<double>(h.percentile(0.9)) / static_cast<double>(bound);
    };
    parts[i] = std::max(part(report.ttft, spec.slo.ttft), part(report.tpot, spec.slo.tpot));
  }
  std::ranges::nth_element(parts, parts.begin() + kSeeds / 2);
  return parts[kSeeds / 2];
}

void expect_capacity(const ClusterSpec& spec, double rate, double band, const char* what) {
  EXPECT_LE(strain(spec, rate * (1 - band)), 1.0) << what << " at " << rate * (1 - band);
  EXPECT_GT(strain(spec, rate * (1 + band)), 1.0) << what << " at " << rate * (1 + band);
}

struct Row {
  Tick ttft, tpot;  // ms
  double prefill_first, chunked, chunked_band, prefill_only, decode_only;
  uint32_t n_prefill, n_decode;
  double split_per_machine;
};

class GoldenSplit : public testing::TestWithParam<Row> {};

TEST_P(GoldenSplit, OneMachineInChunksOf512) {
  ClusterSpec spec;
  spec.slo = {.ttft = GetParam().ttft * kMillisecond, .tpot = GetParam().tpot * kMillisecond};
  spec.replicas = {replica(ReplicaRole::kBoth, 512)};
  expect_capacity(spec, GetParam().chunked, GetParam().chunked_band, "chunked");
}

ClusterSpec prefill_first(const Row& row) {
  ClusterSpec spec;
  spec.slo = {.ttft = row.ttft * kMillisecond, .tpot = row.tpot * kMillisecond};
  spec.replicas = {replica(ReplicaRole::kBoth, kEverything)};
  spec.replicas[0].engine.sched.budget = sched::BudgetKind::kPrefillFirst;
  return spec;
}

ClusterSpec split(const Row& row) {
  ClusterSpec spec;
  spec.slo = {.ttft = row.ttft * kMillisecond, .tpot = row.tpot * kMillisecond};
  spec.replicas.assign(row.n_prefill, replica(ReplicaRole::kPrefill, 512));
  for (uint32_t i = 0; i < row.n_decode; ++i) spec.replicas.push_back(replica(ReplicaRole::kDecode, kEverything));
  return spec;
}

TEST_P(GoldenSplit, OneMachinePrefillFirst) {
  expect_capacity(prefill_first(GetParam()), GetParam().prefill_first, 0.05, "prefill first");
}

// The sign of the last column: at a rate a machine between the two, one keeps the bounds and the other does not.
TEST_P(GoldenSplit, WhichWinsDependsOnTheBounds) {
  const Row& row = GetParam();
  double rate = std::sqrt(row.prefill_first * row.split_per_machine);
  bool together_keeps = strain(prefill_first(row), rate) <= 1;
  bool split_keeps = strain(split(row), rate * (row.n_prefill + row.n_decode)) <= 1;
  bool split_wins = row.split_per_machine > row.prefill_first;
  EXPECT_EQ(split_keeps, split_wins) << "at " << rate;
  EXPECT_EQ(together_keeps, !split_wins) << "at " << rate;
}

TEST_P(GoldenSplit, PrefillAndDecodeAlone) {
  constexpr size_t kPlenty = 12;  // replicas of the side that is not measured
  ClusterSpec prefill;
  prefill.slo = {.ttft = GetParam().ttft * kMillisecond};
  prefill.replicas.assign(kPlenty, replica(ReplicaRole::kDecode, kEverything));
  prefill.replicas.push_back(replica(ReplicaRole::kPrefill, 512));
  expect_capacity(prefill, GetParam().prefill_only, 0.05, "prefill");
  ClusterSpec decode;
  decode.slo = {.tpot = GetParam().tpot * kMillisecond};
  decode.replicas.assign(kPlenty, replica(ReplicaRole::kPrefill, 512));
  decode.replicas.push_back(replica(ReplicaRole::kDecode, kEverything));
  expect_capacity(decode, GetParam().decode_only, 0.05, "decode");
}

// The table's last column multiplies the two sides; here the machines run together, behind a router that sees their
// load, so the rate is kept with some room.
TEST_P(GoldenSplit, SplitMachinesTogether) {
  ClusterSpec spec = split(GetParam());
  double rate = GetParam().split_per_machine * (GetParam().n_prefill + GetParam().n_decode);
  EXPECT_LE(strain(spec, rate * 0.95), 1.0);
  EXPECT_GT(strain(spec, rate * 1.35), 1.0);
}

// Chunked at 200/100 ms: seeds give 3.3 to 4.2, mean 3.9; the table's one seed gave 3.65.
INSTANTIATE_TEST_SUITE_P(Bounds, GoldenSplit,
                         testing::Values(Row{400, 40, 3.85, 4.95, 0.05, 11.1, 18.0, 3, 2, 6.66},
                                         Row{400, 60, 5.83, 7.14, 0.05, 11.1, 28.6, 2, 1, 7.41},
                                         Row{200, 100, 7.19, 3.65, 0.15, 7.4, 32.6, 4, 1, 5.93}));

}  // namespace
}  // namespace millrace::sim
