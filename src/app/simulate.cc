// millrace simulate: the serving core under a virtual clock: a trace or a synthetic load, a cost model, replicas and a
// router in; latencies, throughput, goodput and cache figures out.
#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <thread>

#include "app/commands.h"
#include "app/flags.h"
#include "app/policy_flags.h"
#include "base/file.h"
#include "base/json.h"
#include "base/macros.h"
#include "instance/calibration.h"
#include "sim/cluster.h"
#include "sim/generators.h"
#include "sim/plot.h"
#include "sim/replay.h"

namespace millrace::app {
namespace {

constexpr int64_t kMostRequests = 100'000'000;
constexpr int64_t kMostTokens = 1 << 24;
constexpr int64_t kMostReplicas = 4096;
constexpr int64_t kMostThreads = 256;
constexpr uint32_t kSyntheticRequests = 1000;
constexpr int64_t kMaxTargetMs = 600'000;
constexpr double kMaxTimeout = 86'400;  // s
constexpr double kMaxWeight = 1000;

struct SimulateFlags {
  // the load
  std::string trace;
  std::string arrival = "trace";
  std::string prompt = "512";
  std::string output = "128";
  int64_t requests = 0;
  int64_t copies = 1;
  int64_t prefixes = 0;
  int64_t prefix_tokens = 0;
  int64_t tenants = 1;
  std::string tenant_weights;
  double timeout_s = 0;
  int64_t max_tokens = 0;
  int64_t seed = 1;
  // the engines
  std::string cost_model = "llama3-8b-a100";
  std::string policy = "priority";
  std::string admit = "max-util";
  std::string budget_policy = "static";
  int64_t budget = 512;
  int64_t itl_target_ms = 0;
  int64_t ttft_target_ms = 0;
  int64_t max_num_seqs = 256;
  int64_t kv_blocks = 32768;
  int64_t block_size = 16;
  int64_t max_model_len = 0;
  int64_t depth = 1;
  bool prefix_caching = true;
  double step_noise = 0;
  // the cluster
  int64_t replicas = 1;
  int64_t prefill_replicas = 0;
  int64_t decode_replicas = 0;
  std::string router = "least-tokens";
  double link_gbps = 0;
  double link_latency_us = 0;
  int64_t kv_bytes_per_token = 131072;
  int64_t threads = 0;
  // the report
  std::string slo;
  std::string replay;
  std::string replay_steps;
  std::string plot;
  bool json = false;
};

void declare(FlagSet& set, SimulateFlags& f) {
  set.add("--trace", &f.trace,
          "requests of a .jsonl (Mooncake) or .csv file, or of serve --record-events; default: synthetic ones");
  set.add("--arrival", &f.arrival, "trace | once | poisson:RATE (requests per second) | closed:CLIENTS");
  set.add("-n,--requests", &f.requests, "first requests of the trace, or synthetic ones; 0 = all, or 1000",
          {0, kMostRequests});
  set.add("--copies", &f.copies, "every request so often, each with prompts of its own", {1, kMostReplicas});
  set.add("--prompt", &f.prompt, "synthetic: N | uniform:LOW:HIGH | lognormal:MEDIAN:SIGMA | normal:MEAN:DEVIATION");
  set.add("--output", &f.output, "the same for answers");
  set.add("--prefixes", &f.prefixes, "synthetic: shared prefixes to draw from", {0, 1 << 30});
  set.add("--prefix-tokens", &f.prefix_tokens, "synthetic: tokens of each", {0, kMostTokens});
  set.add("--tenants", &f.tenants, "synthetic: tenants, drawn evenly", {1, 1 << 20});
  set.add("--tenant-weights", &f.tenant_weights, "W0,W1,...: shares of tenants 0, 1, ...; the others have 1");
  set.add("--timeout", &f.timeout_s, "seconds that every request has in all, unless the trace says; 0 = no limit",
          {0, kMaxTimeout});
  set.add("--max-tokens", &f.max_tokens, "what every request asks for; 0 = as recorded, else the length of its answer",
          {0, kMostTokens});
  set.add("--seed", &f.seed, "of everything that is drawn");
  set.add("--cost-model", &f.cost_model,
          "a preset, or a .json file, as from bench calibrate; an unknown name lists them");
  set.add("--step-noise", &f.step_noise, "spread of step times: sigma of a lognormal factor; 0.13 on a shared machine",
          {0, 1});
  set.add("--policy,--scheduling-policy", &f.policy, policy_help("who is served first", sched::order_rows()));
  set.add("--admit,--admission-policy", &f.admit, policy_help("when a request starts", sched::admit_rows()));
  set.add("--budget-policy", &f.budget_policy, policy_help("prompt tokens of a step", sched::budget_rows()));
  set.add("--itl-target-ms", &f.itl_target_ms, "time between two tokens that slack and exclusive keep; 0 = automatic",
          {0, kMaxTargetMs});
  set.add("--ttft-target-ms", &f.ttft_target_ms, "time to the first token that policy edf works for; 0 = none",
          {0, kMaxTargetMs});
  set.add("-b,--max-num-batched-tokens", &f.budget, "rows of a step", {1, kMostTokens});
  set.add("--max-num-seqs", &f.max_num_seqs, "sequences running at once", {1, 1 << 20});
  set.add("--kv-blocks", &f.kv_blocks, "blocks of the KV pool of a replica", {1, 1 << 28});
  set.add("--block-size", &f.block_size, "tokens of a block", {1, 4096});
  set.add("--max-model-len", &f.max_model_len, "longest sequence; 0 = longest of the load", {0, kMostTokens});
  set.add("--depth", &f.depth, "steps in flight: 1 or 2", {1, 2});
  set.add("--enable-prefix-caching", &f.prefix_caching, "share the KV of equal prefixes");
  set.add("--replicas", &f.replicas, "engines that serve whole requests", {1, kMostReplicas});
  set.add("--prefill-replicas", &f.prefill_replicas, "with --decode-replicas, instead of --replicas",
          {0, kMostReplicas});
  set.add("--decode-replicas", &f.decode_replicas, "get their requests from prefill replicas over a link",
          {0, kMostReplicas});
  set.add("--router", &f.router, "round-robin | least-tokens | prefix");
  set.add("--link-gbps", &f.link_gbps, "gigabytes per second of each prefill replica's link; 0 = no limit");
  set.add("--link-latency-us", &f.link_latency_us, "microseconds from sent to arrived");
  set.add("--kv-bytes-per-token", &f.kv_bytes_per_token, "what the link moves per prompt token", {0, int64_t{1} << 40});
  set.add("--threads", &f.threads, "that compute the replicas; 0 = one per processor; the report is the same",
          {0, kMostThreads});
  set.add("--slo", &f.slo, "ttft:MS,itl:MS: what counts as goodput; itl is the mean after the first token");
  set.add("--replay", &f.replay, "play a file of serve --record-events instead; exit 1 when a plan differs");
  set.add("--replay-steps", &f.replay_steps,
          "with --replay: write rows, predicted and measured time of every step, CSV");
  set.add("--plot", &f.plot, "also write the latencies' distributions to this .svg file");
  set.add("--json", &f.json, "JSON on stdout");
}

Error bad_flag(std::string_view flag, std::string_view value, std::string_view want) {
  return {ErrorCode::kUsage, fmt::format("{} {}: want {}", flag, quote_for_message(value), want), std::string(flag)};
}

Result<double> positive_number(std::string_view flag, std::string_view text) {
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !(value > 0) || value > 1e12)
    return bad_flag(flag, text, "a number above 0");
  return value;
}

Result<std::vector<uint32_t>> parse_weights(std::string_view text) {
  std::vector<uint32_t> weights;
  while (!text.empty()) {
    std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(std::min(part.size() + 1, text.size()));
    double weight = TRY(positive_number("--tenant-weights", part));
    if (weight != std::floor(weight) || weight > kMaxWeight)
      return bad_flag("--tenant-weights", part, fmt::format("whole numbers from 1 to {}", kMaxWeight));
    weights.push_back(static_cast<uint32_t>(weight));
  }
  return weights;
}

// Of a flag whose range FlagSet has checked.
uint32_t u32(int64_t value) { return static_cast<uint32_t>(value); }

Result<sim::SloSpec> parse_slo(std::string_view text) {
  sim::SloSpec slo;
  while (!text.empty()) {
    std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(std::min(part.size() + 1, text.size()));
    size_t colon = std::min(part.find(':'), part.size());
    std::string_view name = part.substr(0, colon);
    if (colon == part.size() || (name != "ttft" && name != "itl")) return bad_flag("--slo", part, "ttft:MS or itl:MS");
    double ms = TRY(positive_number("--slo", part.substr(colon + 1)));
    (name == "ttft" ? slo.ttft : slo.tpot) = static_cast<Tick>(ms * 1e6);
  }
  return slo;
}

Result<sim::Workload> load_of(const SimulateFlags& f) {
  sim::Workload load;
  auto seed = static_cast<uint64_t>(f.seed);
  if (f.trace.empty()) {
    sim::SyntheticSpec spec;
    spec.seed = seed;
    spec.n_requests = f.requests == 0 ? kSyntheticRequests : u32(f.requests);
    spec.prompt = TRY(sim::parse_length(f.prompt));
    spec.output = TRY(sim::parse_length(f.output));
    spec.n_prefixes = u32(f.prefixes);
    spec.prefix_tokens = u32(f.prefix_tokens);
    spec.n_tenants = u32(f.tenants);
    load = sim::generate(spec);
  } else {
    load = TRY(sim::read_trace(f.trace));
    sim::keep_first(load, u32(f.requests));
  }
  sim::multiply(load, u32(f.copies));
  constexpr std::string_view kPoisson = "poisson:";
  constexpr std::string_view kClosed = "closed:";
  if (f.arrival == "once") {
    sim::arrive_at_once(load);
  } else if (f.arrival.starts_with(kPoisson)) {
    std::string_view rate = std::string_view(f.arrival).substr(kPoisson.size());
    sim::arrive_poisson(load, TRY(positive_number("--arrival poisson", rate)), seed);
  } else if (f.arrival.starts_with(kClosed)) {
    std::string_view clients = std::string_view(f.arrival).substr(kClosed.size());
    double n = TRY(positive_number("--arrival closed", clients));
    if (n != std::floor(n) || n > UINT32_MAX) return bad_flag("--arrival closed", clients, "a whole number of clients");
    load.n_clients = static_cast<uint32_t>(n);
  } else if (f.arrival != "trace") {
    return bad_flag("--arrival", f.arrival, "trace, once, poisson:RATE or closed:CLIENTS");
  }
  uint32_t max_tokens = u32(f.max_tokens);
  for (sim::SimRequest& request : load.requests) {
    if (max_tokens > 0) request.n_output = std::min(request.n_output, max_tokens);
    if (max_tokens > 0) request.max_tokens = max_tokens;
    if (request.deadline == 0) request.deadline = static_cast<Tick>(f.timeout_s * static_cast<double>(kSecond));
  }
  sim::set_weights(load, TRY(parse_weights(f.tenant_weights)));
  return load;
}

Result<engine::EngineOptions> engine_of(const SimulateFlags& f, const sim::Workload& load) {
  engine::EngineOptions out;
  uint32_t longest = 2;
  for (const sim::SimRequest& request : load.requests) {
    longest = std::max(longest, request.n_prompt() + std::max(request.n_output, request.max_tokens));
  }
  out.kv.block_tokens = u32(f.block_size);
  out.kv.n_blocks = u32(f.kv_blocks);
  out.kv.block_bytes = 1;
  if (f.max_model_len == 1) return bad_flag("--max-model-len", "1", "2 tokens at least, or 0");
  out.kv.max_len = f.max_model_len == 0 ? longest : u32(f.max_model_len);
  out.kv.groups = {{}};
  sched::SchedOptions& sched = out.sched;
  sched.max_live = u32(f.max_num_seqs);
  sched.budget_tokens = u32(f.budget);
  sched.tok_cap = std::max(sched.budget_tokens, sched.max_live + sched.c_min);
  sched.depth = u32(f.depth);
  sched.order = TRY(policy_of("--scheduling-policy", f.policy, sched::order_rows()));
  sched.admit = TRY(policy_of("--admission-policy", f.admit, sched::admit_rows()));
  sched.budget = TRY(policy_of("--budget-policy", f.budget_policy, sched::budget_rows()));
  sched.itl_target = f.itl_target_ms * kMillisecond;
  sched.ttft_target = f.ttft_target_ms * kMillisecond;
  out.prefix_cache = f.prefix_caching;
  out.max_queued_requests = UINT32_MAX;
  out.max_queued_tokens = UINT64_MAX;
  return out;
}

// A preset, a file of coefficients or a table, or one that `bench calibrate` wrote.
Result<sim::StepCost> cost_of(const std::string& name) {
  constexpr uint64_t kMaxBytes = 1 << 20;
  if (name.ends_with(".json")) {
    Json root = TRY(parse_json(TRY(read_file(name, kMaxBytes))));
    if (root.find("split_rows") != nullptr) return sim::StepCost{TRY(instance::read_calibration(name))};
  }
  return sim::load_cost(name);
}

Result<sim::ClusterSpec> cluster_of(const SimulateFlags& f, const sim::Workload& load) {
  sim::ClusterSpec spec;
  sim::ReplicaSpec replica{.engine = TRY(engine_of(f, load)), .cost = TRY(cost_of(f.cost_model))};
  replica.noise = f.step_noise;
  auto add = [&](int64_t n, sim::ReplicaRole role) {
    replica.role = role;
    for (int64_t i = 0; i < n; ++i) spec.replicas.push_back(replica);
  };
  bool split = f.prefill_replicas != 0 || f.decode_replicas != 0;
  if (!split) {
    add(u32(f.replicas), sim::ReplicaRole::kBoth);
  } else {
    add(u32(f.prefill_replicas), sim::ReplicaRole::kPrefill);
    add(u32(f.decode_replicas), sim::ReplicaRole::kDecode);
  }
  spec.router = TRY(sim::parse_router(f.router));
  spec.n_threads = f.threads > 0 ? u32(f.threads) : std::max(std::thread::hardware_concurrency(), 1u);
  spec.link = {.latency = static_cast<Tick>(f.link_latency_us * 1e3),
               .bytes_per_second = f.link_gbps * 1e9,
               .bytes_per_token = static_cast<uint64_t>(f.kv_bytes_per_token)};
  spec.slo = TRY(parse_slo(f.slo));
  return spec;
}

// Exit code 1 when a plan is not the recorded one.
Result<int> replay_file(const SimulateFlags& f) {
  MappedFile file = TRY(MappedFile::open(f.replay));
  sim::ReplayReport report = TRY(sim::replay(file.bytes()));
  if (!f.replay_steps.empty()) TRY(write_file_atomic(f.replay_steps, sim::steps_csv(report.steps)));
  sim::PredictionError off = sim::prediction_error(report.steps);
  std::string hash = fmt::format("{:016x}", report.plans_hash);
  if (f.json) {
    Json out = Json::object();
    out.set("calls", static_cast<int64_t>(report.n_calls));
    out.set("requests", static_cast<int64_t>(report.n_requests));
    out.set("plans", static_cast<int64_t>(report.n_plans));
    out.set("plans_hash", hash);
    out.set("step_time_error_median", off.median);
    out.set("step_time_error_p95", off.p95);
    out.set("complete", report.complete);
    out.set("identical", !report.difference.has_value());
    if (report.difference) out.set("difference", *report.difference);
    fmt::print("{}\n", out.dump());
  } else {
    fmt::print("{} requests, {} calls, {} plans, hash {}{}\n", report.n_requests, report.n_calls, report.n_plans, hash,
               report.complete ? "" : "; the log has no end mark");
    fmt::print("step times were predicted within {:.1f} % (median), {:.1f} % (95 of 100)\n", 100 * off.median,
               100 * off.p95);
    fmt::print("{}\n", report.difference ? "DIFFERENT: " + *report.difference : "every plan as recorded");
  }
  return report.difference ? 1 : 0;
}

}  // namespace

Result<int> simulate_command(std::span<const std::string> args) {
  SimulateFlags f;
  FlagSet set("simulate", "The real scheduler, cache and engine on a cost model and a virtual clock.");
  declare(set, f);
  if (!TRY(set.parse(args))) return 0;
  if (!f.replay.empty()) return replay_file(f);
  sim::Workload load = TRY(load_of(f));
  auto cluster = TRY(sim::Cluster::create(TRY(cluster_of(f, load)), load));
  sim::Report report = TRY(cluster->run());
  if (!f.plot.empty()) {
    std::string title = fmt::format("{}, {}", f.trace.empty() ? "synthetic requests" : f.trace, f.cost_model);
    TRY(write_file_atomic(f.plot, sim::plot_svg(report, title)));
  }
  if (f.json) {
    fmt::print("{}\n", sim::report_json(report).dump());
  } else {
    fmt::print("{}", sim::report_table(report));
  }
  return 0;
}

}  // namespace millrace::app
