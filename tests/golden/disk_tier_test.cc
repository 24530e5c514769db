// The disk tier through engine and real workers: a conversation that returns after a restart is served from disk with
// the same bits, damaged files are recomputed, and windows are restored as far as they are seen.
// Thread: one test thread plus the pool and the store's.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/philox.h"
#include "kernels/cpu/detect.h"
#include "kernels/pick.h"
#include "tests/support/engine_machine.h"

namespace millrace {
namespace {

using flow::GenerateRequest;
using support::EngineRig;
using support::Machine;
using support::RigOptions;
using support::Traces;

GenerateRequest turn(uint32_t id, const std::vector<TokenId>& history, size_t n_new) {
  GenerateRequest request;
  request.id = id;
  request.prompt = history;
  for (size_t i = 0; i < n_new; ++i) {
    request.prompt.push_back(static_cast<TokenId>(philox4x32(id, {static_cast<uint32_t>(i), 0, 0, 0})[0] % 500));
  }
  request.sampling.temperature = 2.0f;
  request.sampling.seed = id;
  request.sampling.max_tokens = 12;
  request.sampling.ignore_eos = true;
  request.sampling.n_logprobs = 3;
  return request;
}

class DiskTier : public ::testing::TestWithParam<const char*> {
 protected:
  DiskTier() : machine_({.shape = GetParam(), .table = *kernels::pick_kernels(kernels::detect_cpu(), "")}) {
    first_ = turn(1, {}, 150);
    EngineRig rig(machine_, {});
    Traces traces = rig.run({first_});
    history_ = first_.prompt;
    const std::vector<TokenId>& answer = traces.at({1, 0}).tokens;
    history_.insert(history_.end(), answer.begin(), answer.end());
    second_ = turn(2, history_, 20);
    EngineRig fresh(machine_, {});
    want_ = fresh.run({second_});
  }
  RigOptions options() const { return {.disk_folder = dir_.path()}; }

  Machine machine_;
  testing::TempDir dir_;
  GenerateRequest first_;
  GenerateRequest second_;
  std::vector<TokenId> history_;
  Traces want_;
};

TEST_P(DiskTier, AReturningConversationComesFromDiskBitForBit) {
  {
    EngineRig rig(machine_, options());
    rig.run({first_});
    EXPECT_EQ(rig.stats().tier_loaded_tokens, 0u);
    EXPECT_GE(rig.stats().tier_saved_blocks, 5u);  // 161 computed tokens
  }
  EngineRig rig(machine_, options());
  EXPECT_TRUE(rig.run({second_}) == want_);
  engine::EngineStats stats = rig.stats();
  EXPECT_EQ(stats.tier_loaded_tokens, 160u);
  EXPECT_EQ(stats.prefix_hit_tokens, 160u);
  EXPECT_EQ(stats.prompt_tokens_computed, second_.prompt.size() - 160);
  EXPECT_EQ(stats.tier_failed_loads, 0u);
}

TEST_P(DiskTier, AnotherSaltFindsNothing) {
  {
    EngineRig rig(machine_, options());
    rig.run({first_});
  }
  EngineRig rig(machine_, options());
  GenerateRequest salted = second_;
  salted.scope = 1;
  salted.cache_salt = "pepper";
  EXPECT_TRUE(rig.run({salted}) == want_);
  EXPECT_EQ(rig.stats().tier_loads, 0u);
  EXPECT_EQ(rig.stats().prefix_hit_tokens, 0u);
}

TEST_P(DiskTier, DamagedFilesAreRecomputed) {
  {
    EngineRig rig(machine_, options());
    rig.run({first_});
  }
  size_t n_files = 0;
  for (const auto& file : std::filesystem::directory_iterator(dir_.path())) {
    if (file.path().extension() != ".kv") continue;
    auto size = static_cast<std::streamoff>(std::filesystem::file_size(file.path()));
    std::fstream bytes(file.path(), std::ios::binary | std::ios::in | std::ios::out);
    bytes.seekg(size / 2);
    char byte = static_cast<char>(bytes.get());
    bytes.seekp(size / 2);
    bytes.put(static_cast<char>(~byte));
    ++n_files;
  }
  EXPECT_GE(n_files, 5u);
  EngineRig rig(machine_, options());
  EXPECT_TRUE(rig.run({second_}) == want_);
  EXPECT_EQ(rig.stats().prefix_hit_tokens, 0u);
  EXPECT_EQ(rig.stats().tier_failed_loads, 1u);
}

TEST_P(DiskTier, SomethingForEveryoneWhenThePoolIsSmall) {
  RigOptions small = options();
  small.n_blocks = machine_.smallest_pool(220, small.budget) + 4;
  std::vector<GenerateRequest> asks = {first_, second_, turn(3, {}, 60), second_};
  asks.back().id = 4;
  Traces want;
  for (const GenerateRequest& ask : asks) {
    EngineRig alone(machine_, {});
    want.merge(alone.run({ask}));
  }
  EngineRig rig(machine_, small);
  for (int round = 0; round < 2; ++round) EXPECT_TRUE(rig.run(asks) == want) << "round " << round;
  EXPECT_GE(rig.stats().tier_saved_blocks, 8u);
}

// Whatever step is the last before its blocks are taken: what went down and comes back is what was there.
TEST_P(DiskTier, PreemptedAtEachStepAndSwappedItStaysTheSame) {
  GenerateRequest late = turn(9, {}, 180);
  late.band = 9;
  late.sampling.max_tokens = 2;
  Traces want;
  for (const GenerateRequest& ask : {first_, late}) {
    EngineRig alone(machine_, {});
    want.merge(alone.run({ask}));
  }
  RigOptions small{.budget = 64, .order = sched::OrderKind::kPriority};
  small.n_blocks = machine_.smallest_pool(182, small.budget);
  uint64_t n_swap_loads = 0, n_preempted = 0;
  for (uint32_t depth : {1u, 2u}) {
    small.depth = depth;
    for (uint64_t step = 2; step < 14; ++step) {
      testing::TempDir dir;
      small.disk_folder = dir.path();
      EngineRig rig(machine_, small);
      EXPECT_TRUE(rig.run({first_}, &late, step) == want) << "taken at step " << step << ", depth " << depth;
      n_preempted += rig.stats().n_preemptions;
      n_swap_loads += rig.stats().swap_loads;
      EXPECT_EQ(rig.stats().tier_failed_loads, 0u);
    }
  }
  EXPECT_GE(n_preempted, 16u);
  EXPECT_GE(n_swap_loads, 1u);  // how many depends on what loads and steps cost here and now
}

INSTANTIATE_TEST_SUITE_P(Shapes, DiskTier, ::testing::Values("llama", "gemma3"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace millrace
