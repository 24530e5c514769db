// The peak of decoding sequences against playing them step by step.
#include "sched/peak.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>

namespace millrace::sched {
namespace {

TEST(Peak, IsThatOfPlayingTheSequencesStepByStep) {
  std::mt19937_64 random(5);
  auto below = [&](uint64_t n) { return static_cast<uint32_t>(random() % n); };
  for (int round = 0; round < 300; ++round) {
    constexpr uint32_t kSizes[] = {1, 4, 16, 32};
    flow::KvGeometry kv{.block_tokens = kSizes[below(4)], .n_blocks = 64, .block_bytes = 1, .max_len = 150};
    kv.groups.resize(1 + below(2));
    SchedOptions options;
    options.depth = 1 + below(2);
    Peak peak(options);
    peak.begin(kv);
    std::deque<flow::GenerateRequest> requests;
    struct Plain {
      uint32_t n_tokens = 0, left = 0;
    };
    std::vector<Plain> all;
    uint32_t longest = 0;
    for (uint32_t i = below(12); i > 0; --i) {
      flow::GenerateRequest& request = requests.emplace_back();
      request.prompt.assign(1 + below(100), 7);
      request.sampling.max_tokens = below(80);
      Seq seq;
      seq.request = &request;
      seq.outputs.assign(below(request.sampling.max_tokens + 1), 7);
      seq.progress.placeholders = seq.outputs.size() < request.sampling.max_tokens ? below(2) : 0;
      peak.add(seq);
      Plain plain{.n_tokens = seq.n_known() + seq.progress.placeholders};
      uint32_t total = std::min(seq.n_prompt() + request.sampling.max_tokens, kv.max_len);
      plain.left = total > plain.n_tokens ? total - plain.n_tokens : 0;
      all.push_back(plain);
      longest = std::max(longest, plain.left);
    }
    uint64_t want = 0;
    uint32_t late = options.depth - 1;
    for (uint32_t step = 0; step <= longest + late; ++step) {
      uint64_t held = 0;
      for (const Plain& plain : all) {
        if (plain.left + late >= step) held += cache::ceil_div(plain.n_tokens + step, kv.block_tokens);
      }
      want = std::max(want, held * kv.groups.size());
    }
    EXPECT_EQ(peak.blocks(), want) << round;
  }
}

TEST(Peak, WindowsCountAsMuchAsTheyCanHold) {
  flow::KvGeometry kv{.block_tokens = 4, .n_blocks = 64, .block_bytes = 1, .max_len = 150, .groups = {{}}};
  kv.groups.push_back({.kind = flow::KvGroupKind::kWindow, .window_tokens = 10, .layers = {}});
  SchedOptions options;
  options.budget_tokens = 8;
  flow::GenerateRequest request;
  request.prompt.assign(40, 7);
  request.sampling.max_tokens = 20;
  Seq seq;
  seq.request = &request;
  Peak peak(options);
  peak.begin(kv);
  peak.add(seq);
  EXPECT_EQ(peak.blocks(), 15u + 6u);  // 60 tokens; ceil((10 - 1 + 8) / 4) + 1
}

}  // namespace
}  // namespace millrace::sched
