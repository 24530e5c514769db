#include "sample/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "base/philox.h"
#include "sample/logprobs.h"
#include "sample/processors.h"

namespace millrace::sample {
namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();

constexpr size_t kBits = 32;  // of a word of a mask

// Word by word: most words of a mask allow nothing or everything. Those between are done without a branch, since which
// of their bits are set is not foreseen.
void apply_mask(std::span<float> logits, std::span<const uint32_t> mask) {
  float masked = kMasked;
  for (size_t begin = 0; begin < logits.size(); begin += kBits) {
    size_t n = std::min(kBits, logits.size() - begin);
    uint32_t word = begin / kBits < mask.size() ? mask[begin / kBits] : 0;
    if (word == ~0u) continue;
    float* values = logits.data() + begin;
    if (word == 0) {
      std::fill_n(values, n, kMasked);
    } else {
      for (size_t i = 0; i < n; ++i) values[i] = (word & 1u << i) != 0 ? values[i] : masked;
    }
  }
}

// The one token that a mask allows, or kNoToken.
TokenId only_allowed(std::span<const uint32_t> mask) {
  size_t found = mask.size();
  for (size_t i = 0; i < mask.size(); ++i) {
    if (mask[i] == 0) continue;
    if (found < mask.size() || !std::has_single_bit(mask[i])) return kNoToken;
    found = i;
  }
  if (found == mask.size()) return kNoToken;
  return static_cast<TokenId>(found * kBits + static_cast<size_t>(std::countr_zero(mask[found])));
}

// What else may put a token out of reach, or make the others count.
bool needs_all_logits(const flow::SamplingParams& params) {
  return params.n_logprobs >= 0 || params.min_tokens > 0 || !params.allowed_token_ids.empty() ||
         !params.logit_bias.empty();
}

// The first candidate at which the running weight passes unit * total.
TokenId draw_from(std::span<const Candidate> candidates, double unit) {
  double total = 0;
  for (const Candidate& c : candidates) total += static_cast<double>(c.weight);
  double target = unit * total;
  double reached = 0;
  for (const Candidate& c : candidates) {
    reached += static_cast<double>(c.weight);
    if (reached > target) return c.token;
  }
  return candidates.back().token;
}

// The same over the whole vocabulary in id order: no filter is active.
TokenId draw_from_all(const kernels::KernelTable& kernels, std::span<const float> logits, float max, double unit,
                      std::vector<float>& weights) {
  weights.resize(logits.size());
  kernels.exp(weights.data(), logits.data(), max, static_cast<int64_t>(logits.size()));
  double total = 0;
  for (float w : weights) total += static_cast<double>(w);
  double target = unit * total;
  double reached = 0;
  TokenId last = kNoToken;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] <= 0) continue;
    reached += static_cast<double>(weights[i]);
    last = static_cast<TokenId>(i);
    if (reached > target) break;
  }
  return last;
}

}  // namespace

double draw_unit(uint64_t seed, uint32_t fork, uint32_t index, DrawKind kind) {
  PhiloxBlock bits = philox4x32(seed, {index, static_cast<uint32_t>(kind), fork, 0});
  return philox_unit_f64(bits[0], bits[1]);
}

void SlotSampler::reset(const flow::SamplingParams& params, uint32_t fork, uint32_t input_len,
                        std::span<const TokenId> tokens) {
  params_ = &params;
  fork_ = fork;
  n_output_ = 0;
  seen_.clear();
  recent_.clear();
  oldest_ = 0;
  counts_ = params.repetition_penalty != 1.0f || params.presence_penalty != 0.0f || params.frequency_penalty != 0.0f;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i >= input_len) {
      append(tokens[i]);
    } else if (counts_ && params.penalty_window > 0) {
      count_in_window(tokens[i]);
    } else if (counts_) {
      seen_.add_prompt(tokens[i]);
    }
  }
}

void SlotSampler::append(TokenId token) {
  ++n_output_;
  if (!counts_) return;
  if (params_->penalty_window > 0) {
    count_in_window(token);
  } else {
    seen_.add_output(token);
  }
}

void SlotSampler::count_in_window(TokenId token) {
  seen_.add_output(token);
  if (recent_.size() < params_->penalty_window) {
    recent_.push_back(token);
    return;
  }
  seen_.remove_output(std::exchange(recent_[oldest_], token));
  oldest_ = oldest_ + 1 == recent_.size() ? 0 : oldest_ + 1;
}

Result<Sampled> sample(const kernels::KernelTable& kernels, const SlotSampler& slot, std::span<float> logits,
                       SampleScratch& scratch, std::span<const uint32_t> mask) {
  const flow::SamplingParams& params = slot.params();
  auto n_vocab = static_cast<int64_t>(logits.size());
  kernels::ArgMax best = kernels.argmax(logits.data(), n_vocab);
  if (best.index < 0 || !std::isfinite(best.value))
    return Error{ErrorCode::kInternal, "the model produced non-finite logits", ""};

  if (TokenId only = only_allowed(mask); only != kNoToken && !needs_all_logits(params)) {
    // no draw is needed: the others have no weight
    auto index = static_cast<size_t>(only);
    if (index < logits.size() && std::isfinite(logits[index])) return Sampled{only, nullptr};
  }

  std::vector<float> raw;  // kept only when logprobs are wanted: they are of the unprocessed distribution
  if (params.n_logprobs >= 0) raw.assign(logits.begin(), logits.end());

  scratch.row.resize(logits.size());
  ProcessorInput input{.kernels = kernels,
                       .params = params,
                       .seen = slot.seen(),
                       .n_output = slot.n_output(),
                       .logits = logits,
                       .scratch = scratch.row};
  bool changed = !mask.empty();
  if (changed) apply_mask(logits, mask);
  for (const Processor& processor : processor_table()) {
    if (!processor.active(params)) continue;
    processor.apply(input);
    changed = true;
  }
  if (changed) best = kernels.argmax(logits.data(), n_vocab);
  if (best.index < 0) return Error{ErrorCode::kInternal, "the model produced non-finite logits", ""};
  if (best.value == kMasked) return Error{ErrorCode::kNoTokenAllowed, "every token is masked", ""};

  Sampled out;
  if (params.temperature < flow::kGreedyBelow) {
    out.token = best.index;
  } else {
    double unit = draw_unit(params.seed, slot.fork(), slot.n_output(), DrawKind::kToken);
    if (keeps_everything(params)) {
      out.token = draw_from_all(kernels, logits, best.value, unit, scratch.row);
    } else {
      collect_candidates(kernels, params, logits, best.value, scratch.indices, scratch.candidates);
      out.token = draw_from(scratch.candidates, unit);
    }
  }
  if (params.n_logprobs >= 0) {
    out.logprobs =
        std::make_unique<flow::PositionLogprobs>(position_logprobs(kernels, raw, out.token, params.n_logprobs));
  }
  return out;
}

}  // namespace millrace::sample
