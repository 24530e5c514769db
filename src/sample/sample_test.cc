// Draws against the distributions they must follow, and the neutral value of every parameter against no parameter.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "base/philox.h"
#include "kernels/cpu/detect.h"
#include "kernels/pick.h"
#include "sample/logprobs.h"
#include "sample/processors.h"
#include "sample/sampler.h"

namespace millrace::sample {
namespace {

using flow::SamplingParams;

constexpr int kVocab = 64;

const kernels::KernelTable& table() { return **kernels::pick_kernels(kernels::detect_cpu(), ""); }

// Logits with some near ties and a long tail.
std::vector<float> test_logits(uint64_t seed = 1) {
  std::vector<float> out(kVocab);
  for (uint32_t i = 0; i < kVocab; ++i) {
    PhiloxBlock bits = philox4x32(seed, {i, 0, 0, 0});
    out[i] = 6.0f * philox_unit_f32(bits[0]) - (i % 7 == 0 ? 4.0f : 0.0f);
  }
  return out;
}

// The first token of an answer to an empty prompt.
auto sample_first(const SamplingParams& params, std::vector<float> logits) {
  SlotSampler slot;
  slot.reset(params, 0, 0, {});
  SampleScratch scratch;
  return sample(table(), slot, logits, scratch);
}

TokenId draw(const SamplingParams& params, uint32_t index, std::vector<float> logits,
             const std::vector<TokenId>& prompt = {1, 2, 3}) {
  SlotSampler slot;
  std::vector<TokenId> tokens = prompt;
  tokens.resize(prompt.size() + index, 5);
  slot.reset(params, 0, static_cast<uint32_t>(prompt.size()), tokens);
  SampleScratch scratch;
  auto result = sample(table(), slot, logits, scratch);
  return result.ok() ? result->token : kNoToken;
}

// The distribution the parameters ask for, straight from their definitions.
std::vector<double> expected(const SamplingParams& p, const std::vector<float>& logits) {
  std::vector<double> prob(logits.size());
  auto normalise = [&](auto weight) {
    double total = 0;
    for (size_t i = 0; i < prob.size(); ++i) total += prob[i] = weight(i);
    for (double& x : prob) x /= total;
  };
  std::vector<bool> kept(logits.size(), true);
  if (p.typical_p < 1.0f) {
    normalise([&](size_t i) { return std::exp(static_cast<double>(logits[i])); });
    double entropy = 0;
    for (double x : prob) entropy -= x * std::log(x);
    std::vector<size_t> order(prob.size());
    std::iota(order.begin(), order.end(), 0u);
    auto distance = [&](size_t i) { return std::abs(-std::log(prob[i]) - entropy); };
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return distance(a) < distance(b); });
    double mass = 0;
    for (size_t i : order) {
      kept[i] = mass < static_cast<double>(p.typical_p);
      mass += prob[i];
    }
  }
  normalise([&](size_t i) {
    return kept[i] ? std::exp(static_cast<double>(logits[i]) / static_cast<double>(p.temperature)) : 0.0;
  });
  std::vector<size_t> order(prob.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return prob[a] > prob[b]; });
  double best = prob[order[0]];
  double total = 0;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    double& x = prob[order[rank]];
    if (x < best * static_cast<double>(p.min_p) || (p.top_k > 0 && rank >= static_cast<size_t>(p.top_k))) x = 0;
    total += x;
  }
  double mass = 0;
  for (size_t i : order) {
    double x = prob[i] / total;
    prob[i] = mass < static_cast<double>(p.top_p) ? x : 0;
    mass += x;
  }
  total = std::accumulate(prob.begin(), prob.end(), 0.0);
  for (double& x : prob) x /= total;
  return prob;
}

