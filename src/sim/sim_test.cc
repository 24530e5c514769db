// Workloads, cost models, histograms and clusters: known answers, equal runs, and the readers of untrusted traces.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "sim/cluster.h"
#include "sim/generators.h"
#include "sim/histogram.h"
#include "sim/plot.h"

namespace millrace::sim {
namespace {

engine::EngineOptions engine_options() {
  engine::EngineOptions out;
  out.kv = {.block_tokens = 16, .n_blocks = 2000, .block_bytes = 1, .max_len = 4096, .groups = {{}}};
  out.sched.max_live = 64;
  out.sched.tok_cap = 1024;
  out.sched.c_min = 16;
  out.max_queued_requests = UINT32_MAX;
  out.max_queued_tokens = INT64_MAX;
  return out;
}

Report run(const ClusterSpec& spec, const Workload& load) {
  auto cluster = Cluster::create(spec, load);
  EXPECT_TRUE(cluster.ok()) << cluster.error().message;
  auto report = (*cluster)->run();
  EXPECT_TRUE(report.ok()) << report.error().message;
  return std::move(report).value();
}

StepCost cost(const std::string& name) { return load_cost(name).value(); }

TEST(StepCost, PresetsGiveThePublishedTimes) {
  StepLoad prompt;
  prompt.add_chunk(0, 512);
  // 19.10 + 0.10191 * 512 + 7.122e-6 * 512^2 ms
  EXPECT_NEAR(static_cast<double>(step_time(cost("opt-13b-a100"), prompt)) * 1e-6, 73.1449, 1e-3);
  StepLoad decode;
  for (int i = 0; i < 10; ++i) decode.add_decode(100);
  EXPECT_NEAR(static_cast<double>(step_time(cost("opt-13b-a100"), decode)) * 1e-6, 19.93 + 0.62690 + 0.3851, 1e-3);
  // t = a + 10 d + e 1000 of the small regime
  EXPECT_NEAR(static_cast<double>(step_time(cost("llama3-8b-a100"), decode)) * 1e-6, 14.936 + 0.9517 + 0.1111, 1e-3);
  EXPECT_NEAR(static_cast<double>(step_time(cost("vtc-a10g"), prompt)) * 1e-6, 5 + 0.25 * 512, 1e-3);
}

TEST(StepCost, TablesInterpolate) {
  auto table = parse_cost(R"({"rows": [1, 11], "ctx": [0, 100], "ms": [[10, 20], [30, 40]]})", "t");
  ASSERT_TRUE(table.ok()) << table.error().message;
  StepLoad load;
  load.add_chunk(50, 6);
  EXPECT_EQ(step_time(*table, load), 25 * kMillisecond);
  load.add_chunk(500, 100);
  EXPECT_EQ(step_time(*table, load), 40 * kMillisecond);
  EXPECT_EQ(parse_cost(R"({"rows": [1, 1], "ctx": [0], "ms": [[1], [2]]})", "t").error().code, ErrorCode::kBadFile);
  EXPECT_EQ(parse_cost(R"({"split": 5})", "t").error().code, ErrorCode::kBadFile);
  EXPECT_EQ(load_cost("none").error().code, ErrorCode::kUsage);
}

TEST(StepCost, ARooflineIsTheSlowerOfArithmeticAndBytes) {
  // 8e9 weights of 2 bytes, 32 layers of width 4096, 128 KiB of KV a token; 250 TFLOP/s, 1,600 GB/s
  auto cost = parse_cost(R"({"roofline": {"params": 8e9, "bytes_per_param": 2, "attention_width": 131072,
      "kv_bytes_per_token": 131072, "tflops": 250, "gbps": 1600, "overhead_us": 500}})",
                         "t");
  ASSERT_TRUE(cost.ok()) << cost.error().message;
  auto ms = [&](const StepLoad& load) { return static_cast<double>(step_time(*cost, load)) * 1e-6; };
  StepLoad decode;  // bytes: 16 GB of weights, 2 x 1001 tokens of KV
  decode.add_decode(1000);
  decode.add_decode(1000);
  EXPECT_NEAR(ms(decode), 0.5 + (16e9 + 131072.0 * 2002) / 1.6e9, 1e-6);
  StepLoad prompt;  // arithmetic: 16 GFLOP a row, 4 x 131072 a pair of row and token
  prompt.add_chunk(1000, 2048);
  EXPECT_NEAR(ms(prompt), 0.5 + (16e9 * 2048 + 524288.0 * 2048 * (1000 + 1024)) / 250e9, 1e-6);
  for (const char* bad : {R"({"roofline": {}})", R"({"roofline": {"params": 0}})", R"({"roofline": 1})"}) {
    EXPECT_EQ(parse_cost(bad, "t").error().code, ErrorCode::kBadFile) << bad;
  }
}

