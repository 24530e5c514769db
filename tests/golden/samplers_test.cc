// Every sampler through the engine: what it draws, logprob bits included, is the same alone and in company, in chunks,
// after preemption, after a lost step and with two steps in flight. Those that remember (mirostat, DRY, bad words,
// n-grams) go on where they were.
// Thread: one test thread plus the pool.
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/philox.h"
#include "kernels/cpu/detect.h"
#include "kernels/pick.h"
#include "tests/support/engine_machine.h"

namespace millrace {
namespace {

using flow::GenerateRequest;
using flow::SamplerStep;
using flow::SamplingParams;
using support::EngineRig;
using support::Machine;
using support::RigOptions;
using support::Traces;

constexpr uint32_t kMaxTokens = 20;
constexpr size_t kLongestPrompt = 90;

void set_mirostat(SamplingParams& p, int32_t version, float temperature) {
  p.mirostat = version;
  p.mirostat_tau = 4.0f;
  p.mirostat_eta = 0.5f;
  p.temperature = temperature;
}

// Few tokens are likely, so that answers repeat themselves.
void set_dry(SamplingParams& p, int32_t last_n) {
  p.logit_bias = {{20, 30.0f}, {21, 30.0f}, {22, 30.0f}};
  p.dry.multiplier = 2.0f;
  p.dry.allowed_length = 1;
  p.dry.last_n = last_n;
  p.dry.breakers = std::make_shared<const flow::DryBreakers>(
      flow::DryBreakers{.alone = {7, 9}, .sequences = {{1, 2}, {11, 12, 13}}});
}

using Change = void (*)(SamplingParams&);
constexpr Change kSettings[] = {
    [](SamplingParams& p) { set_mirostat(p, 1, 1.0f); },
    [](SamplingParams& p) { set_mirostat(p, 2, 1.0f); },
    [](SamplingParams& p) { set_mirostat(p, 2, 3.0f); },
    [](SamplingParams& p) { set_dry(p, -1); },
    [](SamplingParams& p) {
      set_dry(p, 16);
      p.temperature = 0.0f;
    },
    [](SamplingParams& p) { p.xtc_probability = 0.5f; },
    [](SamplingParams& p) {
      p.xtc_probability = 0.5f;
      p.xtc_threshold = 0.001f;
      p.temperature = 0.0f;
    },
    [](SamplingParams& p) { p.dynatemp_range = 0.5f; },
    [](SamplingParams& p) { p.top_n_sigma = 1.0f; },
    [](SamplingParams& p) { p.typical_p = 0.5f; },
    [](SamplingParams& p) {
      p.top_k = 40;
      p.top_p = 0.9f;
      p.min_p = 0.01f;
      p.steps = {SamplerStep::kTopK, SamplerStep::kTopP, SamplerStep::kMinP, SamplerStep::kTemperature};
      p.temperature = 4.0f;
    },
    [](SamplingParams& p) {
      for (TokenId token = 0; token < 500; token += 2) p.bad_words.push_back({token});
      p.bad_words.push_back({1, 3});
    },
    [](SamplingParams& p) {
      p.min_keep = 4;
      p.top_p = 0.01f;
      p.post_sampling_probs = true;
    },
    [](SamplingParams& p) {
      p.logit_bias = {{20, 30.0f}, {21, 30.0f}, {22, 30.0f}};
      p.no_repeat_ngram_size = 2;
      p.logprob_token_ids = {22, 20, 499};
    },
};

// Made anew for each run: what samplers remember belongs to the request.
std::vector<GenerateRequest> requests() {
  std::vector<GenerateRequest> out;
  for (uint32_t i = 0; i < std::size(kSettings); ++i) {
    GenerateRequest request;
    request.id = i + 1;
    request.band = static_cast<int16_t>(i % 4);
    request.n = i == 1 || i == 3 ? 3 : 1;
    for (uint32_t k = 0; k < 20 + i * 5; ++k) {
      request.prompt.push_back(static_cast<TokenId>(philox4x32(50 + i % 3, {k, 0, 0, 0})[0] % 500));
    }
    request.sampling.n_logprobs = 3;
    request.sampling.max_tokens = kMaxTokens;
    request.sampling.seed = 77 + i;
    request.sampling.ignore_eos = true;
    kSettings[i](request.sampling);
    if (request.sampling.mirostat > 0) {
      request.sampling.memory = std::make_shared<flow::SamplerMemory>();
      request.sampling.memory->mirostat_mu.resize(request.n);
    }
    out.push_back(std::move(request));
  }
  return out;
}

Machine machine() { return Machine({.table = *kernels::pick_kernels(kernels::detect_cpu(), ""), .n_threads = 2}); }

TEST(SamplersInTheEngine, GiveTheSameAloneInCompanyAndPreempted) {
  Machine machine = ::millrace::machine();
  Traces want = run_each_alone(machine, requests());
  for (uint32_t budget : {1u, 64u}) {
    EngineRig rig(machine, {.budget = budget});
    expect_same(rig.run(requests()), want, "budget " + std::to_string(budget));
    expect_same(rig.run(requests()), want, "prefix hits");
  }
  RigOptions pressed{.budget = 64, .order = sched::OrderKind::kPriority};
  pressed.n_blocks = machine.smallest_pool(kLongestPrompt + kMaxTokens, pressed.budget);
  for (uint32_t depth : {1u, 2u}) {
    pressed.depth = depth;
    EngineRig rig(machine, pressed);
    expect_same(rig.run(requests()), want, "pressed, depth " + std::to_string(depth));
    EXPECT_GT(rig.stats().n_preemptions, 0u);
    EXPECT_GT(rig.stats().recomputed_tokens, 0u);
  }
  for (uint64_t step : {5u, 12u, 20u}) {
    EngineRig lost(machine, {.failing_step = step, .depth = 2});
    expect_same(lost.run(requests()), want, "lost step " + std::to_string(step));
    EXPECT_GE(lost.stats().n_failed_steps, 1u);
  }
}

TEST(SamplersInTheEngine, ActOnWhatIsDrawn) {
  Machine machine = ::millrace::machine();
  std::vector<GenerateRequest> changed = requests();
  std::vector<GenerateRequest> plain = requests();
  for (GenerateRequest& request : plain) {
    SamplingParams neutral;
    neutral.temperature = request.sampling.temperature;
    neutral.logit_bias = request.sampling.logit_bias;
    neutral.n_logprobs = 3;
    neutral.max_tokens = kMaxTokens;
    neutral.seed = request.sampling.seed;
    neutral.ignore_eos = true;
    request.sampling = neutral;
  }
  EngineRig one(machine, {});
  EngineRig other(machine, {});
  Traces with = one.run(changed);
  Traces without = other.run(plain);
  size_t n_same = 0;
  for (const auto& [key, trace] : without) n_same += with.at(key).tokens == trace.tokens ? 1U : 0U;
  EXPECT_LE(n_same, 1u);
  for (TokenId token : with.at({12, 0}).tokens) EXPECT_EQ(token % 2, 1) << "bad words";
  EXPECT_NE(with.at({2, 0}).tokens, with.at({2, 1}).tokens);
  std::vector<TokenId> all = changed.back().prompt;
  const std::vector<TokenId>& output = with.at({std::size(kSettings), 0}).tokens;
  all.insert(all.end(), output.begin(), output.end());
  const size_t n_prompt = all.size() - output.size();
  std::set<std::pair<TokenId, TokenId>> seen;
  for (size_t i = 1; i < all.size(); ++i) {
    EXPECT_TRUE(seen.emplace(all[i - 1], all[i]).second || i < n_prompt) << "n-gram at " << i;
  }
}

}  // namespace
}  // namespace millrace
