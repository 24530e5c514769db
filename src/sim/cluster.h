// Cluster: engines with their backends on one virtual clock, fed by a workload through a router. Replicas serve whole
// requests, or prefill ones hand their requests over a link to decode ones.
//  1. Events happen in the order (time, source, number): arrivals, then hand-overs, then replicas by index. Between two
//     arrivals replicas that know nothing of each other are computed one after the other, or on several threads: the
//     report is the same.
//  2. No scheduling decision: arrivals, output lengths and the order of events are all this code contributes.
// Thread: one, and those of its crew.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "sim/report.h"
#include "sim/router.h"
#include "sim/sim_backend.h"
#include "sim/step_cost.h"
#include "sim/workload.h"

namespace millrace::sim {

enum class ReplicaRole : uint8_t { kBoth, kPrefill, kDecode };

struct ReplicaSpec {
  engine::EngineOptions engine;
  StepCost cost;
  ReplicaRole role = ReplicaRole::kBoth;
  double noise = 0;  // of step times: sigma of their lognormal factor, median 1; drawn from the replica's number
};

// First in, first out, one per prefill replica.
struct LinkSpec {
  Tick latency = 0;
  double bytes_per_second = 0;  // 0 = no limit
  uint64_t bytes_per_token = 0;
};

struct ClusterSpec {
  std::vector<ReplicaSpec> replicas;
  RouterKind router = RouterKind::kLeastTokens;
  LinkSpec link;
  SloSpec slo;
  uint32_t n_threads = 1;      // that compute the replicas; the caller's is one of them
  StepWatch* watch = nullptr;  // told of every share; outlives the run
};

class Cluster {
 public:
  // The workload outlives the cluster. kUsage when the replicas cannot work together or an engine's options are wrong.
  static Result<std::unique_ptr<Cluster>> create(const ClusterSpec& spec, const Workload& workload);
  ~Cluster();

  // Until every request has ended. kInternal when the engines stand still with work left, naming the state.
  Result<Report> run();

 private:
  struct State;
  explicit Cluster(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace millrace::sim
