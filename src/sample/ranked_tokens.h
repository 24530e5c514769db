// RankedTokens: the tokens that are still in reach, sorted only as far as somebody has looked: cuts near the top of a
// vocabulary cost one pass over it and the sorting of a few hundred tokens.
// Order: logit descending, then id ascending: a total order, so cuts and draws are the same everywhere.
// Thread: one worker at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "kernels/ops.h"

namespace millrace::sample {

struct RankedToken {
  TokenId token = kNoToken;
  float logit = 0;
};

class RankedTokens {
 public:
  // All tokens whose logit is at least `floor`; floor is finite and not above the largest logit.
  void fill(const kernels::KernelTable& kernels, std::span<const float> logits, float floor);

  size_t size() const { return tokens_.size(); }
  // The best n (at most size()), in order.
  std::span<const RankedToken> best(size_t n);
  // All of them, in no particular order beyond those best() has given.
  std::span<const RankedToken> all() const { return tokens_; }

  // n >= 1.
  void keep_best(size_t n);
  // Keeps those for which `keep` is true; if that is none, the best one.
  void keep_if(const std::function<bool(const RankedToken&)>& keep);
  // Keeps the tokens with the least values of `key`, in order of (key, id), until their `weight`s reach `target`; one
  // at least, `at_least` if there are so many.
  void keep_least(const std::function<double(const RankedToken&)>& key,
                  const std::function<double(const RankedToken&)>& weight, double target, size_t at_least);
  // The order stays: factor > 0.
  void scale(float factor);

  // Sum of exp(logit - largest logit) over all.
  double mass();
  double weight(const RankedToken& token) const;  // exp(logit - largest logit); after mass()
  double entropy();                               // of the distribution, in nats

 private:
  std::vector<RankedToken> tokens_;
  std::vector<int32_t> indices_;
  std::vector<float> weights_;  // [size()] of the last mass()
  const kernels::KernelTable* kernels_ = nullptr;
  size_t n_sorted_ = 0;
  float max_ = 0;
};

}  // namespace millrace::sample
