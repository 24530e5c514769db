// Batch invariance: the same request gives bit-identical logits and tokens alone, in ragged batches of 2..64, with any
// chunking, after a prefix hit, with one or two threads, and (quantised weights, int8 KV) on every kernel table.
// Also what a step costs: weights read once, barriers per layer counted.
// Thread: one test thread plus the pool.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/philox.h"
#include "kernels/cpu/detect.h"
#include "kernels/pick.h"
#include "models/model.h"
#include "runtime/worker_group.h"
#include "tests/support/tiny_checkpoint.h"
#include "weights/model_file.h"

namespace millrace {
namespace {

using flow::BlockId;
using kernels::KernelTable;
using kernels::KvDType;
using tensor::Format;

constexpr uint32_t kMaxLen = 512;
constexpr uint32_t kBlockTokens = 32;
constexpr int32_t kTopLogprobs = 20;

struct Setting {
  const char* shape = "llama";
  Format format = Format::kQ4_1;
  KvDType kv = KvDType::kInt8;
  const KernelTable* table = nullptr;
  int n_threads = 2;
};

std::vector<const KernelTable*> tables() {
  std::vector<const KernelTable*> out;
  kernels::CpuFeatures cpu = kernels::detect_cpu();
  for (const kernels::IsaRow& row : kernels::isa_rows()) {
    if (row.missing(cpu).empty()) out.push_back(&row.table(cpu));
  }
  return out;
}

// A model, its workers and the least bookkeeping that a scheduler would do.
class Machine {
 public:
  explicit Machine(const Setting& setting) : pool_(setting.n_threads, false) {
    const KernelTable& table = setting.table == nullptr ? *tables().front() : *setting.table;
    bytes_ = testing::tiny_gguf(testing::load_tiny_shape(setting.shape), {.format = setting.format});
    auto gguf = weights::GgufFile::parse(bytes_);
    CHECK(gguf.ok(), "{}", gguf.error().message);
    file_ = std::make_unique<weights::ModelFile>(weights::ModelFile::from_gguf(std::move(gguf).value()).value());
    model_ = models::load_model(*file_, {table, pool_}).value();
    flow::KvGeometry geometry = runtime::build_kv_geometry(model_->kv_layers(), setting.kv).value();
    geometry.n_blocks = 2048;
    geometry.max_len = kMaxLen;
    runtime::RunnerSetup setup{.model = *model_, .table = table, .pool = pool_, .geometry = geometry};
    setup.kv_dtype = setting.kv;
    group_ = runtime::WorkerGroup::create(setup, 64, clock_).value();
    params_.temperature = 0.0f;
    params_.max_tokens = 64;
    params_.n_logprobs = kTopLogprobs;
  }

  const models::Model& model() const { return *model_; }
  runtime::WorkerGroup& group() { return *group_; }
  const flow::SamplingParams& params() const { return params_; }
  size_t n_groups() const { return group_->geometry().groups.size(); }

  flow::StepOutput step(flow::StepPlan& plan) {
    plan.step = ++step_;
    group_->submit(plan);
    EXPECT_TRUE(group_->done(step_));
    return group_->take_output(step_);
  }

  // Adds blocks to a slot's tables until they hold n_tokens.
  void grow(flow::StepPlan& plan, flow::SlotId slot, uint32_t n_tokens) {
    uint32_t& held = held_blocks_[slot];
    for (; held * kBlockTokens < n_tokens; ++held) {
      for (uint32_t g = 0; g < n_groups(); ++g) {
        plan.blocks.push_back({slot, g, held, next_block_});
        table_[slot].push_back(next_block_++);
      }
    }
  }
  // The first n blocks of another slot become the first blocks of this one: a prefix hit.
  void share(flow::StepPlan& plan, flow::SlotId from, flow::SlotId to, uint32_t n_blocks) {
    for (uint32_t i = 0; i < n_blocks * n_groups(); ++i) {
      auto g = static_cast<uint32_t>(i % n_groups());
      plan.blocks.push_back({to, g, static_cast<uint32_t>(i / n_groups()), table_[from][i]});
      table_[to].push_back(table_[from][i]);
    }
    held_blocks_[to] = n_blocks;
  }
  void free(flow::SlotId slot) {
    held_blocks_.erase(slot);
    table_.erase(slot);
  }
  void reuse_blocks() { next_block_ = 0; }

