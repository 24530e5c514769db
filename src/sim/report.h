// Report: what a simulation measured, as numbers, JSON and a table. Times in ns of the virtual clock.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "sim/histogram.h"
#include "sim/sim_backend.h"

namespace millrace::sim {

// Bounds of one request; 0 = none. `tpot` holds for the mean time per token after the first.
struct SloSpec {
  Tick ttft = 0;
  Tick tpot = 0;
};

// What became of one request.
struct Outcome {
  Tick arrival = 0;
  Tick first_scheduled = 0;
  Tick first_token = 0;
  Tick predicted = 0;  // first token, as the engine said on arrival; 0 = not predicted
  Tick last_token = 0;
  Tick largest_gap = 0;  // between two of its tokens
  uint32_t n_prompt = 0;
  uint32_t n_output = 0;
  uint32_t n_cached = 0;
  uint32_t n_preempted = 0;
  uint32_t replica = 0;
  uint32_t tenant = 0;
  bool finished = false;  // all its tokens came
  bool refused = false;   // by submit()

  Tick ttft() const { return first_token - arrival; }
  Tick tpot() const { return n_output < 2 ? 0 : (last_token - first_token) / (n_output - 1); }
  bool meets(const SloSpec& slo) const;
};

// Sums over the replicas.
struct SimTotals {
  BackendTotals backend;
  uint64_t prefix_query_tokens = 0;
  uint64_t prefix_hit_tokens = 0;
  uint64_t prompt_tokens = 0;
  uint64_t prompt_tokens_computed = 0;
  uint64_t generated_tokens = 0;
  uint64_t recomputed_tokens = 0;
  uint64_t n_preemptions = 0;
  uint64_t n_evictions = 0;
};

struct Report {
  std::vector<Outcome> outcomes;   // by request
  Histogram ttft, tbt, tpot, e2e;  // tbt: every gap between two tokens of a request
  SimTotals totals;
  SloSpec slo;
  uint64_t n_finished = 0;
  uint64_t n_refused = 0;
  uint64_t n_good = 0;  // finished within the bounds
  Tick began = 0;       // first arrival
  Tick ended = 0;       // last token
  uint32_t n_replicas = 1;
  uint64_t plans_hash = 0;

  double seconds() const { return static_cast<double>(ended - began) * 1e-9; }
  double output_rate() const { return static_cast<double>(totals.generated_tokens) / seconds(); }
  double attainment() const;  // share of all requests within the bounds
  double hit_rate() const;    // prefix hit tokens of those looked up
  double waste() const;       // share of held KV tokens that hold nothing, over sequence-steps
};

// What one tenant got. Percentiles are exact.
struct TenantReport {
  uint32_t tenant = 0;
  uint64_t n_requests = 0;
  uint64_t n_finished = 0;
  uint64_t n_refused = 0;
  uint64_t n_good = 0;
  uint64_t n_output = 0;  // tokens
  Tick ttft_p50 = 0;      // of those that gave a token
  Tick ttft_p99 = 0;
};
// By tenant.
std::vector<TenantReport> tenant_reports(const Report& report);

Json report_json(const Report& report);
std::string report_table(const Report& report);

}  // namespace millrace::sim
