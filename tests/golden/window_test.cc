// Sliding windows through the engine: freeing the KV that slid out of a window changes no bit of any answer, and a long
// context holds far fewer blocks. Gemma 3 has Full and Window KvGroups, Mistral windows alone.
// Thread: one test thread plus the pool.
#include <gtest/gtest.h>

#include "base/philox.h"
#include "kernels/cpu/detect.h"
#include "kernels/pick.h"
#include "tests/support/engine_machine.h"

namespace millrace {
namespace {

using flow::GenerateRequest;
using support::EngineRig;
using support::Machine;
using support::MachineSetting;
using support::RigOptions;
using support::Traces;

GenerateRequest long_request(uint32_t id, size_t n_prompt, size_t n_shared) {
  GenerateRequest request;
  request.id = id;
  for (size_t i = 0; i < n_prompt; ++i) {
    uint32_t key = i < n_shared ? 1 : id;
    request.prompt.push_back(static_cast<TokenId>(philox4x32(key, {static_cast<uint32_t>(i), 0, 0, 0})[0] % 500));
  }
  request.sampling.temperature = id % 2 == 0 ? 3.0f : 0.0f;
  request.sampling.seed = id;
  request.sampling.max_tokens = 30;
  request.sampling.ignore_eos = true;
  request.sampling.n_logprobs = 3;
  return request;
}

std::vector<GenerateRequest> requests() {
  std::vector<GenerateRequest> out = {long_request(1, 220, 0), long_request(2, 200, 150), long_request(3, 190, 150),
                                      long_request(4, 33, 0)};
  out[2].n = 2;
  return out;
}

Machine machine_of(const char* shape) {
  return Machine({.shape = shape, .table = *kernels::pick_kernels(kernels::detect_cpu(), "")});
}

class Windows : public ::testing::TestWithParam<const char*> {};

TEST_P(Windows, FreedOrKeptGivesTheSameBits) {
  Machine machine = machine_of(GetParam());
  EngineRig kept(machine, {.keep_windows = true});
  Traces want = kept.run(requests());
  for (uint32_t budget : {7u, 64u, 256u}) {
    EngineRig freed(machine, {.budget = budget});
    EXPECT_TRUE(freed.run(requests()) == want) << "budget " << budget;
    uint64_t hits = freed.stats().prefix_hit_tokens;
    EXPECT_TRUE(freed.run(requests()) == want) << "budget " << budget << ", from the cache";
    EXPECT_GT(freed.stats().prefix_hit_tokens, hits + 500);
  }
}

TEST_P(Windows, ALongContextHoldsFewerBlocks) {
  Machine machine = machine_of(GetParam());
  std::vector<GenerateRequest> one = {long_request(1, 220, 0)};
  EngineRig kept(machine, {.budget = 16, .keep_windows = true});
  kept.run(one);
  EngineRig freed(machine, {.budget = 16});
  freed.run(one);
  flow::KvGeometry kv = machine.geometry(1);
  auto n_groups = static_cast<uint32_t>(kv.groups.size());
  auto n_full = static_cast<uint32_t>(std::ranges::count(kv.groups, flow::KvGroupKind::kFull, &flow::KvGroup::kind));
  EXPECT_EQ(kept.most_active(), 8 * n_groups);  // 250 tokens, the last one is never computed
  // 39 tokens before a chunk of 16: 55 tokens lie in at most 3 blocks of 32
  EXPECT_LE(freed.most_active(), 8 * n_full + 3 * (n_groups - n_full));
  EXPECT_LT(2 * freed.most_active(), kept.most_active());
}

INSTANTIATE_TEST_SUITE_P(Shapes, Windows, ::testing::Values("gemma3", "mistral"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace millrace
