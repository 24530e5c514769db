#include "sample/logprobs.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace millrace::sample {

flow::PositionLogprobs position_logprobs(const kernels::KernelTable& kernels, std::span<const float> logits,
                                         TokenId chosen, int32_t n_top) {
  auto n_vocab = static_cast<int64_t>(logits.size());
  kernels::ArgMax best = kernels.argmax(logits.data(), n_vocab);
  double log_sum = static_cast<double>(best.value) +
                   std::log(static_cast<double>(kernels.exp_sum(logits.data(), best.value, n_vocab)));
  auto entry = [&](TokenId token) {
    float logit = logits[static_cast<size_t>(token)];
    auto above = std::count_if(logits.begin(), logits.end(), [logit](float x) { return x > logit; });
    return flow::TokenLogprob{token, static_cast<float>(static_cast<double>(logit) - log_sum),
                              static_cast<int32_t>(above) + 1};
  };
  flow::PositionLogprobs out;
  out.chosen = entry(chosen);
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
    float logit = logits[static_cast<size_t>(ids[i])];
    out.top.push_back({ids[i], static_cast<float>(static_cast<double>(logit) - log_sum), static_cast<int32_t>(i) + 1});
  }
  return out;
}

}  // namespace millrace::sample