TEST(Histogram, PercentilesAreWithinAHalfPercent) {
  Histogram h;
  for (Tick i = 1; i <= 100'000; ++i) h.add(i * 1000);
  for (double q : {0.01, 0.5, 0.9, 0.99}) {
    double exact = q * 1e8;
    EXPECT_NEAR(static_cast<double>(h.percentile(q)), exact, exact * 0.005);
  }
  EXPECT_EQ(h.percentile(1), 100'000'000);
  EXPECT_EQ(h.largest(), 100'000'000);
  EXPECT_EQ(Histogram().percentile(0.5), 0);
}

TEST(Traces, LinesBecomeRequests) {
  auto load = parse_mooncake(
      "{\"timestamp\": 5, \"input_length\": 600, \"output_length\": 3, \"hash_ids\": [7, 9]}\n"
      "{\"timestamp\": 2, \"input_length\": 512, \"output_length\": 0, \"hash_ids\": [7]}\n",
      "trace");
  ASSERT_TRUE(load.ok()) << load.error().message;
  ASSERT_EQ(load->requests.size(), 2u);
  EXPECT_EQ(load->requests[0].arrival, 2 * kMillisecond);
  EXPECT_EQ(load->requests[1].n_prompt(), 600u);
  std::vector<TokenId> first, second;
  write_prompt(load->requests[0], first);
  write_prompt(load->requests[1], second);
  EXPECT_TRUE(std::equal(first.begin(), first.end(), second.begin()));
  auto csv = parse_lengths_csv("arrived_at,num_prefill_tokens,num_decode_tokens\r\n1.5,10,4\r\n", "csv");
  ASSERT_TRUE(csv.ok()) << csv.error().message;
  EXPECT_EQ(csv->requests[0].arrival, 1'500'000'000);
  EXPECT_EQ(csv->requests[0].n_output, 4u);
}

TEST(Traces, BadLinesAreNamed) {
  constexpr const char* kBad[] = {"x", "{}",
                                  "{\"timestamp\": 1, \"input_length\": 600, \"output_length\": 3, \"hash_ids\": [7]}",
                                  "{\"timestamp\": -1, \"input_length\": 1, \"output_length\": 3, \"hash_ids\": [7]}"};
  for (const char* text : kBad) {
    auto load = parse_mooncake(text, "trace");
    ASSERT_FALSE(load.ok());
    EXPECT_NE(load.error().message.find("trace line 1"), std::string::npos) << load.error().message;
  }
  EXPECT_FALSE(parse_lengths_csv("a,b\n1,2\n", "csv").ok());
  EXPECT_FALSE(parse_lengths_csv("num_prefill_tokens,num_decode_tokens\n1,nan\n", "csv").ok());
  EXPECT_FALSE(parse_lengths_csv("num_prefill_tokens,num_decode_tokens\n1\n", "csv").ok());
}

TEST(Generators, LengthsFollowTheirSpec) {
  EXPECT_FALSE(parse_length("lognormal:5").ok());
  EXPECT_FALSE(parse_length("0").ok());
  EXPECT_FALSE(parse_length("uniform:9:3").ok());
  Draws draws(3);
  LengthSpec spec = parse_length("lognormal:1730:0.93:16:100000").value();
  std::vector<uint32_t> lengths(20'001);
  for (uint32_t& length : lengths) length = draw_length(spec, draws);
  std::ranges::sort(lengths);
  EXPECT_NEAR(lengths[10'000], 1730, 50);
  EXPECT_NEAR(lengths[16'827], 1730 * std::exp(0.93), 200);  // one deviation above: 84.13 %
  double sum = 0;
  for (int i = 0; i < 20'000; ++i) sum += draws.exponential();
  EXPECT_NEAR(sum / 20'000, 1.0, 0.03);
}

Workload small_load(uint64_t seed) {
  return generate({.seed = seed,
                   .n_requests = 200,
                   .rate = 20,
                   .prompt = parse_length("uniform:10:400").value(),
                   .output = parse_length("uniform:1:60").value(),
                   .n_prefixes = 4,
                   .prefix_tokens = 64});
}

TEST(Cluster, EveryRequestGetsItsTokensAndRunsAreEqual) {
  Workload load = small_load(1);
  for (uint32_t depth : {1u, 2u}) {
    ClusterSpec spec;
    spec.replicas = {{.engine = engine_options(), .cost = cost("llama3-8b-a100")}};
    spec.replicas[0].engine.sched.depth = depth;
    Report first = run(spec, load);
    EXPECT_EQ(first.n_finished, 200u);
    uint64_t n_tokens = 0;
    for (size_t i = 0; i < load.requests.size(); ++i) {
      EXPECT_EQ(first.outcomes[i].n_output, load.requests[i].n_output);
      EXPECT_EQ(first.outcomes[i].arrival, load.requests[i].arrival);
      n_tokens += load.requests[i].n_output;
    }
    EXPECT_EQ(first.totals.generated_tokens, n_tokens);
    EXPECT_GT(first.hit_rate(), 0.1);
    EXPECT_EQ(run(spec, load).plans_hash, first.plans_hash);
  }
}

TEST(Plot, DrawsEveryCurveInsideThePicture) {
  Workload load = small_load(1);
  ClusterSpec spec;
  spec.replicas = {{.engine = engine_options(), .cost = cost("llama3-8b-a100")}};
  spec.slo = {.ttft = kSecond};
  std::string svg = plot_svg(run(spec, load), "a < b & c");
  EXPECT_TRUE(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
  EXPECT_NE(svg.find("a &lt; b &amp; c"), std::string::npos);
  for (const char* name : {"ttft: p50", "tbt: p50", "tpot: p50", "e2e: p50", "stroke-dasharray"}) {
    EXPECT_NE(svg.find(name), std::string::npos) << name;
  }
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
}

TEST(Cluster, OneRequestTakesWhatTheModelSays) {
  Workload load{.requests = {{.arrival = kSecond, .n_output = 3, .prompt = {{.content = 1, .n_tokens = 512}}}}};
  ClusterSpec spec;
  spec.replicas = {{.engine = engine_options(), .cost = cost("opt-13b-a100")}};
  Report report = run(spec, load);
  EXPECT_NEAR(static_cast<double>(report.outcomes[0].ttft()), 73.1449e6, 1e3);
  double decodes = 2 * (19.93 + 0.03851) + 6.269e-4 * (512 + 513);
  EXPECT_NEAR(static_cast<double>(report.outcomes[0].last_token - report.outcomes[0].first_token), decodes * 1e6, 1e3);
}

TEST(Cluster, SplitReplicasHandOverAfterTheFirstToken) {
  Workload load{.requests = {{.n_output = 3, .prompt = {{.content = 1, .n_tokens = 512}}}}};
  ClusterSpec spec;
  ReplicaSpec replica{.engine = engine_options(), .cost = cost("opt-13b-a100"), .role = ReplicaRole::kPrefill};
  spec.replicas = {replica, replica};
  spec.replicas[1].role = ReplicaRole::kDecode;
  spec.link = {.latency = kMillisecond, .bytes_per_second = 1e9, .bytes_per_token = 100'000};
  Report report = run(spec, load);
  EXPECT_EQ(report.outcomes[0].n_output, 3u);
  EXPECT_NEAR(static_cast<double>(report.outcomes[0].ttft()), 73.1449e6, 1e3);
  double rest = 1 + 51.2 + 2 * (19.93 + 0.03851) + 6.269e-4 * (512 + 513);
  EXPECT_NEAR(static_cast<double>(report.outcomes[0].last_token - report.outcomes[0].first_token), rest * 1e6, 1e3);
  spec.replicas.pop_back();
  EXPECT_EQ(Cluster::create(spec, load).error().code, ErrorCode::kUsage);
}

// Three clients: never more than three open, and each next request comes when one has ended.
TEST(Cluster, ClientsSendTheNextRequestWhenTheLastHasEnded) {
  Workload load = generate({.n_requests = 20, .prompt = {.center = 100}, .output = {.center = 10}});
  load.n_clients = 3;
  ClusterSpec spec;
  spec.replicas = {{.engine = engine_options(), .cost = cost("llama3-8b-a100")}};
  Report report = run(spec, load);
  EXPECT_EQ(report.n_finished, 20u);
  std::vector<Tick> ends;
  for (size_t i = 0; i < report.outcomes.size(); ++i) {
    if (i < 3) {
      EXPECT_EQ(report.outcomes[i].arrival, 0);
    } else {
      std::ranges::sort(ends);
      EXPECT_EQ(report.outcomes[i].arrival, ends[i - 3]) << i;
    }
    ends.push_back(report.outcomes[i].last_token);
  }
}

TEST(Cluster, ReplicasShareTheLoad) {
  Workload load = small_load(2);
  for (const char* router : {"round-robin", "least-tokens", "prefix"}) {
    ClusterSpec spec;
    spec.replicas.assign(3, {.engine = engine_options(), .cost = cost("llama3-8b-a100")});
    spec.router = parse_router(router).value();
    Report report = run(spec, load);
    EXPECT_EQ(report.n_finished, 200u);
    for (uint32_t n_threads : {2u, 5u}) {
      spec.n_threads = n_threads;
      Report same = run(spec, load);
      EXPECT_EQ(same.plans_hash, report.plans_hash);
      EXPECT_EQ(same.ttft.mean(), report.ttft.mean());
      for (size_t i = 0; i < load.requests.size(); ++i) {
        EXPECT_EQ(same.outcomes[i].last_token, report.outcomes[i].last_token);
        EXPECT_EQ(same.outcomes[i].replica, report.outcomes[i].replica);
      }
    }
    std::vector<int> n(3);
    for (const Outcome& outcome : report.outcomes) ++n[outcome.replica];
    if (spec.router != RouterKind::kPrefix) {
      EXPECT_GT(*std::ranges::min_element(n), 40);
    }
  }
  EXPECT_EQ(parse_router("x").error().code, ErrorCode::kUsage);
}

}  // namespace
}  // namespace millrace::sim
