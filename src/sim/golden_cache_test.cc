// Golden tables G1 (fragmentation) and G2 (prefix hits) through Engine and SimBackend, exact; the same tables over
// KvCache alone are in src/cache/trace_test.cc. Source of the numbers: computed from the public traces with a script of
// its own, before this code existed.
#include "tests/support/sim_golden.h"

namespace millrace::sim {
namespace {

using support::golden_cost;
using support::golden_engine;

// One request after the other, one output token each.
Workload one_at_a_time(Workload load) {
  Tick at = 0;
  for (SimRequest& request : load.requests) {
    request.n_output = request.max_tokens = 1;
    request.arrival = at;
    at += 1000 * kSecond;
  }
  return load;
}

uint64_t hit_blocks(const Workload& load, uint32_t block_tokens, uint32_t n_blocks) {
  constexpr uint32_t kLongest = 1 << 18;
  auto options = golden_engine(
      {.block_tokens = block_tokens, .n_blocks = n_blocks, .max_len = kLongest, .max_live = 1, .budget = kLongest});
  Report report = support::run_engine(options, golden_cost("llama3-8b-a100"), load);
  EXPECT_EQ(report.n_finished, load.requests.size());
  EXPECT_EQ(report.totals.prefix_hit_tokens % block_tokens, 0u);
  return report.totals.prefix_hit_tokens / block_tokens;
}

TEST(GoldenPrefixHits, ASmallCaseByHand) {
  auto request = [](std::vector<uint64_t> ids) {
    SimRequest out;
    for (uint64_t id : ids) out.prompt.push_back({.content = id, .n_tokens = 4});
    return out;
  };
  // blocks of 4 tokens; the block with the last token of a prompt is never matched
  Workload load{.requests = {request({1, 2, 3}),       // 0 hits; caches 1 2 3
                             request({1, 2, 3}),       // 2 hits
                             request({1, 2, 3, 4}),    // 3 hits; caches 4
                             request({5, 6, 7, 8}),    // 0 hits; a pool of 6 drops 4 and 3
                             request({1, 2, 3, 4})}};  // 2 hits
  EXPECT_EQ(hit_blocks(one_at_a_time(load), 4, 6), 0u + 2 + 3 + 0 + 2);
  EXPECT_EQ(hit_blocks(one_at_a_time(load), 4, 100), 0u + 2 + 3 + 0 + 3);
}

TEST(GoldenPrefixHits, ConversationsExact) {
  if (!support::have_traces()) GTEST_SKIP() << support::kNoTraces;
  Workload load = one_at_a_time(support::load_trace("mooncake_conversation.jsonl"));
  EXPECT_EQ(hit_blocks(load, 512, 10'000), 62'001u);
}

TEST(GoldenPrefixHits, SyntheticExact) {
  if (!support::have_traces()) GTEST_SKIP() << support::kNoTraces;
  Workload load = one_at_a_time(support::load_trace("mooncake_synthetic.jsonl"));
  EXPECT_EQ(hit_blocks(load, 512, 3'000), 23'727u);
}

BackendTotals fragmentation(const Workload& load, uint32_t block_tokens) {
  auto options = golden_engine({.block_tokens = block_tokens, .n_blocks = 2'000'000 / block_tokens});
  options.prefix_cache = false;
  return support::run_engine(options, golden_cost("llama3-8b-a100"), load).totals.backend;
}

TEST(GoldenFragmentation, ASmallCaseByHand) {
  Workload load;
  load.requests.push_back({.n_output = 3, .prompt = {{.content = 1, .n_tokens = 14}}});
  load.requests.push_back({.n_output = 1, .prompt = {{.content = 2, .n_tokens = 40}}});
  BackendTotals totals = fragmentation(load, 16);
  EXPECT_EQ(totals.used_tokens, 15u + 16 + 17 + 41);
  EXPECT_EQ(totals.held_tokens, 16u + 16 + 32 + 48);
}

TEST(GoldenFragmentation, ConversationsExact) {
  if (!support::have_traces()) GTEST_SKIP() << support::kNoTraces;
  Workload load = support::load_trace("azure_conv.csv");
  keep_first(load, 2000);
  for (auto [block_tokens, held] : {std::pair{16u, 653'638'912ull}, {32u, 657'868'128ull}, {256u, 717'298'176ull}}) {
    BackendTotals totals = fragmentation(load, block_tokens);
    EXPECT_EQ(totals.used_tokens, 649'665'701u);
    EXPECT_EQ(totals.held_tokens, held) << "B = " << block_tokens;
  }
}

}  // namespace
}  // namespace millrace::sim
