// The flags and columns of millrace simulate reach the engine: each changes what the policies that it is for do.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "app/commands.h"
#include "base/json.h"
#include "tests/support/temp_dir.h"

namespace millrace::app {
namespace {

Json simulate(std::vector<std::string> args) {
  args.emplace_back("--json");
  ::testing::internal::CaptureStdout();
  auto done = simulate_command(args);
  std::string out = ::testing::internal::GetCapturedStdout();
  EXPECT_TRUE(done.ok()) << done.error().message;
  auto json = parse_json(out);
  EXPECT_TRUE(json.ok()) << out;
  return json.ok() ? std::move(json).value() : Json();
}

double number(const Json& json, const std::string& name) {
  const Json* value = json.find(name);
  EXPECT_NE(value, nullptr) << name;
  return value == nullptr ? -1 : value->as_double();
}

std::string text(const Json& json, const std::string& name) { return json.find(name)->as_string(); }

std::vector<std::string> chat(const std::string& arrival, const std::vector<std::string>& more) {
  std::vector<std::string> args = {"-n",       "200",           "--arrival", arrival, "--prompt", "uniform:500:2000",
                                   "--output", "uniform:50:150"};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

TEST(Simulate, ATargetBetweenTokensIsKeptBySlack) {
  const std::vector<std::string> slack = {"--budget-policy", "slack", "-b", "2048"};
  Json free = simulate(chat("poisson:3", slack));
  std::vector<std::string> with_target = slack;
  with_target.insert(with_target.end(), {"--itl-target-ms", "40"});
  Json kept = simulate(chat("poisson:3", with_target));
  EXPECT_GT(number(*free.find("tbt_ms"), "p99"), 60);
  EXPECT_LE(number(*kept.find("tbt_ms"), "p99"), 40);
  EXPECT_EQ(number(kept, "finished"), 200);
}

TEST(Simulate, ATargetForTheFirstTokenOrdersUnderEdfAlone) {
  for (const char* policy : {"edf", "fcfs"}) {
    std::vector<std::string> args = chat("once", {"--policy", policy, "--max-num-seqs", "8"});
    std::string without = text(simulate(args), "plans_hash");
    args.insert(args.end(), {"--ttft-target-ms", "2000"});
    EXPECT_EQ(text(simulate(args), "plans_hash") == without, std::string(policy) == "fcfs");
  }
}

TEST(Simulate, WhatCannotEndInTimeIsRefused) {
  Json report = simulate(chat("poisson:8", {"--timeout", "10", "--max-num-seqs", "8"}));
  EXPECT_GT(number(report, "refused"), 20);
  EXPECT_GT(number(report, "finished"), 20);
}

TEST(Simulate, WeightsDecideHowMuchATenantGets) {
  testing::TempDir dir;
  std::string trace = "num_prefill_tokens,num_decode_tokens,tenant\n";
  for (int i = 0; i < 200; ++i) trace += "400,50," + std::to_string(i % 2) + "\n";
  std::vector<std::string> args = {"--trace", dir.write("t.csv", trace), "--policy", "vtc", "--max-num-seqs", "8"};
  auto waits = [](const Json& report, size_t tenant) {
    return number(report.find("tenants")->as_array()[tenant], "ttft_p50_ms");
  };
  Json even = simulate(args);
  EXPECT_NEAR(waits(even, 0) / waits(even, 1), 1.0, 0.1);
  args.insert(args.end(), {"--tenant-weights", "4,1"});
  Json uneven = simulate(args);
  EXPECT_LT(waits(uneven, 0) * 1.5, waits(uneven, 1));
}

TEST(Simulate, ColumnsSayPriorityAndTimeout) {
  testing::TempDir dir;
  std::string trace = "num_prefill_tokens,num_decode_tokens,tenant,priority,timeout\n";
  for (int i = 0; i < 60; ++i) trace += i % 2 == 0 ? "400,50,7,5,0\n" : "400,50,8,-5,0\n";
  trace += "400,50,9,0,0.000001\n";
  Json report = simulate({"--trace", dir.write("t.csv", trace), "--max-num-seqs", "4"});
  const JsonArray& tenants = report.find("tenants")->as_array();
  ASSERT_EQ(tenants.size(), 3u);
  EXPECT_EQ(number(tenants[1], "tenant"), 8);
  EXPECT_LT(number(tenants[1], "ttft_p99_ms"), number(tenants[0], "ttft_p50_ms"));
  EXPECT_EQ(number(tenants[2], "finished"), 0);
  for (const char* bad : {"1,1,1.5,0,0", "1,1,-1,0,0", "1,1,0,40000,0", "1,1,0,0,-1", "1,1,0,0"}) {
    std::string path =
        dir.write("bad.csv", "num_prefill_tokens,num_decode_tokens,tenant,priority,timeout\n" + std::string(bad));
    auto refused = simulate_command(std::vector<std::string>{"--trace", path});
    ASSERT_FALSE(refused.ok()) << bad;
    EXPECT_NE(refused.error().message.find("line 2: column"), std::string::npos) << refused.error().message;
  }
  for (const char* bad : {"0", "1,x", "1.5", "2000", ",1"}) {
    auto refused = simulate_command(std::vector<std::string>{"--tenant-weights", bad});
    ASSERT_FALSE(refused.ok()) << bad;
    EXPECT_NE(refused.error().message.find("--tenant-weights"), std::string::npos);
  }
}

}  // namespace
}  // namespace millrace::app