void expect_distribution(const SamplingParams& params) {
  constexpr uint32_t kDraws = 4'000;
  std::vector<float> logits = test_logits();
  std::vector<double> want = expected(params, logits);
  std::vector<uint32_t> seen(kVocab);
  for (uint32_t i = 0; i < kDraws; ++i) {
    SamplingParams p = params;
    p.seed = i;
    TokenId token = draw(p, 0, logits);
    ASSERT_GE(token, 0);
    ++seen[static_cast<size_t>(token)];
  }
  double chi2 = 0;
  int cells = 0;
  double rest_want = 0;
  double rest_seen = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    double n = want[i] * kDraws;
    if (want[i] == 0) {
      EXPECT_EQ(seen[i], 0u) << "token " << i << " must never be drawn";
      continue;
    }
    if (n < 5) {  // cells of a chi-squared test need some expected draws: the tail is one cell
      rest_want += n;
      rest_seen += seen[i];
      continue;
    }
    chi2 += (seen[i] - n) * (seen[i] - n) / n;
    ++cells;
  }
  if (rest_want >= 5) {
    chi2 += (rest_seen - rest_want) * (rest_seen - rest_want) / rest_want;
    ++cells;
  }
  // Wilson-Hilferty: the 1 - 1e-6 quantile of chi-squared with cells - 1 degrees of freedom
  double k = std::max(cells - 1, 1);
  double limit = k * std::pow(1 - 2 / (9 * k) + 4.75 * std::sqrt(2 / (9 * k)), 3);
  EXPECT_LT(chi2, limit) << cells << " cells";
}

TEST(SampleTest, PlainTemperatureFollowsSoftmax) { expect_distribution({.temperature = 1.0f}); }
TEST(SampleTest, LowTemperature) { expect_distribution({.temperature = 0.5f}); }
TEST(SampleTest, TopK) { expect_distribution({.top_k = 5}); }
TEST(SampleTest, TopP) { expect_distribution({.top_p = 0.7f}); }
TEST(SampleTest, MinP) { expect_distribution({.min_p = 0.2f}); }
TEST(SampleTest, TypicalP) { expect_distribution({.typical_p = 0.6f}); }
TEST(SampleTest, AllFiltersTogether) {
  expect_distribution({.temperature = 0.8f, .top_k = 20, .top_p = 0.9f, .min_p = 0.05f});
}
TEST(SampleTest, TopPWithMinP) { expect_distribution({.temperature = 1.3f, .top_p = 0.8f, .min_p = 0.1f}); }

TEST(SampleTest, NeutralValuesChangeNothing) {
  SamplingParams neutral;
  for (const Processor& processor : processor_table()) EXPECT_FALSE(processor.active(neutral)) << processor.name;
  EXPECT_TRUE(keeps_everything(neutral));
  SamplingParams spelled{
      .temperature = 1.0f, .top_k = -1, .top_p = 1.0f, .min_p = 0.0f, .typical_p = 1.0f, .repetition_penalty = 1.0f};
  SamplingParams wide{.top_k =
                          kVocab};  // a cut that keeps everything may order candidates differently, never the support
  for (uint32_t i = 0; i < 200; ++i) {
    neutral.seed = spelled.seed = wide.seed = i;
    EXPECT_EQ(draw(neutral, 3, test_logits()), draw(spelled, 3, test_logits()));
    EXPECT_GE(draw(wide, 3, test_logits()), 0);
  }
}

TEST(SampleTest, ADrawDependsOnSeedForkAndIndexOnly) {
  EXPECT_EQ(draw_unit(7, 0, 3, DrawKind::kToken), draw_unit(7, 0, 3, DrawKind::kToken));
  EXPECT_NE(draw_unit(7, 0, 3, DrawKind::kToken), draw_unit(7, 0, 4, DrawKind::kToken));
  EXPECT_NE(draw_unit(7, 0, 3, DrawKind::kToken), draw_unit(7, 1, 3, DrawKind::kToken));
  EXPECT_NE(draw_unit(7, 0, 3, DrawKind::kToken), draw_unit(8, 0, 3, DrawKind::kToken));
}

TEST(SampleTest, GreedyTakesTheLowestIdOfATie) {
  std::vector<float> logits(kVocab, 0.0f);
  logits[9] = logits[4] = 2.0f;
  EXPECT_EQ(draw({.temperature = 0.0f}, 0, logits), 4);
}

