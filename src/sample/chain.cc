#include "sample/chain.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "sample/mirostat.h"

namespace millrace::sample {
namespace {

using flow::SamplerStep;
using flow::SamplingParams;

// How far below the best logit a token is looked at, in units of the temperature: exp(-32) is 1e-14 of the best, less
// than a draw of 53 random bits and a vocabulary of 2^18 tell from nothing.
constexpr float kReach = 32.0f;

// The order of the /v1 routes (API order: the other samplers stand before the temperature).
constexpr SamplerStep kOpenAiSteps[] = {SamplerStep::kTopNSigma,   SamplerStep::kTypicalP, SamplerStep::kXtc,
                                        SamplerStep::kTemperature, SamplerStep::kMinP,     SamplerStep::kTopK,
                                        SamplerStep::kTopP};

bool samples(const SamplingParams& p) { return p.temperature >= flow::kGreedyBelow; }

bool has_xtc(const SamplingParams& p) { return p.xtc_probability > 0.0f && p.xtc_threshold <= 0.5f; }

std::span<const SamplerStep> steps_of(const SamplingParams& p) {
  if (p.steps.empty()) return kOpenAiSteps;
  return p.steps;
}

// "Top-n-sigma" (Tang et al., arXiv 2411.07641): logits within n standard deviations of the best.
void cut_top_n_sigma(const ChainInput& in, RankedTokens& tokens) {
  if (in.params.top_n_sigma <= 0.0f || tokens.size() < 2) return;
  double n = 0;
  double sum = 0;
  double squares = 0;
  for (float logit : in.logits) {  // of all tokens that are not masked, not only those in reach
    if (!std::isfinite(logit)) continue;
    auto x = static_cast<double>(logit) - static_cast<double>(in.max);
    n += 1;
    sum += x;
    squares += x * x;
  }
  double mean = sum / n;
  double deviation = std::sqrt(std::max(0.0, squares / n - mean * mean));
  double floor = static_cast<double>(tokens.best(1)[0].logit) - static_cast<double>(in.params.top_n_sigma) * deviation;
  tokens.keep_if([&](const RankedToken& token) { return static_cast<double>(token.logit) >= floor; });
}

// Locally typical sampling (Meister et al., arXiv 2202.00666).
void cut_typical(const SamplingParams& p, RankedTokens& tokens) {
  if (p.typical_p >= 1.0f) return;
  double entropy = tokens.entropy();
  double total = tokens.mass();
  double usual = static_cast<double>(tokens.best(1)[0].logit) + std::log(total) - entropy;  // the logit of no surprise
  auto distance = [usual](const RankedToken& token) { return std::abs(static_cast<double>(token.logit) - usual); };
  tokens.keep_least(
      distance, [&](const RankedToken& token) { return tokens.weight(token) / total; },
      static_cast<double>(p.typical_p), p.min_keep);
}

// Nucleus sampling (Holtzman et al., arXiv 1904.09751).
void cut_top_p(const SamplingParams& p, RankedTokens& tokens) {
  if (p.top_p >= 1.0f) return;
  double target = static_cast<double>(p.top_p) * tokens.mass();
  double reached = 0;
  size_t kept = 0;
  while (kept < tokens.size() && (reached < target || kept < p.min_keep)) {
    reached += tokens.weight(tokens.best(kept + 1)[kept]);
    ++kept;
  }
  tokens.keep_best(std::max<size_t>(kept, 1));
}

void cut_min_p(const SamplingParams& p, RankedTokens& tokens) {
  if (p.min_p <= 0.0f) return;
  float floor = tokens.best(1)[0].logit + std::log(p.min_p);
  size_t kept = 0;
  for (const RankedToken& token : tokens.all()) kept += token.logit >= floor ? 1 : 0;
  if (kept < p.min_keep) {
    tokens.keep_best(p.min_keep);
  } else {
    tokens.keep_if([floor](const RankedToken& token) { return token.logit >= floor; });
  }
}

// "Exclude top choices" (p-e-w, text-generation-webui pull request 6335): of the tokens at or above the threshold all
// but the least likely go.
void cut_xtc(const ChainInput& in, RankedTokens& tokens) {
  const SamplingParams& p = in.params;
  if (!has_xtc(p) || tokens.size() < 2 || in.xtc_unit > static_cast<double>(p.xtc_probability)) return;
  double floor = static_cast<double>(p.xtc_threshold) * tokens.mass();
  size_t n_above = 0;  // at most 1 / threshold of them, or all
  while (n_above < tokens.size() && tokens.weight(tokens.best(n_above + 1)[n_above]) >= floor) ++n_above;
  size_t n_gone = n_above > 0 ? n_above - 1 : 0;
  if (n_gone == 0 || tokens.size() - n_gone < p.min_keep) return;
  RankedToken last_gone = tokens.best(n_gone)[n_gone - 1];
  tokens.keep_if([last_gone](const RankedToken& token) {
    return token.logit < last_gone.logit || (token.logit == last_gone.logit && token.token > last_gone.token);
  });
}

// Dynamic temperature (kalomaze; llama.cpp pull request 4972): between t - range and t + range by the entropy.
void heat(const SamplingParams& p, RankedTokens& tokens) {
  if (!samples(p)) return;
  float temperature = p.temperature;
  if (p.dynatemp_range > 0.0f && tokens.size() > 1) {
    float low = std::max(0.0f, p.temperature - p.dynatemp_range);
    float high = p.temperature + p.dynatemp_range;
    double share = tokens.entropy() / std::log(static_cast<double>(tokens.size()));
    auto part = static_cast<float>(std::pow(std::clamp(share, 0.0, 1.0), static_cast<double>(p.dynatemp_exponent)));
    temperature = low + (high - low) * part;
  }
  if (temperature < flow::kGreedyBelow) {
    tokens.keep_best(1);
  } else {
    tokens.scale(1.0f / temperature);
  }
}

// Whether a step changes anything that the quick path would also have to do.
bool acts(const SamplingParams& p, SamplerStep step) {
  switch (step) {
    case SamplerStep::kPenalties:
    case SamplerStep::kDry:
      return false;  // processors.cc, before either path
    case SamplerStep::kTopNSigma:
      return p.top_n_sigma > 0.0f;
    case SamplerStep::kTopK:
      return p.top_k > 0;
    case SamplerStep::kTypicalP:
      return p.typical_p < 1.0f;
    case SamplerStep::kTopP:
      return p.top_p < 1.0f;
    case SamplerStep::kMinP:
      return p.min_p > 0.0f;
    case SamplerStep::kXtc:
      return has_xtc(p);
    case SamplerStep::kTemperature:
      return p.temperature != 1.0f;
  }
  return false;
}

// Without a cut, or with top_k alone, any order draws from the same tokens: dividing by a temperature moves none.
bool order_matters(const SamplingParams& p) {
  if (p.steps.empty()) return false;  // the quick path's own
  auto cuts = [&p](SamplerStep step) { return acts(p, step) && has_step(p, step); };
  auto left_out = [&p](SamplerStep step) { return acts(p, step) && !has_step(p, step); };
  constexpr SamplerStep kCuts[] = {SamplerStep::kTypicalP, SamplerStep::kTopP, SamplerStep::kMinP};
  constexpr SamplerStep kQuick[] = {SamplerStep::kTypicalP, SamplerStep::kTopP, SamplerStep::kMinP, SamplerStep::kTopK,
                                    SamplerStep::kTemperature};
  return std::ranges::any_of(kCuts, cuts) || std::ranges::any_of(kQuick, left_out);
}

// True when only the top_k best tokens matter: no step before top_k looks at the whole distribution.
bool top_k_is_enough(const SamplingParams& p) {
  for (SamplerStep step : steps_of(p)) {
    if (step == SamplerStep::kTopK && acts(p, step)) return true;
    if (step == SamplerStep::kMinP) continue;  // looks at the best alone
    bool looks_at_all = step == SamplerStep::kTemperature ? p.dynatemp_range > 0.0f : acts(p, step);
    if (looks_at_all) return false;
  }
  return false;
}

// The tokens that may matter.
void fill(const ChainInput& in, RankedTokens& tokens) {
  constexpr float kNear[] = {8.0f, 16.0f};  // as the quick path: most top_k lie within
  const SamplingParams& p = in.params;
  bool cut = (p.mirostat == 0 || !samples(p)) && p.min_keep == 0 && top_k_is_enough(p);
  for (float reach : kNear) {
    if (!cut) break;
    tokens.fill(in.kernels, in.logits, in.max - reach);
    if (tokens.size() >= static_cast<size_t>(p.top_k)) return;
  }
  float reach = kReach * std::max(1.0f, samples(p) ? p.temperature + p.dynatemp_range : 1.0f);
  tokens.fill(in.kernels, in.logits, std::max(in.max - reach, std::numeric_limits<float>::lowest()));
}

void run_step(const ChainInput& in, SamplerStep step, RankedTokens& tokens) {
  switch (step) {
    case SamplerStep::kPenalties:
    case SamplerStep::kDry:
      return;  // processors.cc
    case SamplerStep::kTopNSigma:
      return cut_top_n_sigma(in, tokens);
    case SamplerStep::kTopK:
      if (in.params.top_k > 0) tokens.keep_best(static_cast<size_t>(in.params.top_k));
      return;
    case SamplerStep::kTypicalP:
      return cut_typical(in.params, tokens);
    case SamplerStep::kTopP:
      return cut_top_p(in.params, tokens);
    case SamplerStep::kMinP:
      return cut_min_p(in.params, tokens);
    case SamplerStep::kXtc:
      return cut_xtc(in, tokens);
    case SamplerStep::kTemperature:
      return heat(in.params, tokens);
  }
}

}  // namespace

bool has_step(const SamplingParams& p, SamplerStep step) {
  return p.steps.empty() || std::find(p.steps.begin(), p.steps.end(), step) != p.steps.end();
}

bool uses_chain(const SamplingParams& p) {
  if (has_xtc(p) && has_step(p, SamplerStep::kXtc)) return true;  // takes the best token away
  if (!samples(p)) return false;
  bool reshapes = p.mirostat > 0 || p.min_keep > 0 || (p.top_n_sigma > 0.0f && has_step(p, SamplerStep::kTopNSigma)) ||
                  (p.dynatemp_range > 0.0f && has_step(p, SamplerStep::kTemperature));
  return reshapes || order_matters(p);
}

void run_steps(const ChainInput& in, RankedTokens& tokens) {
  const SamplingParams& p = in.params;
  fill(in, tokens);
  if (p.mirostat > 0 && samples(p)) {  // instead of all cuts
    tokens.scale(1.0f / p.temperature);
    cut_mirostat(p, in.logits.size(), *in.mu, tokens);
    return;
  }
  for (SamplerStep step : steps_of(p)) run_step(in, step, tokens);
}

TokenId choose_by_chain(const ChainInput& in, RankedTokens& tokens) {
  run_steps(in, tokens);
  if (!samples(in.params)) return tokens.best(1)[0].token;
  double total = tokens.mass();
  double target = in.unit * total;
  double reached = 0;
  size_t i = 0;
  while (i + 1 < tokens.size()) {
    reached += tokens.weight(tokens.best(i + 1)[i]);
    if (reached > target) break;
    ++i;
  }
  RankedToken chosen = tokens.best(i + 1)[i];
  if (in.params.mirostat > 0) learn_mirostat(in.params, tokens.weight(chosen) / total, *in.mu);
  return chosen.token;
}

}  // namespace millrace::sample
