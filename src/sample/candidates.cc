#include "sample/candidates.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace millrace::sample {
namespace {

// Logit distances below the maximum that are searched one after the other until the cut is certain. exp(-8) = 3e-4:
// most distributions put more than a usual top_p above the first one, at some hundred candidates.
constexpr float kReaches[] = {8.0f, 16.0f, 32.0f};

struct Better {
  std::span<const float> logits;
  bool operator()(int32_t a, int32_t b) const {
    float x = logits[static_cast<size_t>(a)];
    float y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  }
};

// Indices of logits >= threshold, in no particular order of value.
void select(const kernels::KernelTable& kernels, std::span<const float> logits, float threshold,
            std::vector<int32_t>& indices) {
  indices.resize(logits.size());
  int64_t n = kernels.select_above(indices.data(), logits.data(), threshold, static_cast<int64_t>(logits.size()),
                                   static_cast<int64_t>(indices.size()));
  indices.resize(static_cast<size_t>(n));
}

}  // namespace

bool keeps_everything(const flow::SamplingParams& p) { return p.top_k <= 0 && p.top_p >= 1.0f && p.min_p <= 0.0f; }

void collect_candidates(const kernels::KernelTable& kernels, const flow::SamplingParams& params,
                        std::span<const float> logits, float max, std::vector<int32_t>& indices,
                        std::vector<Candidate>& out) {
  constexpr float kLowest = std::numeric_limits<float>::lowest();
  float floor = params.min_p > 0.0f ? max + std::log(params.min_p) : kLowest;
  auto wanted = params.top_k > 0 ? static_cast<size_t>(params.top_k) : logits.size();
  auto n_vocab = static_cast<int64_t>(logits.size());
  Better better{logits};

  // The mass that top_p is a share of: everything min_p and top_k keep. Known exactly once those are sorted, so without
  // top_k it is one pass over the vocabulary.
  bool needs_mass = params.top_p < 1.0f;
  double mass = 0;
  if (needs_mass && params.top_k <= 0) {
    if (floor == kLowest) {
      mass = static_cast<double>(kernels.exp_sum(logits.data(), max, n_vocab));
    } else {
      select(kernels, logits, floor, indices);
      for (int32_t i : indices)
        mass += std::exp(static_cast<double>(logits[static_cast<size_t>(i)]) - static_cast<double>(max));
    }
  }

  for (size_t attempt = 0;; ++attempt) {
    bool last = attempt == std::size(kReaches);
    float threshold = std::max(floor, last ? kLowest : max - kReaches[attempt]);
    select(kernels, logits, threshold, indices);
    bool complete = last || threshold == floor;
    if (!complete && params.top_k > 0 && indices.size() < wanted) continue;  // the k-th best may lie lower
    size_t n = std::min(wanted, indices.size());
    std::partial_sort(indices.begin(), indices.begin() + static_cast<std::ptrdiff_t>(n), indices.end(), better);
    indices.resize(n);
    out.clear();
    double sum = 0;
    for (int32_t i : indices) {
      auto weight =
          static_cast<float>(std::exp(static_cast<double>(logits[static_cast<size_t>(i)]) - static_cast<double>(max)));
      out.push_back({i, weight});
      sum += static_cast<double>(weight);
    }
    if (!needs_mass) return;
    double target = static_cast<double>(params.top_p) * (params.top_k > 0 ? sum : mass);
    if (!complete && params.top_k <= 0 && sum < target) continue;
    double reached = 0;
    size_t kept = 0;
    while (kept < out.size() && reached < target) reached += static_cast<double>(out[kept++].weight);
    out.resize(std::max<size_t>(kept, 1));
    return;
  }
}

}  // namespace millrace::sample
