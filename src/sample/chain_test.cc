// The chain of samplers against numpy's figures (tools/golden/samplers.py), and what must stay true of any sampler:
// neutral values, seeds, resuming.
#include "sample/chain.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "kernels/cpu/detect.h"
#include "kernels/pick.h"
#include "sample/dry.h"
#include "sample/mirostat.h"
#include "sample/sampler.h"

namespace millrace::sample {
namespace {

using flow::SamplerStep;
using flow::SamplingParams;

const kernels::KernelTable& table() { return **kernels::pick_kernels(kernels::detect_cpu(), ""); }

const Json& golden() {
  static const Json kGolden = [] {
    constexpr uint64_t kMostBytes = 1 << 20;
    auto text = read_file("tests/golden/data/samplers.json", kMostBytes);
    return parse_json(text.ok() ? *text : "").value();
  }();
  return kGolden;
}

std::vector<float> logits_of(const Json& a_case, int64_t step = 0) {
  std::string key = std::to_string(a_case.find("seed")->as_int() + step) + "/";
  double scale = a_case.find("scale")->as_double();
  key += scale == 1.1 ? "1.1" : scale == 1.3 ? "1.3" : "2.0";
  std::vector<float> out;
  for (const Json& x : golden().find("logits")->find(key)->as_array()) out.push_back(static_cast<float>(x.as_double()));
  return out;
}

SamplerStep step_of(const std::string& name) {
  const std::map<std::string, SamplerStep> steps = {{"top_k", SamplerStep::kTopK},
                                                    {"top_p", SamplerStep::kTopP},
                                                    {"min_p", SamplerStep::kMinP},
                                                    {"temperature", SamplerStep::kTemperature}};
  return steps.at(name);
}

constexpr SamplerStep kLlamaOrder[] = {SamplerStep::kTopNSigma,  SamplerStep::kTopK, SamplerStep::kTypicalP,
                                       SamplerStep::kTopP,       SamplerStep::kMinP, SamplerStep::kXtc,
                                       SamplerStep::kTemperature};

SamplingParams params_of(const Json& from) {
  SamplingParams p;
  auto number = [&](const char* name, float& out) {
    if (const Json* value = from.find(name)) out = static_cast<float>(value->as_double());
  };
  number("temperature", p.temperature);
  number("top_p", p.top_p);
  number("min_p", p.min_p);
  number("typical_p", p.typical_p);
  number("top_n_sigma", p.top_n_sigma);
  number("xtc_probability", p.xtc_probability);
  number("xtc_threshold", p.xtc_threshold);
  number("dynatemp_range", p.dynatemp_range);
  number("dynatemp_exponent", p.dynatemp_exponent);
  if (const Json* k = from.find("top_k")) p.top_k = static_cast<int32_t>(k->as_int());
  p.steps.assign(std::begin(kLlamaOrder), std::end(kLlamaOrder));
  if (const Json* names = from.find("samplers")) {
    p.steps.clear();
    for (const Json& name : names->as_array()) p.steps.push_back(step_of(name.as_string()));
  }
  return p;
}

float largest(const std::vector<float>& logits) { return *std::max_element(logits.begin(), logits.end()); }

TEST(Chain, CutsAreThoseOfTheDefinitions) {
  size_t n = 0;
  for (const Json& one : golden().find("cuts")->as_array()) {
    SCOPED_TRACE(one.find("params")->dump());
    SamplingParams params = params_of(*one.find("params"));
    std::vector<float> logits = logits_of(one);
    RankedTokens tokens;
    ChainInput input{.kernels = table(), .params = params, .logits = logits, .max = largest(logits)};
    run_steps(input, tokens);
    std::map<TokenId, double> got;
    double total = tokens.mass();
    for (const RankedToken& token : tokens.all()) got[token.token] = tokens.weight(token) / total;
    const auto& want = one.find("want")->as_array();
    ASSERT_EQ(got.size(), want.size());
    for (const Json& row : want) {
      double p = row.as_array()[1].as_double();
      EXPECT_NEAR(got[static_cast<TokenId>(row.as_array()[0].as_int())], p, 1e-5 * p + 1e-9);
    }
    ++n;
  }
  EXPECT_EQ(n, 26u);
}

TEST(Chain, MirostatFollowsItsTarget) {
  for (const Json& one : golden().find("mirostat")->as_array()) {
    SamplingParams params;
    params.mirostat = static_cast<int32_t>(one.find("version")->as_int());
    params.mirostat_tau = static_cast<float>(one.find("tau")->as_double());
    params.mirostat_eta = static_cast<float>(one.find("eta")->as_double());
    params.temperature = static_cast<float>(one.find("temperature")->as_double());
    float mu = first_mu(params);
    int64_t step = 0;
    for (const Json& want : one.find("steps")->as_array()) {
      std::vector<float> logits = logits_of(one, step++);
      RankedTokens tokens;
      run_steps({.kernels = table(), .params = params, .logits = logits, .max = largest(logits), .mu = &mu}, tokens);
      ASSERT_EQ(static_cast<int64_t>(tokens.size()), want.find("n")->as_int());
      auto place = static_cast<size_t>(want.find("place")->as_int());
      RankedToken chosen = tokens.best(place + 1)[place];
      EXPECT_EQ(chosen.token, want.find("token")->as_int());
      double total = tokens.mass();
      double probability = tokens.weight(chosen) / total;
      EXPECT_NEAR(probability, want.find("probability")->as_double(), 1e-5);
      learn_mirostat(params, probability, mu);
      EXPECT_NEAR(mu, want.find("mu")->as_double(), 1e-4);
    }
  }
}

std::vector<TokenId> ids(const Json& list) {
  std::vector<TokenId> out;
  for (const Json& id : list.as_array()) out.push_back(static_cast<TokenId>(id.as_int()));
  return out;
}

TEST(Chain, RepetitionsCostWhatDrySays) {
  for (const Json& one : golden().find("dry")->as_array()) {
    SCOPED_TRACE(one.dump());
    flow::DryParams params;
    params.multiplier = static_cast<float>(one.find("multiplier")->as_double());
    params.base = static_cast<float>(one.find("base")->as_double());
    params.allowed_length = static_cast<int32_t>(one.find("allowed_length")->as_int());
    params.last_n = static_cast<int32_t>(one.find("last_n")->as_int());
    flow::DryBreakers breakers;
    for (const Json& breaker : one.find("breakers")->as_array()) {
      std::vector<TokenId> sequence = ids(breaker);
      if (sequence.size() == 1) {
        breakers.alone.push_back(sequence[0]);
      } else {
        breakers.sequences.push_back(std::move(sequence));
      }
    }
    std::sort(breakers.alone.begin(), breakers.alone.end());
    std::sort(breakers.sequences.begin(), breakers.sequences.end());
    params.breakers = std::make_shared<const flow::DryBreakers>(std::move(breakers));
    std::vector<float> logits(10, 0.0f);
    penalise_repeats(params, ids(*one.find("history")), logits);
    std::vector<float> want(10, 0.0f);
    for (const Json& row : one.find("want")->as_array()) {
      want[static_cast<size_t>(row.as_array()[0].as_int())] = -static_cast<float>(row.as_array()[1].as_double());
    }
    for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(logits[i], want[i], 1e-3 * std::abs(want[i])) << i;
  }
}

// The next token of a slot.
TokenId next(const SlotSampler& slot, std::vector<float> logits) {
  SampleScratch scratch;
  auto drawn = sample(table(), slot, logits, scratch);
  return drawn.ok() ? drawn->token : kNoToken;
}

std::vector<float> some_logits() { return logits_of(golden().find("cuts")->as_array()[0]); }

TEST(Chain, TheOrderOfV1GivesTheTokensOfTheQuickPath) {
  SamplingParams quick;
  quick.temperature = 0.9f;
  quick.top_k = 30;
  quick.top_p = 0.9f;
  quick.min_p = 0.02f;
  SamplingParams chained = quick;
  chained.steps = {SamplerStep::kTemperature, SamplerStep::kMinP, SamplerStep::kTopK, SamplerStep::kTopP};
  ASSERT_FALSE(uses_chain(quick));
  ASSERT_TRUE(uses_chain(chained));
  std::vector<float> logits = some_logits();
  int n_other = 0;
  for (uint64_t seed = 0; seed < 500; ++seed) {
    SlotSampler a;
    SlotSampler b;
    quick.seed = chained.seed = seed;
    a.reset(quick, 0, 1, std::vector<TokenId>{1});
    b.reset(chained, 0, 1, std::vector<TokenId>{1});
    if (next(a, logits) != next(b, logits)) ++n_other;
  }
  EXPECT_LE(n_other, 1);  // a draw on the very border of two tokens
}

TEST(Chain, NeutralValuesStayOnTheQuickPath) {
  SamplingParams p;
  EXPECT_FALSE(uses_chain(p));
  p.xtc_threshold = 0.6f;  // above one half: off
  p.xtc_probability = 1.0f;
  p.dynatemp_exponent = 3.0f;
  p.mirostat_tau = 1.0f;
  p.top_n_sigma = 0.0f;
  EXPECT_FALSE(uses_chain(p));
  p.top_n_sigma = 1.0f;
  EXPECT_TRUE(uses_chain(p));
  p.temperature = 0.0f;
  EXPECT_FALSE(uses_chain(p));  // the best token stays the best
  p.xtc_threshold = 0.05f;
  EXPECT_TRUE(uses_chain(p));
}

TEST(Chain, XtcActsAsOftenAsAskedAlsoWithGreedyRequests) {
  SamplingParams p;
  p.temperature = 0.0f;
  p.xtc_probability = 0.3f;
  p.xtc_threshold = 0.05f;
  std::vector<float> logits = some_logits();
  auto best = static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  int n_other = 0;
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    SlotSampler slot;
    p.seed = seed;
    slot.reset(p, 0, 1, std::vector<TokenId>{1});
    if (next(slot, logits) != best) ++n_other;
  }
  EXPECT_NEAR(n_other, 300, 60);
}

// A slot that begins again behind six tokens, as after a preemption, goes on as the first would have.
TEST(Chain, MirostatGoesOnWhereItWas) {
  for (int32_t version : {1, 2}) {
    SamplingParams p;
    p.mirostat = version;
    p.seed = 9;
    p.memory = std::make_shared<flow::SamplerMemory>();
    p.memory->mirostat_mu.resize(2);
    std::vector<float> logits = some_logits();
    std::vector<TokenId> tokens = {1};
    SlotSampler slot;
    slot.reset(p, 1, 1, tokens);
    for (int i = 0; i < 12; ++i) {
      tokens.push_back(next(slot, logits));
      slot.append(tokens.back());
    }
    SlotSampler again;
    again.reset(p, 1, 1, std::span<const TokenId>(tokens).first(7));
    for (size_t i = 7; i < tokens.size(); ++i) {
      ASSERT_EQ(next(again, logits), tokens[i]) << version << " " << i;
      again.append(tokens[i]);
    }
  }
}

TEST(Chain, BadWordsAreNeverFinished) {
  SamplingParams p;
  p.temperature = 0.0f;
  std::vector<float> logits(10, 0.0f);
  logits[3] = 5.0f;
  logits[4] = 4.0f;
  p.bad_words = {{7, 8, 3}, {9}};
  logits[9] = 6.0f;  // always out of reach
  auto after = [&](std::vector<TokenId> tokens, uint32_t n_prompt) {
    SlotSampler slot;
    slot.reset(p, 0, n_prompt, tokens);
    return next(slot, logits);
  };
  EXPECT_EQ(after({1, 7, 8}, 1), 4);
  EXPECT_EQ(after({1, 7, 8}, 3), 3);  // of the prompt
  EXPECT_EQ(after({1, 7, 8, 2}, 1), 3);
  EXPECT_EQ(after({1, 8}, 1), 3);
}

// Also when a sequence begins again behind a preemption, since all is derived from its tokens.
TEST(Chain, NgramsThatWereThereAreOutOfReach) {
  size_t n_banned = 0;
  for (const Json& one : golden().find("ngrams")->as_array()) {
    SCOPED_TRACE(one.dump());
    std::vector<TokenId> history;
    for (const Json& token : one.find("history")->as_array()) history.push_back(static_cast<TokenId>(token.as_int()));
    SamplingParams p;
    p.temperature = 0.0f;
    p.no_repeat_ngram_size = static_cast<uint32_t>(one.find("n")->as_int());
    std::vector<bool> banned(200);
    for (const Json& token : one.find("want")->as_array()) banned[static_cast<size_t>(token.as_int())] = true;
    const auto half = static_cast<uint32_t>(history.size() / 2);  // of the prompt
    SlotSampler grown;
    grown.reset(p, 0, half, std::span<const TokenId>(history).first(half));
    for (size_t i = half; i < history.size(); ++i) grown.append(history[i]);
    SlotSampler again;
    again.reset(p, 0, half, history);
    for (size_t token = 0; token < banned.size(); ++token) {
      std::vector<float> logits(banned.size(), 0.0f);
      logits[token] = 1.0f;  // taken unless it is banned
      const bool taken = next(grown, logits) == static_cast<TokenId>(token);
      EXPECT_EQ(taken, !banned[token]) << token;
      EXPECT_EQ(next(again, logits) == static_cast<TokenId>(token), taken) << token;
      n_banned += banned[token] ? 1U : 0U;
    }
  }
  EXPECT_GT(n_banned, 20u);
}

TEST(Chain, MinKeepHoldsAgainstEveryCut) {
  SamplingParams p;
  p.min_keep = 5;
  p.top_p = 0.01f;
  p.min_p = 0.99f;
  std::vector<float> logits = some_logits();
  RankedTokens tokens;
  run_steps({.kernels = table(), .params = p, .logits = logits, .max = largest(logits)}, tokens);
  EXPECT_EQ(tokens.size(), 5u);
}

}  // namespace
}  // namespace millrace::sample
