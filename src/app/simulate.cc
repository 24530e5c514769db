// millrace simulate: the serving core under a virtual clock: a trace or a synthetic load, a cost model, replicas and a
// router in; latencies, throughput, goodput and cache figures out.
#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "app/commands.h"
#include "app/flags.h"
#include "app/policy_flags.h"
#include "base/file.h"
#include "base/json.h"
#include "base/macros.h"
#include "sim/cluster.h"
#include "sim/generators.h"
#include "sim/plot.h"
#include "sim/replay.h"

namespace millrace::app {
namespace {

struct SimulateFlags {
  // the load
  std::string trace;
  std::string arrival = "trace";
  std::string prompt = "512";
  std::string output = "128";
  int64_t requests = 0;
  int64_t prefixes = 0;
  int64_t prefix_tokens = 0;
  int64_t tenants = 1;
  int64_t max_tokens = 0;
  int64_t seed = 1;
  // the engines
  std::string cost_model = "llama3-8b-a100";
  std::string policy = "priority";
  std::string admit = "max-util";
  std::string budget_policy = "static";
  int64_t budget = 512;
  int64_t max_num_seqs = 256;
  int64_t kv_blocks = 32768;
  int64_t block_size = 16;
  int64_t max_model_len = 0;
  int64_t depth = 1;
  bool prefix_caching = true;
  // the cluster
  int64_t replicas = 1;
  int64_t prefill_replicas = 0;
  int64_t decode_replicas = 0;
  std::string router = "least-tokens";
  double link_gbps = 0;
  double link_latency_us = 0;
  int64_t kv_bytes_per_token = 131072;
  // the report
  std::string slo;
  std::string replay;
  std::string plot;
  bool json = false;
};

void declare(FlagSet& set, SimulateFlags& f) {
  set.add("--trace", &f.trace, "requests of a .jsonl (Mooncake) or .csv file; default: synthetic ones");
  set.add("--arrival", &f.arrival, "trace | once | poisson:RATE (requests per second)");
  set.add("-n,--requests", &f.requests, "first requests of the trace, or synthetic ones; 0 = all, or 1000");
  set.add("--prompt", &f.prompt, "synthetic: N | uniform:LOW:HIGH | lognormal:MEDIAN:SIGMA | normal:MEAN:DEVIATION");
  set.add("--output", &f.output, "the same for answers");
  set.add("--prefixes", &f.prefixes, "synthetic: shared prefixes to draw from");
  set.add("--prefix-tokens", &f.prefix_tokens, "synthetic: tokens of each");
  set.add("--tenants", &f.tenants, "synthetic: tenants, drawn evenly");
  set.add("--max-tokens", &f.max_tokens, "what every request asks for; 0 = the length of its answer");
  set.add("--seed", &f.seed, "of everything that is drawn");
  set.add("--cost-model", &f.cost_model, "a preset or a .json file; an unknown name lists them");
  set.add("--policy,--scheduling-policy", &f.policy, policy_help("who is served first", sched::order_rows()));
  set.add("--admit,--admission-policy", &f.admit, policy_help("when a request starts", sched::admit_rows()));
  set.add("--budget-policy", &f.budget_policy, policy_help("prompt tokens of a step", sched::budget_rows()));
  set.add("-b,--max-num-batched-tokens", &f.budget, "rows of a step");
  set.add("--max-num-seqs", &f.max_num_seqs, "sequences running at once");
  set.add("--kv-blocks", &f.kv_blocks, "blocks of the KV pool of a replica");
  set.add("--block-size", &f.block_size, "tokens of a block");
  set.add("--max-model-len", &f.max_model_len, "longest sequence; 0 = longest of the load");
  set.add("--depth", &f.depth, "steps in flight: 1 or 2");
  set.add("--enable-prefix-caching", &f.prefix_caching, "share the KV of equal prefixes");
  set.add("--replicas", &f.replicas, "engines that serve whole requests");
  set.add("--prefill-replicas", &f.prefill_replicas, "with --decode-replicas, instead of --replicas");
  set.add("--decode-replicas", &f.decode_replicas, "get their requests from prefill replicas over a link");
  set.add("--router", &f.router, "round-robin | least-tokens | prefix");
  set.add("--link-gbps", &f.link_gbps, "gigabytes per second of each prefill replica's link; 0 = no limit");
  set.add("--link-latency-us", &f.link_latency_us, "microseconds from sent to arrived");
  set.add("--kv-bytes-per-token", &f.kv_bytes_per_token, "what the link moves per prompt token");
  set.add("--slo", &f.slo, "ttft:MS,itl:MS: what counts as goodput; itl is the mean after the first token");
  set.add("--replay", &f.replay, "play a file of serve --record-events instead; exit 1 when a plan differs");
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

Result<uint32_t> in_range(std::string_view flag, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high) return bad_flag(flag, fmt::format("{}", value), fmt::format("{}..{}", low, high));
  return static_cast<uint32_t>(value);
}

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
    spec.n_requests = TRY(in_range("--requests", f.requests == 0 ? 1000 : f.requests, 1, 100'000'000));
    spec.prompt = TRY(sim::parse_length(f.prompt));
    spec.output = TRY(sim::parse_length(f.output));
    spec.n_prefixes = TRY(in_range("--prefixes", f.prefixes, 0, 1 << 30));
    spec.prefix_tokens = TRY(in_range("--prefix-tokens", f.prefix_tokens, 0, 1 << 24));
    spec.n_tenants = TRY(in_range("--tenants", f.tenants, 1, 1 << 20));
    load = sim::generate(spec);
  } else {
    load = TRY(sim::read_trace(f.trace));
    sim::keep_first(load, TRY(in_range("--requests", f.requests, 0, 100'000'000)));
  }
  constexpr std::string_view kPoisson = "poisson:";
  if (f.arrival == "once") {
    sim::arrive_at_once(load);
  } else if (f.arrival.starts_with(kPoisson)) {
    std::string_view rate = std::string_view(f.arrival).substr(kPoisson.size());
    sim::arrive_poisson(load, TRY(positive_number("--arrival poisson", rate)), seed);
  } else if (f.arrival != "trace") {
    return bad_flag("--arrival", f.arrival, "trace, once or poisson:RATE");
  }
  uint32_t max_tokens = TRY(in_range("--max-tokens", f.max_tokens, 0, 1 << 24));
  for (sim::SimRequest& request : load.requests) {
    if (max_tokens > 0) request.n_output = std::min(request.n_output, max_tokens);
    request.max_tokens = max_tokens;
  }
  return load;
}

