// A window that a request asks for, and its sinks (StreamingLLM, arXiv:2309.17453; positions stay the original ones):
// the same as a window of the model, complete, and the same bits in any chunk with the blocks between freed.
// Thread: one test thread plus the pool.
#include <gtest/gtest.h>

#include <cmath>

#include "base/philox.h"
#include "kernels/cpu/detect.h"
#include "kernels/pick.h"
#include "tests/support/engine_machine.h"
#include "tests/support/tiny_model.h"

namespace millrace {
namespace {

using flow::GenerateRequest;
using support::EngineRig;
using support::Machine;
using support::Traces;

const kernels::KernelTable& best_table() { return **kernels::pick_kernels(kernels::detect_cpu(), ""); }

std::vector<TokenId> some_tokens(size_t n) {
  std::vector<TokenId> tokens(n);
  for (size_t i = 0; i < n; ++i) {
    tokens[i] = static_cast<TokenId>(philox4x32(5, {static_cast<uint32_t>(i), 0, 0, 0})[0] % 500);
  }
  return tokens;
}

struct Narrow {
  uint32_t window = 0;
  uint32_t sinks = 0;
};

// Log-probabilities under a tiny llama whose layers have a window of their own, or none.
std::vector<float> scores(uint32_t model_window, Narrow asked, int64_t chunk, const std::vector<TokenId>& tokens) {
  std::vector<uint8_t> bytes =
      testing::tiny_gguf(testing::TinyModel{.format = tensor::Format::kF32, .window = model_window, .scale = 0.3f});
  auto file = weights::ModelFile::from_gguf(weights::GgufFile::parse(bytes).value()).value();
  device::ThreadPool pool(2, false);
  auto model = models::load_model(file, {best_table(), pool}).value();
  EXPECT_EQ(model->kv_layers()[0].window_tokens, model_window);
  runtime::Scorer scorer = runtime::Scorer::create({.model = *model,
                                                    .table = best_table(),
                                                    .pool = pool,
                                                    .max_len = 600,
                                                    .chunk_tokens = chunk,
                                                    .window_tokens = asked.window,
                                                    .sink_tokens = asked.sinks})
                               .value();
  return scorer.log_probs(tokens);
}

double mean_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
  return sum / static_cast<double>(a.size());
}

TEST(Sinks, AWindowAskedForIsAWindowOfTheModel) {
  std::vector<TokenId> tokens = some_tokens(500);
  std::vector<float> own = scores(40, {}, 128, tokens);
  EXPECT_EQ(scores(0, {.window = 40}, 128, tokens), own);
  EXPECT_EQ(scores(0, {.window = 40}, 33, tokens), own);
  EXPECT_NE(scores(0, {}, 128, tokens), own);
}

// Where sinks and window meet, nothing is missing and nothing is counted twice: equal up to the order of f32 sums,
// which now and then moves a KV value of the next layer by one step of bf16. A narrower window is another text: a
// hundred times that.
TEST(Sinks, SinksAndWindowTogetherAreEverything) {
  std::vector<TokenId> tokens = some_tokens(300);
  std::vector<float> all = scores(0, {}, 128, tokens);
  std::vector<float> met = scores(0, {.window = 100, .sinks = 200}, 128, tokens);
  EXPECT_NE(met, all);
  std::vector<float> apart = scores(0, {.window = 100, .sinks = 4}, 128, tokens);
  EXPECT_LT(100 * mean_difference(met, all), mean_difference(apart, all));
  EXPECT_GT(mean_difference(apart, scores(0, {.window = 100}, 128, tokens)), 1e-3);
  for (int64_t chunk : {7, 64}) EXPECT_EQ(scores(0, {.window = 100, .sinks = 4}, chunk, tokens), apart) << chunk;
}

class SinksInEngine : public ::testing::TestWithParam<const char*> {};

TEST_P(SinksInEngine, FreedBlocksChangeNoBitInAnyCompany) {
  Machine machine({.shape = GetParam(), .table = &best_table()});
  std::vector<GenerateRequest> requests;
  for (uint32_t i = 1; i <= 4; ++i) {
    GenerateRequest request;
    request.id = i;
    request.prompt = some_tokens(180 + i);
    request.sampling.temperature = i == 1 ? 0.0f : 2.0f;
    request.sampling.seed = i;
    request.sampling.max_tokens = 30;
    request.sampling.ignore_eos = true;
    request.sampling.n_logprobs = 2;
    if (i != 2) {
      request.window_tokens = 48;
      request.sink_tokens = i == 4 ? 40 : 4;
      request.scope = i == 4 ? 2 : 1;
    }
    if (i == 1) request.sampling.n_prompt_logprobs = 0;
    requests.push_back(std::move(request));
  }
  Traces want;
  uint32_t most = 0;
  for (const GenerateRequest& request : requests) {
    EngineRig alone(machine, {.budget = 16});
    want.merge(alone.run({request}));
    if (request.id != 1) continue;
    most = alone.most_active();
  }
  flow::KvGeometry kv = machine.geometry(1);
  // 1 block of sinks and 63 tokens in at most 3 blocks; other KvGroups have windows of 40
  EXPECT_LE(most, 4 * kv.groups.size());
  for (uint32_t budget : {7u, 256u}) {
    EngineRig rig(machine, {.budget = budget});
    EXPECT_TRUE(rig.run(requests) == want) << "budget " << budget;
    uint64_t hits = rig.stats().prefix_hit_tokens;
    EXPECT_TRUE(rig.run(requests) == want) << "budget " << budget << ", from the cache";
    EXPECT_GT(rig.stats().prefix_hit_tokens, hits);
  }
  // prompt logprobs are those of a KV cache that keeps everything
  runtime::Scorer scorer = machine.scorer(48, 4, 128);
  std::vector<float> reference = scorer.log_probs(requests[0].prompt);
  const std::vector<uint32_t>& bits = want.at({1, 0}).bits;
  for (size_t i = 0; i < reference.size(); ++i) {
    EXPECT_NEAR(std::bit_cast<float>(bits[3 * i + 1]), reference[i], 1e-4) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, SinksInEngine, ::testing::Values("llama", "gemma3"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Sinks, UnfitWindowsAreRefusedByName) {
  auto refused = [](const char* shape, Narrow asked) {
    Machine machine({.shape = shape, .table = &best_table()});
    engine::EngineOptions options;
    options.kv = machine.geometry(64);
    support::FakeClock clock;
    auto group = machine.workers(options, clock);
    support::CollectSink sink;
    engine::Engine engine(options, *group, sink, clock);
    GenerateRequest request;
    request.id = 1;
    request.prompt = some_tokens(3);
    request.window_tokens = asked.window;
    request.sink_tokens = asked.sinks;
    Result<void> taken = engine.submit(std::move(request));
    return taken.ok() ? std::string() : taken.error().param + ": " + std::string(error_slug(taken.error().code));
  };
  EXPECT_EQ(refused("llama", {.window = 32, .sinks = 256}), "");
  EXPECT_EQ(refused("llama", {.window = 31}), "millrace.window_tokens: invalid_value");
  EXPECT_EQ(refused("llama", {.window = 64, .sinks = 257}), "millrace.sink_tokens: invalid_value");
  EXPECT_EQ(refused("mistral", {.window = 64}), "millrace.window_tokens: unsupported_parameter");
}

}  // namespace
}  // namespace millrace
