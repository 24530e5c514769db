#include "sample/mirostat.h"

#include <algorithm>
#include <cmath>

namespace millrace::sample {
namespace {

constexpr size_t kFitted = 100;  // m of algorithm 1: the ranks that Zipf's exponent is estimated from

// The number of tokens to keep: equations (30) and (13) of the paper.
size_t tokens_of_mu(size_t n_vocab, float mu, RankedTokens& tokens) {
  std::span<const RankedToken> best = tokens.best(kFitted);
  double products = 0;
  double squares = 0;
  for (size_t i = 0; i + 1 < best.size(); ++i) {
    double t = std::log(static_cast<double>(i + 2) / static_cast<double>(i + 1));
    double b = static_cast<double>(best[i].logit) - static_cast<double>(best[i + 1].logit);  // log(p_i / p_i+1)
    products += t * b;
    squares += t * t;
  }
  if (squares == 0) return 1;
  double s = products / squares;
  double epsilon = s - 1;
  if (s <= 0 || epsilon == 0) return tokens.size();  // flat: nothing to cut by
  double k = std::pow(
      epsilon * std::exp2(static_cast<double>(mu)) / (1 - std::pow(static_cast<double>(n_vocab), -epsilon)), 1 / s);
  if (!std::isfinite(k) || k >= static_cast<double>(tokens.size())) return tokens.size();
  return static_cast<size_t>(std::max(k, 1.0));
}

}  // namespace

void cut_mirostat(const flow::SamplingParams& params, size_t n_vocab, float mu, RankedTokens& tokens) {
  if (params.mirostat == 1) {
    tokens.keep_best(tokens_of_mu(n_vocab, mu, tokens));
    return;
  }
  // -log2(exp(l - max) / total) <= mu, as a bound of l
  double total = tokens.mass();
  double floor =
      static_cast<double>(tokens.best(1)[0].logit) + std::log(total) - static_cast<double>(mu) * std::log(2.0);
  tokens.keep_if([floor](const RankedToken& token) { return static_cast<double>(token.logit) >= floor; });
}

void learn_mirostat(const flow::SamplingParams& params, double probability, float& mu) {
  double error = -std::log2(probability) - static_cast<double>(params.mirostat_tau);
  mu = static_cast<float>(static_cast<double>(mu) - static_cast<double>(params.mirostat_eta) * error);
}

}  // namespace millrace::sample