TEST(SampleTest, BadLogitsAndEmptyChoicesAreErrors) {
  SamplingParams params{.temperature = 0.0f};
  auto failure = [&](std::vector<float> logits, const SamplingParams& p) {
    SlotSampler slot;
    slot.reset(p, 0, 0, {});
    SampleScratch scratch;
    auto result = sample(table(), slot, logits, scratch);
    return result.ok() ? ErrorCode::kUsage : result.error().code;
  };
  std::vector<float> nan = test_logits();
  nan[40] = std::nanf("");
  EXPECT_EQ(failure(nan, params), ErrorCode::kInternal);
  std::vector<float> infinite = test_logits();
  infinite[3] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(failure(infinite, params), ErrorCode::kInternal);
  SamplingParams nothing{.temperature = 0.0f, .min_tokens = 3, .stop_token_ids = {7}};
  nothing.allowed_token_ids = {7};
  EXPECT_EQ(failure(test_logits(), nothing), ErrorCode::kNoTokenAllowed);
}

TEST(SampleTest, MasksAndBias) {
  std::vector<float> logits = test_logits();
  auto best = static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  SamplingParams held{.temperature = 0.0f, .min_tokens = 2, .eos_token_ids = {best}};
  EXPECT_NE(draw(held, 0, logits), best);
  EXPECT_NE(draw(held, 1, logits), best);
  EXPECT_EQ(draw(held, 2, logits), best);
  SamplingParams biased{.temperature = 0.0f};
  biased.logit_bias = {{11, 100.0f}};
  EXPECT_EQ(draw(biased, 0, logits), 11);
  SamplingParams allowed{.temperature = 1.0f, .allowed_token_ids = {3, 8}};
  for (uint32_t i = 0; i < 50; ++i) {
    allowed.seed = i;
    TokenId token = draw(allowed, 0, logits);
    EXPECT_TRUE(token == 3 || token == 8);
  }
}

TEST(SampleTest, PenaltiesFollowTheirDefinitions) {
  SamplingParams params{.repetition_penalty = 1.5f, .presence_penalty = 0.25f, .frequency_penalty = 0.5f};
  SlotSampler slot;
  std::vector<TokenId> tokens = {1, 2, 2, /* output */ 2, 7, 7};
  slot.reset(params, 0, 3, tokens);
  std::vector<float> logits(kVocab, 2.0f);
  logits[7] = -2.0f;
  std::vector<float> scratch(kVocab);
  for (const Processor& processor : processor_table()) {
    if (processor.active(params))
      processor.apply({table(), params, slot.seen(), slot.n_output(), slot.history(), logits, scratch});
  }
  EXPECT_FLOAT_EQ(logits[0], 2.0f);
  EXPECT_FLOAT_EQ(logits[1], 2.0f / 1.5f);                      // prompt only: repetition alone
  EXPECT_FLOAT_EQ(logits[2], 2.0f / 1.5f - 0.5f * 1 - 0.25f);   // once in the output
  EXPECT_FLOAT_EQ(logits[7], -2.0f * 1.5f - 0.5f * 2 - 0.25f);  // twice in the output
}

// llama.cpp's penalties (llama_sampler_penalties_apply): the last n tokens, of prompt and output alike.
TEST(SampleTest, PenaltyWindowForgetsWhatLeavesIt) {
  SamplingParams params{.repetition_penalty = 1.5f, .presence_penalty = 0.25f, .frequency_penalty = 0.5f};
  params.penalty_window = 3;
  SlotSampler slot;
  std::vector<TokenId> tokens = {1, 2, 2, /* output */ 7};
  slot.reset(params, 0, 3, tokens);
  slot.append(9);  // the window: 2 7 9
  std::vector<float> logits(kVocab, 2.0f);
  std::vector<float> scratch(kVocab);
  for (const Processor& processor : processor_table()) {
    if (processor.active(params))
      processor.apply({table(), params, slot.seen(), slot.n_output(), slot.history(), logits, scratch});
  }
  EXPECT_FLOAT_EQ(logits[1], 2.0f);  // gone
  for (size_t token : {2u, 7u, 9u}) EXPECT_FLOAT_EQ(logits[token], 2.0f / 1.5f - 0.5f - 0.25f) << token;
}

TEST(SampleTest, SeenTokensGrowAndCount) {
  SeenTokens seen;
  for (int round = 0; round < 3; ++round) {
    for (TokenId t = 0; t < 5000; t += 3) seen.add_output(t);
  }
  ASSERT_EQ(seen.entries().size(), 1667u);
  for (const auto& entry : seen.entries()) EXPECT_EQ(entry.n_output, 3u);
}

