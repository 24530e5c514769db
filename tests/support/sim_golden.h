// What the golden tables of the simulator share: the folder of public traces, engines as the tables describe them,
// runs.
#pragma once

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>

#include "base/file.h"
#include "sim/cluster.h"
#include "sim/generators.h"

namespace millrace::support {

constexpr const char* kTraceFolder = MILLRACE_SOURCE_DIR "/../shared/data/traces";
constexpr const char* kNoTraces = "SKIP: trace folder ../shared/data/traces not found";

inline bool have_traces() { return is_directory(kTraceFolder); }

inline sim::Workload load_trace(const std::string& name) {
  Result<sim::Workload> load = sim::read_trace(std::string(kTraceFolder) + "/" + name);
  EXPECT_TRUE(load.ok()) << load.error().message;
  return load.ok() ? std::move(load).value() : sim::Workload{};
}

// The n-th seed, from 1 on, of a golden table: 1, 2, .. by default; another series with --gtest_random_seed=SERIES.
inline uint64_t golden_seed(uint64_t n) { return static_cast<uint64_t>(GTEST_FLAG_GET(random_seed)) * 100 + n; }

struct GoldenEngine {
  uint32_t block_tokens = 16;
  uint32_t n_blocks = 0;
  uint32_t max_len = 16384;
  uint32_t max_live = 256;
  uint32_t budget = 512;
};

// FCFS, MaxUtil, a queue without bounds.
inline engine::EngineOptions golden_engine(const GoldenEngine& golden) {
  engine::EngineOptions out;
  out.kv = {.block_tokens = golden.block_tokens,
            .n_blocks = golden.n_blocks,
            .block_bytes = 1,
            .max_len = golden.max_len,
            .groups = {{}}};
  out.sched.order = sched::OrderKind::kFcfs;
  out.sched.max_live = golden.max_live;
  out.sched.budget_tokens = golden.budget;
  out.sched.c_min = 1;
  out.sched.tok_cap = golden.budget + golden.max_live;
  out.max_queued_requests = UINT32_MAX;
  out.max_queued_tokens = INT64_MAX;
  return out;
}

inline sim::StepCost golden_cost(const std::string& name) { return sim::load_cost(name).value(); }

inline sim::Report run_cluster(const sim::ClusterSpec& spec, const sim::Workload& load) {
  auto cluster = sim::Cluster::create(spec, load);
  EXPECT_TRUE(cluster.ok()) << cluster.error().message;
  if (!cluster.ok()) return {};
  auto report = (*cluster)->run();
  EXPECT_TRUE(report.ok()) << report.error().message;
  return report.ok() ? std::move(report).value() : sim::Report{};
}

inline sim::Report run_engine(const engine::EngineOptions& options, const sim::StepCost& cost,
                              const sim::Workload& load, sim::StepWatch* watch = nullptr) {
  sim::ClusterSpec spec;
  spec.replicas = {{.engine = options, .cost = cost}};
  spec.watch = watch;
  return run_cluster(spec, load);
}

// `value` lies within `band` of `want`. Both are printed, so that a golden table is seen by running its test.
inline void expect_near(double value, double want, double band, const std::string& what) {
  fmt::print("{}: {:.5g}, table {:.5g}\n", what, value, want);
  EXPECT_NEAR(value, want, band) << what;
}
// The same with a band that is a part of `want` (0.05 = 5 %).
inline void expect_near_ratio(double value, double want, double band, const std::string& what) {
  expect_near(value, want, want * band, what);
}

}  // namespace millrace::support
