#include "sample/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "base/macros.h"
#include "base/philox.h"
#include "sample/chain.h"
#include "sample/logprobs.h"
#include "sample/mirostat.h"
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

// The tokens that a mask allows, in order; false when there are more than kFewTokens.
constexpr size_t kFewTokens = 2048;
bool collect_few(std::span<const uint32_t> mask, size_t n_vocab, std::vector<int32_t>& tokens) {
  size_t n = 0;
  for (uint32_t word : mask) n += static_cast<size_t>(std::popcount(word));
  if (n > kFewTokens) return false;
  tokens.clear();
  for (size_t i = 0; i < mask.size(); ++i) {
    for (uint32_t word = mask[i]; word != 0; word &= word - 1) {
      size_t token = i * kBits + static_cast<size_t>(std::countr_zero(word));
      if (token < n_vocab) tokens.push_back(static_cast<int32_t>(token));
    }
  }
  return true;
}

// Nothing but the temperature and the draw comes behind the mask.
bool is_plain(const flow::SamplingParams& params) {
  bool draws_from_all = params.temperature < flow::kGreedyBelow || keeps_everything(params);
  return params.n_logprobs < 0 && draws_from_all && !uses_chain(params) &&
         std::ranges::none_of(processor_table(),
                              [&](const Processor& one) { return one.name != "temperature" && one.active(params); });
}

double unit_of(const SlotSampler& slot, DrawKind kind) {
  return draw_unit(slot.params().seed, slot.fork(), slot.n_output(), kind);
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

// Of few tokens, whose logits move to the front: what the whole row gives, to the bit, since tokens without weight
// change no sum and no order.
Result<Sampled> sample_few(const kernels::KernelTable& kernels, const SlotSampler& slot, std::span<float> logits,
                           const std::vector<int32_t>& tokens, std::vector<float>& weights) {
  const flow::SamplingParams& params = slot.params();
  for (size_t i = 0; i < tokens.size(); ++i) logits[i] = logits[static_cast<size_t>(tokens[i])];
  auto n = static_cast<int64_t>(tokens.size());
  bool greedy = params.temperature < flow::kGreedyBelow;
  if (!greedy && params.temperature != 1.0f) kernels.scale(logits.data(), 1.0f / params.temperature, n);
  kernels::ArgMax best = kernels.argmax(logits.data(), n);
  if (best.index < 0 || best.value == kMasked) {
    return Error{ErrorCode::kNoTokenAllowed, "every token is masked", ""};
  }
  auto chosen = best.index;
  if (!greedy && n > 1) {
    double unit = unit_of(slot, DrawKind::kToken);
    chosen = draw_from_all(kernels, logits.first(tokens.size()), best.value, unit, weights);
  }
  return Sampled{tokens[static_cast<size_t>(chosen)], nullptr};
}

TokenId by_chain(const kernels::KernelTable& kernels, const SlotSampler& slot, std::span<const float> logits, float max,
                 SampleScratch& scratch) {
  const flow::SamplingParams& params = slot.params();
  float mu = 0;
  ChainInput input{.kernels = kernels,
                   .params = params,
                   .logits = logits,
                   .max = max,
                   .unit = unit_of(slot, DrawKind::kToken),
                   .xtc_unit = unit_of(slot, DrawKind::kXtc),
                   .mu = &mu};
  bool learns = params.mirostat > 0 && params.temperature >= flow::kGreedyBelow;
  if (!learns) return choose_by_chain(input, scratch.ranked);
  CHECK(params.memory != nullptr && slot.fork() < params.memory->mirostat_mu.size());
  std::vector<float>& course = params.memory->mirostat_mu[slot.fork()];  // of this fork: no other thread looks at it
  if (course.empty()) course.push_back(first_mu(params));
  mu = course[std::min<size_t>(slot.n_output(), course.size() - 1)];
  TokenId token = choose_by_chain(input, scratch.ranked);
  course.resize(slot.n_output() + size_t{1}, mu);
  course.push_back(mu);
  return token;
}

// Leaves in `logits` what the token was drawn from, up to a constant: minus infinity for what was out of reach.
void keep_reach(const flow::SamplingParams& params, SampleScratch& scratch, TokenId chosen, std::span<float> logits) {
  const bool greedy = params.temperature < flow::kGreedyBelow;
  const bool chain = uses_chain(params);
  if (!greedy && !chain && keeps_everything(params)) return;
  std::fill(logits.begin(), logits.end(), kMasked);
  if (greedy) {
    logits[static_cast<size_t>(chosen)] = 0.0f;
  } else if (chain) {
    for (const RankedToken& one : scratch.ranked.all()) logits[static_cast<size_t>(one.token)] = one.logit;
  } else {
    for (const Candidate& one : scratch.candidates) logits[static_cast<size_t>(one.token)] = std::log(one.weight);
  }
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
  history_.clear();
  keeps_history_ = params.dry.multiplier > 0.0f || !params.bad_words.empty() || params.no_repeat_ngram_size > 0;
  if (keeps_history_)
    history_.assign(tokens.begin(),
                    tokens.begin() + static_cast<std::ptrdiff_t>(std::min<size_t>(input_len, tokens.size())));
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
  if (keeps_history_) history_.push_back(token);
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

  if (!mask.empty() && is_plain(params) && collect_few(mask, logits.size(), scratch.indices)) {
    return sample_few(kernels, slot, logits, scratch.indices, scratch.row);
  }

  const bool wants_raw = params.n_logprobs >= 0 && !params.post_sampling_probs;
  std::vector<float> raw;
  if (wants_raw) raw.assign(logits.begin(), logits.end());

  scratch.row.resize(logits.size());
  ProcessorInput input{.kernels = kernels,
                       .params = params,
                       .seen = slot.seen(),
                       .n_output = slot.n_output(),
                       .history = slot.history(),
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
  if (uses_chain(params)) {
    out.token = by_chain(kernels, slot, logits, best.value, scratch);
  } else if (params.temperature < flow::kGreedyBelow) {
    out.token = best.index;
  } else {
    double unit = unit_of(slot, DrawKind::kToken);
    if (keeps_everything(params)) {
      out.token = draw_from_all(kernels, logits, best.value, unit, scratch.row);
    } else {
      collect_candidates(kernels, params, logits, best.value, scratch.indices, scratch.candidates);
      out.token = draw_from(scratch.candidates, unit);
    }
  }
  if (params.n_logprobs >= 0) {
    if (!wants_raw) keep_reach(params, scratch, out.token, logits);
    std::span<const float> shown = wants_raw ? std::span<const float>(raw) : logits;
    out.logprobs = std::make_unique<flow::PositionLogprobs>(
        position_logprobs(kernels, shown, out.token, params.n_logprobs, params.logprob_token_ids));
  }
  return out;
}

}  // namespace millrace::sample