 private:
  SystemClock clock_;
  device::ThreadPool pool_;
  std::vector<uint8_t> bytes_;
  std::unique_ptr<weights::ModelFile> file_;
  std::unique_ptr<models::Model> model_;
  std::unique_ptr<runtime::WorkerGroup> group_;
  flow::SamplingParams params_;
  uint64_t step_ = 0;
  BlockId next_block_ = 0;
  std::map<flow::SlotId, uint32_t> held_blocks_;
  std::map<flow::SlotId, std::vector<BlockId>> table_;
};

std::vector<TokenId> prompt_of(uint32_t seed, size_t n) {
  std::vector<TokenId> tokens(n);
  for (size_t i = 0; i < n; ++i) {
    tokens[i] = static_cast<TokenId>(philox4x32(seed, {static_cast<uint32_t>(i), 0, 0, 0})[0] % 500);
  }
  return tokens;
}

// What is compared: every token with the exact logprobs of its step.
struct Trace {
  std::vector<TokenId> tokens;
  std::vector<float> logprobs;
  bool operator==(const Trace&) const = default;

  void add(const flow::ShareResult& result) {
    ASSERT_FALSE(result.failed) << result.error.message;
    tokens.push_back(result.token);
    logprobs.push_back(result.logprobs->chosen.logprob);
    for (const flow::TokenLogprob& top : result.logprobs->top) logprobs.push_back(top.logprob);
  }
};

constexpr uint32_t kOutputs = 6;

// Prefill in chunks of at most `chunk` from token `ctx` on, then decode, all alone in the batch.
Trace run_alone(Machine& machine, const std::vector<TokenId>& prompt, uint32_t chunk, flow::SlotId slot = 0) {
  Trace trace;
  auto len = static_cast<uint32_t>(prompt.size());
  flow::StepPlan plan;
  plan.new_slots.push_back({.slot = slot, .input_len = len, .sampling = &machine.params(), .tokens = prompt});
  for (uint32_t ctx = 0; ctx < len + kOutputs - 1;) {
    uint32_t q_len = ctx < len ? std::min(chunk, len - ctx) : 1;
    machine.grow(plan, slot, ctx + q_len);
    plan.shares = {{.slot = slot, .ctx = ctx, .q_len = q_len, .sample = ctx + q_len >= len}};
    if (ctx + q_len == len + kOutputs - 1) plan.freed_slots.push_back(slot);
    flow::StepOutput out = machine.step(plan);
    if (plan.shares[0].sample) trace.add(out.shares[0]);
    ctx += q_len;
    plan = {};
  }
  machine.free(slot);
  machine.reuse_blocks();
  return trace;
}

// Sequences that arrive one per step, with random chunk sizes, all in the same batches.
std::vector<Trace> run_together(Machine& machine, const std::vector<std::vector<TokenId>>& prompts, uint32_t seed) {
  std::vector<Trace> traces(prompts.size());
  std::vector<uint32_t> ctx(prompts.size(), 0);
  uint32_t draw = 0;
  auto random = [&](uint32_t n) { return philox4x32(seed, {draw++, 1, 0, 0})[0] % n; };
  for (size_t step = 0, left = prompts.size(); left > 0; ++step) {
    flow::StepPlan plan;
    std::vector<size_t> members;
    uint32_t room = 512;
    for (size_t i = 0; i < prompts.size() && i <= step * 3 + 1; ++i) {
      auto len = static_cast<uint32_t>(prompts[i].size());
      auto slot = static_cast<flow::SlotId>(i);
      if (ctx[i] == len + kOutputs - 1 || room == 0) continue;
      if (ctx[i] == 0)
        plan.new_slots.push_back({.slot = slot, .input_len = len, .sampling = &machine.params(), .tokens = prompts[i]});
      uint32_t q_len = ctx[i] < len ? std::min({1 + random(70), len - ctx[i], room}) : 1;
      machine.grow(plan, slot, ctx[i] + q_len);
      plan.shares.push_back({.slot = slot, .ctx = ctx[i], .q_len = q_len, .sample = ctx[i] + q_len >= len});
      members.push_back(i);
      ctx[i] += q_len;
      room -= q_len;
      if (ctx[i] == len + kOutputs - 1) {
        plan.freed_slots.push_back(slot);
        --left;
      }
    }
    flow::StepOutput out = machine.step(plan);
    for (size_t m = 0; m < members.size(); ++m) {
      if (plan.shares[m].sample) traces[members[m]].add(out.shares[m]);
    }
  }
  for (size_t i = 0; i < prompts.size(); ++i) machine.free(static_cast<flow::SlotId>(i));
  machine.reuse_blocks();
  return traces;
}

class BatchInvariance : public ::testing::TestWithParam<Setting> {};

TEST_P(BatchInvariance, ChunksOfAnySize) {
  Machine machine(GetParam());
  std::vector<TokenId> prompt = prompt_of(7, 290);
  Trace whole = run_alone(machine, prompt, 512);
  EXPECT_EQ(whole.tokens.size(), kOutputs);
  for (uint32_t chunk : {1u, 7u, 16u, 64u}) EXPECT_EQ(run_alone(machine, prompt, chunk), whole) << chunk;
}

TEST_P(BatchInvariance, RaggedBatches) {
  Machine machine(GetParam());
  for (uint32_t n_seqs : {2u, 5u, 33u, 64u}) {
    std::vector<std::vector<TokenId>> prompts;
    for (uint32_t i = 0; i < n_seqs; ++i) prompts.push_back(prompt_of(100 + i, 1 + (i * 37 + 19) % 120));
    prompts[1] = prompt_of(101, 280);
    std::vector<Trace> together = run_together(machine, prompts, n_seqs);
    for (size_t i = 0; i < prompts.size(); i += n_seqs / 2) {
      EXPECT_EQ(run_alone(machine, prompts[i], 512), together[i]) << "sequence " << i << " of " << n_seqs;
    }
  }
}

TEST_P(BatchInvariance, PrefixHit) {
  Machine machine(GetParam());
  std::vector<TokenId> prompt = prompt_of(9, 200);
  Trace alone = run_alone(machine, prompt, 512);
  flow::StepPlan first;
  first.new_slots.push_back({.slot = 0, .input_len = 200, .sampling = &machine.params(), .tokens = prompt});
  machine.grow(first, 0, 160);
  first.shares = {{.slot = 0, .ctx = 0, .q_len = 160}};
  machine.step(first);
  // slot 1 starts behind five shared blocks, in the same step in which slot 0 goes on
  flow::StepPlan second;
  second.new_slots.push_back({.slot = 1, .input_len = 200, .sampling = &machine.params(), .tokens = prompt});
  machine.share(second, 0, 1, 5);
  machine.grow(second, 0, 200);
  machine.grow(second, 1, 200);
  second.shares = {{.slot = 0, .ctx = 160, .q_len = 40, .sample = true},
                   {.slot = 1, .ctx = 160, .q_len = 40, .sample = true}};
  flow::StepOutput out = machine.step(second);
  Trace cold;
  Trace hit;
  cold.add(out.shares[0]);
  hit.add(out.shares[1]);
  EXPECT_EQ(cold, hit);
  EXPECT_EQ(hit.tokens[0], alone.tokens[0]);
  EXPECT_TRUE(std::equal(hit.logprobs.begin(), hit.logprobs.end(), alone.logprobs.begin()));
}

// Decodes of many sequences behind the same blocks, whose common spans are computed in one go, but for one sequence
// with blocks of its own among them.
TEST_P(BatchInvariance, ManyBehindOnePrefix) {
  constexpr uint32_t kShared = 256;
  constexpr uint32_t kSeqs = 40;
  Machine machine(GetParam());
  std::vector<TokenId> prefix = prompt_of(21, kShared);
  std::vector<std::vector<TokenId>> prompts;
  std::vector<Trace> traces(kSeqs);
  flow::StepPlan plan;
  plan.new_slots.push_back({.slot = 63, .input_len = kShared, .sampling = &machine.params(), .tokens = prefix});
  machine.grow(plan, 63, kShared);
  plan.shares = {{.slot = 63, .ctx = 0, .q_len = kShared}};
  machine.step(plan);
  for (uint32_t i = 0; i < kSeqs; ++i) {
    std::vector<TokenId>& prompt = prompts.emplace_back(prefix);
    std::vector<TokenId> tail = prompt_of(200 + i, 1 + i * 5);
    prompt.insert(prompt.end(), tail.begin(), tail.end());
    auto len = static_cast<uint32_t>(prompt.size());
    plan = {};
    plan.new_slots.push_back({.slot = i, .input_len = len, .sampling = &machine.params(), .tokens = prompt});
    bool hit = i != 11;
    if (hit) machine.share(plan, 63, i, kShared / kBlockTokens);
    machine.grow(plan, i, len);
    uint32_t ctx = hit ? kShared : 0;
    plan.shares = {{.slot = i, .ctx = ctx, .q_len = len - ctx, .sample = true}};
    traces[i].add(machine.step(plan).shares[0]);
  }
  for (uint32_t n = 0; n + 1 < kOutputs; ++n) {
    plan = {};
    for (uint32_t i = 0; i < kSeqs; ++i) {
      uint32_t ctx = static_cast<uint32_t>(prompts[i].size()) + n;
      machine.grow(plan, i, ctx + 1);
      plan.shares.push_back({.slot = i, .ctx = ctx, .q_len = 1, .sample = true});
      if (n + 2 == kOutputs) plan.freed_slots.push_back(i);
    }
    flow::StepOutput out = machine.step(plan);
    for (uint32_t i = 0; i < kSeqs; ++i) traces[i].add(out.shares[i]);
  }
  for (uint32_t i = 0; i < kSeqs; ++i) machine.free(i);
  machine.reuse_blocks();
  for (uint32_t i : {0u, 1u, 9u, 10u, 11u, 12u, 25u, 39u}) {
    EXPECT_EQ(run_alone(machine, prompts[i], 512), traces[i]) << "sequence " << i;
  }
}

TEST_P(BatchInvariance, OneOrTwoThreads) {
  Setting one = GetParam();
  one.n_threads = 1;
  Machine machine_one(one);
  Machine machine_two(GetParam());
  Setting three = GetParam();
  three.n_threads = 3;
  Machine machine_three(three);
  std::vector<TokenId> prompt = prompt_of(11, 270);
  Trace trace = run_alone(machine_one, prompt, 90);
  EXPECT_EQ(run_alone(machine_two, prompt, 90), trace);
  EXPECT_EQ(run_alone(machine_three, prompt, 90), trace);
}

TEST(BatchInvarianceOverIsa, QuantisedWeightsAndInt8Kv) {
  std::vector<TokenId> prompt = prompt_of(13, 270);
  for (Setting setting : {Setting{.format = Format::kQ4_1}, Setting{.shape = "gemma3", .format = Format::kQ6_K}}) {
    std::vector<Trace> traces;
    for (const KernelTable* table : tables()) {
      setting.table = table;
      Machine machine(setting);
      traces.push_back(run_alone(machine, prompt, 64));
      EXPECT_EQ(traces.back(), traces.front()) << table->name;
    }
  }
}

TEST(StepCost, WeightsAreReadOnceAndBarriersAreFew) {
  for (const char* shape : {"llama", "gemma3", "qwen3"}) {
    Machine machine({.shape = shape});
    auto cost = [&](uint32_t q_len) {
      flow::StepPlan plan;
      plan.new_slots.push_back(
          {.slot = 0, .input_len = q_len, .sampling = &machine.params(), .tokens = prompt_of(3, q_len)});
      machine.grow(plan, 0, q_len);
      plan.shares = {{.slot = 0, .ctx = 0, .q_len = q_len, .sample = true}};
      plan.freed_slots = {0};
      runtime::RunnerCounters before = machine.group().counters();
      machine.step(plan);
      runtime::RunnerCounters after = machine.group().counters();
      EXPECT_EQ(after.weight_bytes - before.weight_bytes, machine.model().weight_bytes()) << shape << " " << q_len;
      EXPECT_EQ(after.rows - before.rows, q_len);
      machine.free(0);
      machine.reuse_blocks();
      return after.barriers - before.barriers;
    };
    int64_t n_layers = machine.model().desc().n_layers;
    // embedding, wanted rows, logits, sampling: one each
    EXPECT_EQ(cost(1), 5 * n_layers + 4) << shape;
    EXPECT_EQ(cost(8), 5 * n_layers + 4) << shape;
    EXPECT_EQ(cost(64), 7 * n_layers + 4) << shape;
  }
}

TEST(WorkerGroup, PromptLogprobsCrossChunkBorders) {
  Machine machine(Setting{});
  flow::SamplingParams params = machine.params();
  params.n_prompt_logprobs = 2;
  std::vector<TokenId> prompt = prompt_of(5, 50);
  auto collect = [&](uint32_t chunk) {
    std::vector<float> out;
    flow::StepPlan plan;
    plan.new_slots.push_back({.slot = 0, .input_len = 50, .sampling = &params, .tokens = prompt});
    for (uint32_t ctx = 0; ctx < 50; ctx += chunk, plan = {}) {
      uint32_t q_len = std::min(chunk, 50 - ctx);
      machine.grow(plan, 0, ctx + q_len);
      plan.shares = {{.slot = 0, .ctx = ctx, .q_len = q_len, .sample = ctx + q_len == 50, .prompt_logprobs = true}};
      flow::StepOutput result = machine.step(plan);
      for (const flow::PositionLogprobs& entry : result.shares[0].prompt_logprobs) {
        EXPECT_EQ(entry.chosen.token, prompt[out.size() + 1]);
        EXPECT_EQ(entry.top.size(), 2u);
        out.push_back(entry.chosen.logprob);
      }
    }
    machine.free(0);
    machine.reuse_blocks();
    return out;
  };
  std::vector<float> whole = collect(50);
  EXPECT_EQ(whole.size(), 49u);
  EXPECT_EQ(collect(17), whole);
  EXPECT_EQ(collect(1), whole);
}

TEST(WorkerGroup, WarmUpChangesNothing) {
  Machine cold(Setting{});
  Machine warm(Setting{});
  warm.group().warm_up();
  EXPECT_EQ(run_alone(warm, prompt_of(21, 40), 16), run_alone(cold, prompt_of(21, 40), 16));
}

constexpr Setting kSettings[] = {
    {.shape = "llama", .format = Format::kQ4_1, .kv = KvDType::kInt8},
    {.shape = "llama", .format = Format::kBF16, .kv = KvDType::kBF16},
    {.shape = "llama", .format = Format::kQ6_K, .kv = KvDType::kBF16},
    {.shape = "llama_odd", .format = Format::kQ8_0, .kv = KvDType::kBF16},
    {.shape = "qwen3", .format = Format::kQ4_K, .kv = KvDType::kInt8},
    {.shape = "gemma3", .format = Format::kQ5_0, .kv = KvDType::kBF16},
    {.shape = "gemma3", .format = Format::kQ4_0, .kv = KvDType::kInt8},
};

INSTANTIATE_TEST_SUITE_P(Settings, BatchInvariance, ::testing::ValuesIn(kSettings), [](const auto& info) {
  return fmt::format("{}_{}_{}", info.param.shape, tensor::format_info(info.param.format).name,
                     info.param.kv == KvDType::kInt8 ? "int8" : "bf16");
});

}  // namespace
}  // namespace millrace