// A mask gives what the same tokens as a list give, which goes through the processors: in words that allow nothing, one
// token, some or all.
TEST(SampleTest, AMaskIsAListOfAllowedTokens) {
  for (int n_vocab : {1, 31, 32, 33, 64, 77, 130, 5000}) {
    std::vector<float> logits(static_cast<size_t>(n_vocab));
    for (uint32_t i = 0; i < logits.size(); ++i) logits[i] = 6.0f * philox_unit_f32(philox4x32(3, {i, 0, 0, 0})[0]);
    for (uint32_t trial = 0; trial < 60; ++trial) {
      std::vector<uint32_t> mask((logits.size() + 31) / 32);
      SamplingParams listed{.temperature = trial % 2 == 0 ? 0.0f : 1.3f, .seed = trial};
      SamplingParams masked = listed;
      uint32_t one_in = trial % 3 == 0 ? 1000 : 1 + trial % 5;  // 1000: one token in all
      for (uint32_t i = 0; i < logits.size(); ++i) {
        bool allowed = philox4x32(trial, {i, 1, 0, 0})[0] % one_in == 0 || i == trial % logits.size();
        if (!allowed) continue;
        mask[i / 32] |= 1u << (i % 32);
        listed.allowed_token_ids.push_back(static_cast<TokenId>(i));
      }
      SampleScratch scratch;
      std::vector<float> one = logits;
      std::vector<float> two = logits;
      SlotSampler slot;
      slot.reset(masked, 0, 0, {});
      auto by_mask = sample(table(), slot, one, scratch, mask);
      slot.reset(listed, 0, 0, {});
      auto by_list = sample(table(), slot, two, scratch);
      ASSERT_TRUE(by_mask.ok() && by_list.ok()) << n_vocab << " tokens, trial " << trial;
      EXPECT_EQ(by_mask->token, by_list->token) << n_vocab << " tokens, trial " << trial;
    }
  }
}

TEST(SampleTest, AMaskOfOneTokenStillNeedsALogit) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  std::vector<uint32_t> mask = {0, 1u << 8};  // token 40
  SamplingParams params;
  SlotSampler slot;
  slot.reset(params, 0, 0, {});
  SampleScratch scratch;
  std::vector<float> logits = test_logits();
  EXPECT_EQ(sample(table(), slot, logits, scratch, mask)->token, 40);
  logits = test_logits();
  logits[40] = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(sample(table(), slot, logits, scratch, mask).error().code, ErrorCode::kNoTokenAllowed);
  logits.assign(kVocab, kNan);
  EXPECT_EQ(sample(table(), slot, logits, scratch, mask).error().code, ErrorCode::kInternal);
  params.logit_bias = {{40, -std::numeric_limits<float>::infinity()}};
  logits = test_logits();
  EXPECT_EQ(sample(table(), slot, logits, scratch, mask).error().code, ErrorCode::kNoTokenAllowed);
}

