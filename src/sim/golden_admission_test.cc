// Golden table G5: capacity policies. The first 1,500 conversations of the Azure trace, all at once, max_tokens 1000, B
// = 16, budget 512, at most 256 running, Llama-3 8B on an A100; preempted KV is not kept. Band: output rate within 5 %,
// the order of the policies, no preemption under NoEvict. Source of the numbers: as in golden_cache_test.cc.
#include <map>

#include "tests/support/sim_golden.h"

namespace millrace::sim {
namespace {

using sched::AdmitKind;

struct Row {
  uint32_t n_tokens;  // of the pool
  double reserve, no_evict_peak, max_util, predictive;
};

Report run(uint32_t pool_tokens, AdmitKind admit, bool keep_preempted) {
  Workload load = support::load_trace("azure_conv.csv");
  keep_first(load, 1500);
  arrive_at_once(load);
  for (SimRequest& request : load.requests) request.max_tokens = 1000;
  auto options = support::golden_engine({.n_blocks = pool_tokens / 16});
  options.sched.admit = admit;
  options.prefix_cache = keep_preempted;
  Report report = support::run_engine(options, support::golden_cost("llama3-8b-a100"), load);
  EXPECT_EQ(report.n_finished, 1500u);
  return report;
}

class GoldenAdmission : public testing::TestWithParam<Row> {};

TEST_P(GoldenAdmission, RatesAndOrder) {
  if (!support::have_traces()) GTEST_SKIP() << support::kNoTraces;
  const Row& row = GetParam();
  Report peak = run(row.n_tokens, AdmitKind::kNoEvictPeak, false);
  Report most = run(row.n_tokens, AdmitKind::kMaxUtil, false);
  Report reserve = run(row.n_tokens, AdmitKind::kReserve, false);
  Report predictive = run(row.n_tokens, AdmitKind::kPredictive, false);
  support::expect_near_ratio(reserve.output_rate(), row.reserve, 0.05, "sum of maxima");
  support::expect_near_ratio(peak.output_rate(), row.no_evict_peak, 0.05, "NoEvictPeak");
  support::expect_near_ratio(most.output_rate(), row.max_util, 0.05, "MaxUtil");
  support::expect_near_ratio(predictive.output_rate(), row.predictive, 0.05, "Predictive");
  EXPECT_LT(reserve.output_rate(), peak.output_rate());
  EXPECT_LT(peak.output_rate(), predictive.output_rate());
  EXPECT_LT(predictive.output_rate(), most.output_rate());
  EXPECT_EQ(reserve.totals.n_preemptions + peak.totals.n_preemptions, 0u);
  EXPECT_GT(most.totals.n_preemptions, 0u);
  EXPECT_LT(predictive.totals.recomputed_tokens, most.totals.recomputed_tokens / 4);
  Report kept = run(row.n_tokens, AdmitKind::kMaxUtil, true);
  EXPECT_LT(kept.totals.recomputed_tokens, most.totals.recomputed_tokens)
      << "blocks that survive are not computed again";
}

INSTANTIATE_TEST_SUITE_P(Pools, GoldenAdmission,
                         testing::Values(Row{24'000, 518, 562, 712, 695}, Row{48'000, 806, 861, 1007, 993},
                                         Row{96'000, 1096, 1147, 1261, 1244}));

TEST(GoldenAdmissionSmall, MaxUtilPreemptsAndNoEvictPeakDoesNot) {
  Workload load;
  for (uint64_t i = 0; i < 40; ++i) {
    load.requests.push_back(
        {.n_output = 150, .max_tokens = 200, .prompt = {{.content = unique_content(i), .n_tokens = 100}}});
  }
  for (auto [admit, preempts] : {std::pair{AdmitKind::kMaxUtil, true}, {AdmitKind::kNoEvictPeak, false}}) {
    auto options = support::golden_engine({.n_blocks = 120});
    options.sched.admit = admit;
    Report report = support::run_engine(options, support::golden_cost("llama3-8b-a100"), load);
    EXPECT_EQ(report.n_finished, 40u);
    EXPECT_EQ(report.totals.n_preemptions > 0, preempts);
  }
}

}  // namespace
}  // namespace millrace::sim
