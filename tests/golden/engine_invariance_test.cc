// Batch invariance through the engine: what a request is answered, logits' bits included, is the same alone on a fresh
// engine and in any company, with any chunk, after prefix hits, after preemption at any step, after a lost step, with
// one or two threads and (quantised weights, int8 KV) on every kernel table. Also: batching happens and costs what
// it should, and nothing stays behind.
// Thread: one test thread plus the pool.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "base/philox.h"
#include "kernels/cpu/detect.h"
#include "kernels/pick.h"
#include "sched/policies.h"
#include "tests/support/engine_machine.h"

namespace millrace {
namespace {

using flow::GenerateRequest;
using kernels::KernelTable;
using kernels::KvDType;
using support::EngineRig;
using support::Machine;
using support::MachineSetting;
using support::RigOptions;
using support::Traces;
using tensor::Format;

std::vector<const KernelTable*> tables() {
  std::vector<const KernelTable*> out;
  kernels::CpuFeatures cpu = kernels::detect_cpu();
  for (const kernels::IsaRow& row : kernels::isa_rows()) {
    if (row.missing(cpu).empty()) out.push_back(&row.table(cpu));
  }
  return out;
}

// The first n_shared tokens are those of every prompt, the others its own.
std::vector<TokenId> prompt_of(uint32_t own, size_t n, size_t n_shared) {
  std::vector<TokenId> tokens(n);
  for (size_t i = 0; i < n; ++i) {
    tokens[i] = static_cast<TokenId>(philox4x32(i < n_shared ? 1 : own, {static_cast<uint32_t>(i), 0, 0, 0})[0] % 500);
  }
  return tokens;
}

// Greedy, filtered and penalised sampling in turn.
flow::SamplingParams sampling_of(uint32_t i) {
  flow::SamplingParams params;
  params.n_logprobs = 5;
  params.max_tokens = 8 + (i * 7) % 17;
  params.seed = 1000 + i;
  params.ignore_eos = true;
  if (i % 3 == 0) params.temperature = 0.0f;
  if (i % 3 == 1) {
    params.temperature = 4.0f;
    params.top_k = 40;
    params.top_p = 0.95f;
  }
  if (i % 3 == 2) {
    params.temperature = 6.0f;
    params.min_p = 0.01f;
    params.repetition_penalty = 1.2f;
    params.presence_penalty = 0.3f;
    params.frequency_penalty = 0.2f;
  }
  return params;
}

struct Ask {
  size_t n_prompt;
  size_t n_shared;
};
constexpr Ask kAsks[] = {{40, 0},  {150, 70}, {1, 0},    {72, 70},  {33, 33},  {100, 96},
                         {64, 64}, {17, 0},   {128, 64}, {150, 70}, {97, 100}, {5, 3}};
constexpr uint32_t kLongest = 150 + 24;

std::vector<GenerateRequest> mixed_requests(size_t n = std::size(kAsks)) {
  std::vector<GenerateRequest> requests;
  for (uint32_t i = 0; i < n; ++i) {
    GenerateRequest request;
    request.id = i + 1;
    request.band = static_cast<int16_t>(i % 4);  // FCFS does not look at it
    request.prompt = prompt_of(100 + i, kAsks[i].n_prompt, kAsks[i].n_shared);
    request.sampling = sampling_of(i);
    if (i == 3 || i == 8) request.n = 3;
    if (i == 5) request.sampling.n_prompt_logprobs = 3;
    if (i == 7) {  // ends early in most runs of the dice
      for (TokenId token = 0; token < 500; token += 8) request.sampling.stop_token_ids.push_back(token);
      request.sampling.min_tokens = 3;
    }
    if (i == 9) request.use_prefix_cache = false;
    requests.push_back(std::move(request));
  }
  return requests;
}

// Prompts whose hidden states are read out, some with the beginning of the generating ones.
std::vector<GenerateRequest> pooled_requests() {
  std::vector<GenerateRequest> requests;
  uint32_t id = 100;
  for (auto pooling : {flow::Pooling::kLast, flow::Pooling::kMean, flow::Pooling::kFirst, flow::Pooling::kTokens}) {
    for (const Ask& ask : {Ask{150, 70}, Ask{1, 0}, Ask{97, 97}}) {
      GenerateRequest request;
      request.id = ++id;
      request.band = static_cast<int16_t>(id % 4);
      request.prompt = prompt_of(id, ask.n_prompt, ask.n_shared);
      request.sampling.max_tokens = 0;
      request.sampling.pooling = pooling;
      requests.push_back(std::move(request));
    }
  }
  return requests;
}

std::vector<GenerateRequest> short_requests() {
  std::vector<GenerateRequest> requests = mixed_requests(5);
  requests.erase(requests.begin() + 1);
  requests[2].n = 2;
  return requests;
}

// The smallest pool, and the later requests are the more urgent ones: somebody must give way.
RigOptions pressed(const Machine& machine) {
  RigOptions options{.budget = 64, .order = sched::OrderKind::kPriority};
  options.n_blocks = machine.smallest_pool(kLongest, options.budget);
  return options;
}

class EngineInvariance : public ::testing::TestWithParam<MachineSetting> {
 protected:
  static MachineSetting setting() {
    MachineSetting setting = GetParam();
    setting.table = tables().front();
    return setting;
  }
};

TEST_P(EngineInvariance, AnyCompanyAnyChunkAndPrefixHits) {
  Machine machine(setting());
  std::vector<GenerateRequest> requests = mixed_requests();
  Traces want = run_each_alone(machine, requests);
  for (uint32_t budget : {1u, 16u, 64u, 512u}) {
    EngineRig rig(machine, {.budget = budget});
    std::string what = fmt::format("budget {}", budget);
    expect_same(rig.run(requests), want, what);
    engine::EngineStats first = rig.stats();
    EXPECT_LT(first.n_steps, first.n_rows) << what;
    EXPECT_EQ(first.n_preemptions, 0u) << what;
    expect_same(rig.run(requests), want, what + ", second run");
    EXPECT_GT(rig.stats().prefix_hit_tokens, first.prefix_hit_tokens + 300) << what;
  }
}

TEST_P(EngineInvariance, PoolsOfEverySizeFromOneSequenceUpwards) {
  Machine machine(setting());
  std::vector<GenerateRequest> requests = mixed_requests();
  Traces want = run_each_alone(machine, requests);
  std::set<uint64_t> counts;
  std::set<uint64_t> steps;
  for (sched::OrderKind order : {sched::OrderKind::kFcfs, sched::OrderKind::kPriority}) {
    uint64_t most = 0;
    uint64_t n_recomputed = 0;
    uint32_t smallest = machine.smallest_pool(kLongest, 64);
    for (uint32_t n_blocks = smallest; n_blocks < 5 * smallest / 2; n_blocks += 1 + smallest / 8) {
      EngineRig rig(machine, {.budget = 64, .n_blocks = n_blocks, .order = order, .steps_between = 2});
      expect_same(rig.run(requests), want, fmt::format("{} blocks", n_blocks));
      most = std::max(most, rig.stats().n_preemptions);
      n_recomputed += rig.stats().recomputed_tokens;
      counts.insert(rig.stats().n_preemptions);
      steps.insert(rig.preempted_at().begin(), rig.preempted_at().end());
    }
    EXPECT_GT(most, 0u);
    EXPECT_GT(n_recomputed, 0u);
  }
  EXPECT_GE(counts.size(), 6u);
  EXPECT_GE(steps.size(), 18u);
}

TEST_P(EngineInvariance, EveryOrderAdmissionAndBudget) {
  Machine machine(setting());
  std::vector<GenerateRequest> requests = mixed_requests();
  Traces want = run_each_alone(machine, requests);
  for (size_t i = 0; i < requests.size(); ++i) requests[i].tenant = static_cast<uint32_t>(i % 3);
  constexpr sched::AdmitKind kAdmits[] = {sched::AdmitKind::kPredictive, sched::AdmitKind::kMaxUtil,
                                          sched::AdmitKind::kNoEvictPeak};
  std::set<std::pair<uint64_t, uint64_t>> ways;  // steps and rows: the policies really cut the work differently
  size_t i = 0;
  for (const sched::OrderRow& order : sched::order_rows()) {
    for (auto split : {sched::BudgetKind::kStatic, sched::BudgetKind::kSlack, sched::BudgetKind::kExclusive}) {
      uint32_t n_blocks = 2 * machine.smallest_pool(kLongest, 64);
      EngineRig rig(
          machine,
          {.budget = 64, .n_blocks = n_blocks, .order = order.kind, .admit = kAdmits[i++ % 3], .split = split});
      expect_same(rig.run(requests), want, fmt::format("order {}, run {}", order.name, i));
      ways.emplace(rig.stats().n_steps, rig.stats().n_rows);
    }
  }
  EXPECT_GE(ways.size(), 6u);
}

// A request of a higher band takes the whole pool, at each step in turn.
TEST_P(EngineInvariance, PreemptedByAHigherBandAtEachStep) {
  Machine machine(setting());
  std::vector<GenerateRequest> requests = short_requests();
  GenerateRequest late = mixed_requests(2)[1];
  late.band = 9;
  late.sampling.max_tokens = 2;
  Traces want = run_each_alone(machine, requests);
  want.merge(run_each_alone(machine, {late}));
  RigOptions options{.budget = 256, .order = sched::OrderKind::kPriority};
  options.n_blocks = machine.smallest_pool(static_cast<uint32_t>(late.prompt.size()) + 2, options.budget);
  EngineRig calm(machine, options);
  calm.run(requests);
  std::set<uint64_t> steps;
  for (uint64_t step = 2; step + 4 < calm.stats().n_steps; ++step) {
    EngineRig rig(machine, options);
    expect_same(rig.run(requests, &late, step), want, fmt::format("taken at step {}", step));
    EXPECT_GT(rig.stats().recomputed_tokens, 0u) << step;
    if (rig.preempted_at().contains(step)) steps.insert(step);
  }
  EXPECT_GE(steps.size() + 10, calm.stats().n_steps);
}

// Every sequence of a lost step starts again, with or without blocks of earlier steps.
TEST_P(EngineInvariance, AllRolledBackAtEachStep) {
  Machine machine(setting());
  std::vector<GenerateRequest> requests = short_requests();
  Traces want = run_each_alone(machine, requests);
  for (bool prefix_cache : {true, false}) {
    EngineRig calm(machine, {.prefix_cache = prefix_cache});
    calm.run(requests);
    for (uint64_t step = 1; step <= calm.stats().n_steps; ++step) {
      EngineRig rig(machine, {.prefix_cache = prefix_cache, .failing_step = step});
      expect_same(rig.run(requests), want, fmt::format("step {} lost, cache {}", step, prefix_cache));
      EXPECT_EQ(rig.stats().n_failed_steps, 1u);
      EXPECT_GT(rig.stats().n_preemptions, 0u) << step;
      EXPECT_GT(rig.stats().recomputed_tokens, 0u) << step;
    }
  }
}

// Planned while the step before is computed: the same bits, in company, under pressure and after a lost step.
TEST_P(EngineInvariance, TwoStepsInFlight) {
  Machine machine(setting());
  std::vector<GenerateRequest> requests = mixed_requests();
  Traces want = run_each_alone(machine, requests);
  for (uint32_t budget : {16u, 512u}) {
    EngineRig rig(machine, {.budget = budget, .depth = 2});
    expect_same(rig.run(requests), want, fmt::format("budget {}", budget));
    expect_same(rig.run(requests), want, fmt::format("budget {}, again", budget));
  }
  RigOptions options = pressed(machine);
  options.depth = 2;
  EngineRig rig(machine, options);
  expect_same(rig.run(requests), want, "pressed");
  EXPECT_GT(rig.stats().n_preemptions, 0u);
  EngineRig lost(machine, {.failing_step = 6, .depth = 2});
  expect_same(lost.run(requests), want, "a lost step");
  EXPECT_GE(lost.stats().n_failed_steps, 1u);
}

// Embeddings: in company of each other and of generation, in any chunk, under pressure, after a lost step.
TEST_P(EngineInvariance, HiddenStatesReadOut) {
  Machine machine(setting());
  std::vector<GenerateRequest> pooled = pooled_requests();
  std::vector<GenerateRequest> requests = mixed_requests(6);
  requests.insert(requests.end(), pooled.begin(), pooled.end());
  Traces want = run_each_alone(machine, requests);
  size_t width = machine.model().desc().d_model;
  for (const GenerateRequest& request : pooled) {
    bool tokens = request.sampling.pooling == flow::Pooling::kTokens;
    EXPECT_EQ(want.at({request.id, 0}).bits.size(), width * (tokens ? request.prompt.size() : 1));
    EXPECT_EQ(want.at({request.id, 0}).finish, flow::FinishReason::kLength);
  }
  for (uint32_t budget : {1u, 16u, 512u}) {
    EngineRig rig(machine, {.budget = budget});
    expect_same(rig.run(requests), want, fmt::format("budget {}", budget));
    expect_same(rig.run(requests), want, fmt::format("budget {}, again", budget));
    EXPECT_GT(rig.stats().prefix_hit_tokens, 0u);
  }
  RigOptions options = pressed(machine);
  EngineRig rig(machine, options);
  expect_same(rig.run(requests), want, "pressed");
  EXPECT_GT(rig.stats().n_preemptions, 0u);
  for (uint64_t step : {1u, 3u, 8u}) {
    EngineRig lost(machine, {.budget = 32, .failing_step = step, .depth = 2});
    expect_same(lost.run(requests), want, fmt::format("step {} lost", step));
  }
}

TEST_P(EngineInvariance, OneOrTwoThreads) {
  MachineSetting one = setting();
  one.n_threads = 1;
  MachineSetting two = setting();
  two.n_threads = 2;
  Machine machine_one(one);
  Machine machine_two(two);
  std::vector<GenerateRequest> requests = mixed_requests();
  Traces want = run_each_alone(machine_one, requests);
  for (Machine* machine : {&machine_one, &machine_two}) {
    EngineRig rig(*machine, pressed(*machine));
    expect_same(rig.run(requests), want, fmt::format("{} threads", machine->n_threads()));
    EXPECT_GT(rig.stats().n_preemptions, 0u);
  }
}

TEST_P(EngineInvariance, ForksAreTheRequestWithOtherDice) {
  Machine machine(setting());
  std::vector<GenerateRequest> requests = mixed_requests();
  GenerateRequest greedy = requests[3];
  GenerateRequest dice = requests[8];
  ASSERT_EQ(greedy.n, 3u);
  ASSERT_EQ(dice.n, 3u);
  Traces forks = run_each_alone(machine, {greedy, dice});
  EXPECT_EQ(forks.size(), 6u);
  greedy.n = dice.n = 1;
  expect_same({{{greedy.id, 0}, forks.at({greedy.id, 0})}, {{dice.id, 0}, forks.at({dice.id, 0})}},
              run_each_alone(machine, {greedy, dice}), "fork 0");
  EXPECT_EQ(forks.at({greedy.id, 1}), forks.at({greedy.id, 0}));
  EXPECT_EQ(forks.at({greedy.id, 2}), forks.at({greedy.id, 0}));
  EXPECT_NE(forks.at({dice.id, 1}).tokens, forks.at({dice.id, 0}).tokens);
  EXPECT_NE(forks.at({dice.id, 2}).tokens, forks.at({dice.id, 1}).tokens);
  EngineRig rig(machine, {});
  Traces together = rig.run(requests);
  for (const auto& [key, trace] : forks) EXPECT_EQ(together.at(key), trace) << key.first << " fork " << key.second;
}

TEST_P(EngineInvariance, WeightsAreReadOncePerStepAndStepsAreShared) {
  MachineSetting two = setting();
  two.n_threads = 2;
  Machine machine(two);
  std::vector<GenerateRequest> requests = mixed_requests();
  requests.erase(requests.begin() + 5);  // prompt logprobs: more wanted rows than one pass over the output matrix
  EngineRig rig(machine, {.budget = 512, .steps_between = 1});
  rig.run(requests);
  engine::EngineStats stats = rig.stats();
  EXPECT_EQ(rig.group().counters().weight_bytes, static_cast<int64_t>(stats.n_steps) * machine.model().weight_bytes());
  EXPECT_LT(stats.n_steps * 4, stats.generated_tokens);
  EXPECT_EQ(stats.recomputed_tokens, 0u);
  // each of the four further forks computes the last row of the prompt
  EXPECT_EQ(stats.prompt_tokens_computed, stats.prompt_tokens - stats.prefix_hit_tokens + 4);
}

constexpr MachineSetting kSettings[] = {
    {.shape = "llama", .format = Format::kQ4_1, .kv = KvDType::kInt8},
    {.shape = "llama", .format = Format::kBF16, .kv = KvDType::kBF16},
    {.shape = "qwen3", .format = Format::kQ4_K, .kv = KvDType::kBF16},
    {.shape = "gemma3", .format = Format::kQ6_K, .kv = KvDType::kInt8},
};

INSTANTIATE_TEST_SUITE_P(Settings, EngineInvariance, ::testing::ValuesIn(kSettings), [](const auto& info) {
  return fmt::format("{}_{}_{}", info.param.shape, tensor::format_info(info.param.format).name,
                     info.param.kv == KvDType::kInt8 ? "int8" : "bf16");
});

// Quantised weights and int8 KV: every table gives the bits of the first, in company too, and with preemptions.
TEST(EngineInvarianceOverIsa, QuantisedWeightsAndInt8Kv) {
  std::vector<GenerateRequest> requests = mixed_requests(6);
  for (const MachineSetting& base : kSettings) {
    if (base.kv != KvDType::kInt8) continue;
    Traces want;
    for (const KernelTable* table : tables()) {
      MachineSetting setting = base;
      setting.table = table;
      Machine machine(setting);
      if (want.empty()) want = run_each_alone(machine, requests);
      EngineRig rig(machine, pressed(machine));
      expect_same(rig.run(requests), want, fmt::format("{} on {}", base.shape, table->name));
      EXPECT_GT(rig.stats().n_preemptions, 0u);
    }
  }
}

// bf16 KV: each table is invariant in itself.
TEST(EngineInvarianceOverIsa, Bf16KvInItself) {
  std::vector<GenerateRequest> requests = short_requests();
  for (const KernelTable* table : tables()) {
    Machine machine({.format = Format::kQ4_1, .kv = KvDType::kBF16, .table = table});
    EngineRig rig(machine, {.budget = 16});
    expect_same(rig.run(requests), run_each_alone(machine, requests), table->name);
  }
}

}  // namespace
}  // namespace millrace