TEST(SampleTest, LogprobsOfTheRawDistribution) {
  std::vector<float> logits = test_logits();
  double total = 0;
  for (float x : logits) total += std::exp(static_cast<double>(x));
  flow::PositionLogprobs got = position_logprobs(table(), logits, 13, 4);
  EXPECT_EQ(got.chosen.token, 13);
  EXPECT_NEAR(got.chosen.logprob, static_cast<double>(logits[13]) - std::log(total), 1e-5);
  ASSERT_EQ(got.top.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(got.top[i].rank, static_cast<int>(i) + 1);
    EXPECT_GE(got.top[i == 0 ? 0 : i - 1].logprob, got.top[i].logprob);
  }
  EXPECT_EQ(got.top[0].token, static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
  auto above = std::count_if(logits.begin(), logits.end(), [&](float x) { return x > logits[13]; });
  EXPECT_EQ(got.chosen.rank, static_cast<int>(above) + 1);
  // a request with logprobs sees the distribution before temperature and filters
  SamplingParams params{.temperature = 0.3f, .top_k = 2, .n_logprobs = 0};
  auto sampled = sample_first(params, logits);
  ASSERT_TRUE(sampled.ok());
  auto token = static_cast<size_t>(sampled->token);
  EXPECT_NEAR(sampled->logprobs->chosen.logprob, static_cast<double>(logits[token]) - std::log(total), 1e-5);
}

// Ids of the request's own choice: in their order, with the ranks that counting gives, ties and repetitions included.
TEST(SampleTest, LogprobsOfListedTokens) {
  std::vector<float> logits = test_logits();
  logits[20] = logits[21];
  double total = 0;
  for (float x : logits) total += std::exp(static_cast<double>(x));
  const std::vector<TokenId> listed = {21, 5, 20, 63, 5, 0};
  flow::PositionLogprobs got = position_logprobs(table(), logits, 13, 4, listed);
  EXPECT_EQ(got.chosen.token, 13);
  ASSERT_EQ(got.top.size(), listed.size());
  for (size_t i = 0; i < listed.size(); ++i) {
    float logit = logits[static_cast<size_t>(listed[i])];
    auto above = std::count_if(logits.begin(), logits.end(), [&](float x) { return x > logit; });
    EXPECT_EQ(got.top[i].token, listed[i]);
    EXPECT_EQ(got.top[i].rank, static_cast<int>(above) + 1) << listed[i];
    EXPECT_NEAR(got.top[i].logprob, static_cast<double>(logit) - std::log(total), 1e-5);
  }
}

// With post_sampling_probs log probabilities are those of the draw: on the path without cuts, the quick one, the
// chain's and that of greedy requests.
TEST(SampleTest, LogprobsOfWhatIsDrawnFrom) {
  SamplingParams chain{.temperature = 0.7f, .top_k = 9, .top_n_sigma = 1.0f};
  for (SamplingParams params : {SamplingParams{.temperature = 0.5f}, SamplingParams{.temperature = 0.8f, .top_k = 7},
                                SamplingParams{.temperature = 1.3f, .top_p = 0.6f, .min_p = 0.02f},
                                SamplingParams{.temperature = 0.0f}, SamplingParams{.typical_p = 0.5f}, chain}) {
    const std::vector<float> logits = test_logits();
    params.post_sampling_probs = true;
    params.n_logprobs = kVocab;
    auto sampled = sample_first(params, logits);
    ASSERT_TRUE(sampled.ok());
    std::vector<double> want(kVocab);
    if (params.temperature == 0.0f) {
      want[static_cast<size_t>(sampled->token)] = 1;
    } else if (params.top_n_sigma > 0) {  // by what is drawn, below
      want.clear();
    } else {
      want = expected(params, logits);
    }
    double sum = 0;
    for (const flow::TokenLogprob& one : sampled->logprobs->top) {
      double p = std::exp(static_cast<double>(one.logprob));
      sum += p;
      if (want.empty()) continue;
      EXPECT_NEAR(p, want[static_cast<size_t>(one.token)], 1e-5) << one.token;
    }
    EXPECT_NEAR(sum, 1.0, 1e-5);
    EXPECT_EQ(sampled->logprobs->top.size() < kVocab, params.temperature != 0.5f);  // none without a chance
    EXPECT_LE(sampled->logprobs->chosen.rank, static_cast<int32_t>(sampled->logprobs->top.size()));
    // and the same token as without them
    params.n_logprobs = -1;
    EXPECT_EQ(sample_first(params, logits)->token, sampled->token);
  }
  // of the chain: as often drawn as told
  std::map<TokenId, int> drawn;
  std::map<TokenId, double> told;
  constexpr int kDraws = 2000;
  chain.post_sampling_probs = true;
  chain.n_logprobs = kVocab;
  for (int i = 0; i < kDraws; ++i) {
    chain.seed = static_cast<uint64_t>(i);
    auto sampled = sample_first(chain, test_logits());
    ASSERT_TRUE(sampled.ok());
    ++drawn[sampled->token];
    for (const flow::TokenLogprob& one : sampled->logprobs->top) told[one.token] = std::exp(one.logprob);
  }
  for (const auto& [token, p] : told) EXPECT_NEAR(drawn[token], p * kDraws, 5 * std::sqrt(p * kDraws) + 1) << token;
}

}  // namespace
}  // namespace millrace::sample
