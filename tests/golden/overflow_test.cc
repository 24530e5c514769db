// Requests whose numbers overflow on real workers: the weights are finite, so the loader takes them, and one token
// drives the forward pass to infinity and NaN. The requests with that token end with an error; the bits of all others,
// in the same steps, behind the same prefixes, before and after, stay what they are alone.
// Thread: one test thread plus the pool.
#include <gtest/gtest.h>

#include "base/philox.h"
#include "kernels/cpu/detect.h"
#include "kernels/pick.h"
#include "tests/support/engine_machine.h"

namespace millrace {
namespace {

using flow::FinishReason;
using flow::GenerateRequest;
using support::EngineRig;
using support::Machine;
using support::RigOptions;
using support::Traces;

constexpr TokenId kHostile = 511;

// All prompts of a kind begin with the same 70 tokens.
GenerateRequest request(uint32_t id, uint32_t n_prompt) {
  GenerateRequest out;
  out.id = id;
  for (uint32_t i = 0; i < n_prompt; ++i) {
    uint32_t kind = i < 70 ? 1 : id;
    out.prompt.push_back(static_cast<TokenId>(philox4x32(kind, {i, 0, 0, 0})[0] % 500));
  }
  out.sampling.max_tokens = 14;
  out.sampling.temperature = id % 2 == 0 ? 0.0f : 1.5f;
  out.sampling.seed = id;
  out.sampling.ignore_eos = true;
  out.sampling.n_logprobs = 3;
  return out;
}

class Overflow : public ::testing::TestWithParam<const char*> {
 protected:
  Overflow()
      : machine_({.shape = GetParam(),
                  .format = tensor::Format::kF32,
                  .kv = kernels::KvDType::kBF16,
                  .table = *kernels::pick_kernels(kernels::detect_cpu(), ""),
                  .overflows = kHostile}) {}
  Traces alone(const std::vector<GenerateRequest>& requests) {
    Traces traces;
    for (const GenerateRequest& ask : requests) {
      EngineRig rig(machine_, {});
      traces.merge(rig.run({ask}));
    }
    return traces;
  }
  Machine machine_;
};

TEST_P(Overflow, EndsItsRequestAndTouchesNoOther) {
  std::vector<GenerateRequest> honest = {request(1, 40), request(2, 90), request(3, 150), request(4, 71),
                                         request(5, 9)};
  honest[1].n = 2;
  Traces want = alone(honest);
  std::vector<GenerateRequest> all;
  for (uint32_t i = 0; i < honest.size(); ++i) {
    GenerateRequest hostile = request(100 + i, 100);
    hostile.prompt[i * 24] = kHostile;  // at the begin, inside the shared prefix, behind it
    hostile.n = 1 + i % 2;
    all.push_back(hostile);
    all.push_back(honest[i]);
  }
  all.push_back(all.front());  // what the first one computed is of no use to anybody
  all.back().id = 200;
  for (uint32_t depth : {1u, 2u}) {
    for (uint32_t budget : {7u, 64u}) {
      EngineRig rig(machine_, {.budget = budget, .depth = depth, .errors = true});
      Traces got = rig.run(all);
      for (const auto& [key, trace] : got) {
        if (key.first >= 100) {
          EXPECT_EQ(trace.finish, FinishReason::kError) << key.first;
          EXPECT_TRUE(trace.tokens.empty()) << key.first;
        } else {
          EXPECT_TRUE(trace == want.at(key)) << "request " << key.first << " depth " << depth << " budget " << budget;
        }
      }
      EXPECT_EQ(rig.stats().n_finished_error, 8u);
      EXPECT_TRUE(rig.run(honest) == want) << "afterwards";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Overflow, ::testing::Values("llama", "gemma3"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace millrace
