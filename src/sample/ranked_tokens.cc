#include "sample/ranked_tokens.h"

#include <algorithm>
#include <cmath>

namespace millrace::sample {
namespace {

constexpr size_t kFirstSorted = 128;  // most cuts end within; each further look sorts as many again as before

bool better(const RankedToken& a, const RankedToken& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

std::ptrdiff_t at(size_t i) { return static_cast<std::ptrdiff_t>(i); }

}  // namespace

void RankedTokens::fill(const kernels::KernelTable& kernels, std::span<const float> logits, float floor) {
  auto n_vocab = static_cast<int64_t>(logits.size());
  kernels_ = &kernels;
  indices_.resize(logits.size());
  int64_t n = kernels.select_above(indices_.data(), logits.data(), floor, n_vocab, n_vocab);
  tokens_.clear();
  n_sorted_ = 0;
  for (int64_t i = 0; i < n; ++i) {
    int32_t token = indices_[static_cast<size_t>(i)];
    tokens_.push_back({token, logits[static_cast<size_t>(token)]});
  }
}

std::span<const RankedToken> RankedTokens::best(size_t n) {
  n = std::min(n, tokens_.size());
  while (n_sorted_ < n) {
    size_t next = std::min(tokens_.size(), std::max({n, 2 * n_sorted_, kFirstSorted}));
    if (next < tokens_.size()) {
      std::nth_element(tokens_.begin() + at(n_sorted_), tokens_.begin() + at(next), tokens_.end(), better);
    }
    std::sort(tokens_.begin() + at(n_sorted_), tokens_.begin() + at(next), better);
    n_sorted_ = next;
  }
  return std::span<const RankedToken>(tokens_).first(n);
}

void RankedTokens::keep_best(size_t n) {
  (void)best(n);
  if (n < tokens_.size()) tokens_.resize(n);
  n_sorted_ = std::min(n_sorted_, tokens_.size());
}

void RankedTokens::keep_if(const std::function<bool(const RankedToken&)>& keep) {
  RankedToken first = best(1)[0];
  size_t kept = 0;
  size_t sorted = 0;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    if (!keep(tokens_[i])) continue;
    if (i < n_sorted_) ++sorted;
    tokens_[kept++] = tokens_[i];
  }
  if (kept == 0) {
    tokens_[kept++] = first;
    sorted = 1;
  }
  tokens_.resize(kept);
  n_sorted_ = sorted;
}

void RankedTokens::keep_least(const std::function<double(const RankedToken&)>& key,
                              const std::function<double(const RankedToken&)>& weight, double target, size_t at_least) {
  struct Keyed {
    double key;
    RankedToken token;
    bool operator<(const Keyed& other) const {
      return key != other.key ? key < other.key : token.token < other.token.token;
    }
  };
  std::vector<Keyed> order;
  order.reserve(tokens_.size());
  for (const RankedToken& token : tokens_) order.push_back({key(token), token});
  double reached = 0;
  size_t kept = 0;
  size_t sorted = 0;
  while (kept < order.size() && (reached < target || kept < std::max<size_t>(at_least, 1))) {
    if (kept == sorted) {
      sorted = std::min(order.size(), std::max(kFirstSorted, 2 * sorted));
      if (sorted < order.size()) std::nth_element(order.begin() + at(kept), order.begin() + at(sorted), order.end());
      std::sort(order.begin() + at(kept), order.begin() + at(sorted));
    }
    reached += weight(order[kept++].token);
  }
  tokens_.clear();
  for (size_t i = 0; i < kept; ++i) tokens_.push_back(order[i].token);
  n_sorted_ = 0;
}

void RankedTokens::scale(float factor) {
  for (RankedToken& token : tokens_) token.logit *= factor;
}

double RankedTokens::mass() {
  max_ = best(1)[0].logit;
  weights_.clear();
  for (const RankedToken& token : tokens_) weights_.push_back(token.logit);
  kernels_->exp(weights_.data(), weights_.data(), max_, static_cast<int64_t>(weights_.size()));
  double sum = 0;
  for (float weight : weights_) sum += static_cast<double>(weight);
  return sum;
}

double RankedTokens::weight(const RankedToken& token) const {
  return std::exp(static_cast<double>(token.logit) - static_cast<double>(max_));
}

// H = ln Z - sum p (l - max), with p = exp(l - max) / Z
double RankedTokens::entropy() {
  double total = mass();
  double sum = 0;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    sum += static_cast<double>(weights_[i]) * (static_cast<double>(tokens_[i].logit) - static_cast<double>(max_));
  }
  return std::log(total) - sum / total;
}

}  // namespace millrace::sample
