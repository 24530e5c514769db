#include "sample/logprobs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace millrace::sample {
namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();

// Ranks of many tokens in one pass over the vocabulary.
std::vector<int32_t> ranks_of(std::span<const float> logits, std::span<const TokenId> tokens) {
  std::vector<float> sorted;
  for (TokenId token : tokens) sorted.push_back(logits[static_cast<size_t>(token)]);
  std::sort(sorted.begin(), sorted.end());
  auto n_below = [&](float x) { return std::lower_bound(sorted.begin(), sorted.end(), x) - sorted.begin(); };
  std::vector<int32_t> above(sorted.size() + 1);  // [i]: logits above i of the sorted ones, then above at least i
  for (float x : logits) ++above[static_cast<size_t>(n_below(x))];
  for (size_t i = sorted.size(); i-- > 0;) above[i] += above[i + 1];
  std::vector<int32_t> ranks;
  for (TokenId token : tokens) {
    ranks.push_back(1 + above[static_cast<size_t>(n_below(logits[static_cast<size_t>(token)])) + 1]);
  }
  return ranks;
}

}  // namespace

flow::PositionLogprobs position_logprobs(const kernels::KernelTable& kernels, std::span<const float> logits,
                                         TokenId chosen, int32_t n_top, std::span<const TokenId> listed) {
  auto n_vocab = static_cast<int64_t>(logits.size());
  kernels::ArgMax best = kernels.argmax(logits.data(), n_vocab);
  double log_sum = static_cast<double>(best.value) +
                   std::log(static_cast<double>(kernels.exp_sum(logits.data(), best.value, n_vocab)));
  auto entry = [&](TokenId token, int32_t rank) {
    float logit = logits[static_cast<size_t>(token)];
    return flow::TokenLogprob{token, static_cast<float>(static_cast<double>(logit) - log_sum), rank};
  };
  flow::PositionLogprobs out;
  float logit = logits[static_cast<size_t>(chosen)];
  auto above = std::count_if(logits.begin(), logits.end(), [logit](float x) { return x > logit; });
  out.chosen = entry(chosen, static_cast<int32_t>(above) + 1);
  if (!listed.empty()) {
    std::vector<int32_t> ranks = ranks_of(logits, listed);
    for (size_t i = 0; i < listed.size(); ++i) out.top.push_back(entry(listed[i], ranks[i]));
    return out;
  }
  auto n = std::min<size_t>(n_top > 0 ? static_cast<size_t>(n_top) : 0, logits.size());
  if (n == 0) return out;
  std::vector<TokenId> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  auto better = [&](TokenId a, TokenId b) {
    float x = logits[static_cast<size_t>(a)];
    float y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(n), ids.end(), better);
  out.top.reserve(n);
  for (size_t i = 0; i < n; ++i) {
    if (logits[static_cast<size_t>(ids[i])] == kMasked) break;
    out.top.push_back(entry(ids[i], static_cast<int32_t>(i) + 1));
  }
  return out;
}

}  // namespace millrace::sample