Result<engine::EngineOptions> engine_of(const SimulateFlags& f, const sim::Workload& load) {
  engine::EngineOptions out;
  uint32_t longest = 2;
  for (const sim::SimRequest& request : load.requests) {
    longest = std::max(longest, request.n_prompt() + std::max(request.n_output, request.max_tokens));
  }
  out.kv.block_tokens = TRY(in_range("--block-size", f.block_size, 1, 4096));
  out.kv.n_blocks = TRY(in_range("--kv-blocks", f.kv_blocks, 1, 1 << 28));
  out.kv.block_bytes = 1;
  out.kv.max_len = f.max_model_len == 0 ? longest : TRY(in_range("--max-model-len", f.max_model_len, 2, 1 << 24));
  out.kv.groups = {{}};
  sched::SchedOptions& sched = out.sched;
  sched.max_live = TRY(in_range("--max-num-seqs", f.max_num_seqs, 1, 1 << 20));
  sched.budget_tokens = TRY(in_range("--max-num-batched-tokens", f.budget, 1, 1 << 24));
  sched.tok_cap = std::max(sched.budget_tokens, sched.max_live + sched.c_min);
  sched.depth = TRY(in_range("--depth", f.depth, 1, 2));
  sched.order = TRY(policy_of("--scheduling-policy", f.policy, sched::order_rows()));
  sched.admit = TRY(policy_of("--admission-policy", f.admit, sched::admit_rows()));
  sched.budget = TRY(policy_of("--budget-policy", f.budget_policy, sched::budget_rows()));
  out.prefix_cache = f.prefix_caching;
  out.max_queued_requests = UINT32_MAX;
  out.max_queued_tokens = UINT64_MAX;
  return out;
}

Result<sim::ClusterSpec> cluster_of(const SimulateFlags& f, const sim::Workload& load) {
  sim::ClusterSpec spec;
  sim::ReplicaSpec replica{.engine = TRY(engine_of(f, load)), .cost = TRY(sim::load_cost(f.cost_model))};
  auto add = [&](int64_t n, sim::ReplicaRole role) {
    replica.role = role;
    for (int64_t i = 0; i < n; ++i) spec.replicas.push_back(replica);
  };
  constexpr int64_t kMostReplicas = 4096;
  bool split = f.prefill_replicas != 0 || f.decode_replicas != 0;
  if (!split) {
    add(TRY(in_range("--replicas", f.replicas, 1, kMostReplicas)), sim::ReplicaRole::kBoth);
  } else {
    add(TRY(in_range("--prefill-replicas", f.prefill_replicas, 1, kMostReplicas)), sim::ReplicaRole::kPrefill);
    add(TRY(in_range("--decode-replicas", f.decode_replicas, 1, kMostReplicas)), sim::ReplicaRole::kDecode);
  }
  spec.router = TRY(sim::parse_router(f.router));
  if (f.link_gbps < 0 || f.link_latency_us < 0 || f.kv_bytes_per_token < 0)
    return bad_flag("--link-gbps", "", "numbers of the link that are not negative");
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
  std::string hash = fmt::format("{:016x}", report.plans_hash);
  if (f.json) {
    Json out = Json::object();
    out.set("calls", static_cast<int64_t>(report.n_calls));
    out.set("requests", static_cast<int64_t>(report.n_requests));
    out.set("plans", static_cast<int64_t>(report.n_plans));
    out.set("plans_hash", hash);
    out.set("complete", report.complete);
    out.set("identical", !report.difference.has_value());
    if (report.difference) out.set("difference", *report.difference);
    fmt::print("{}\n", out.dump());
  } else {
    fmt::print("{} requests, {} calls, {} plans, hash {}{}\n", report.n_requests, report.n_calls, report.n_plans, hash,
               report.complete ? "" : "; the log has no end mark");
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
