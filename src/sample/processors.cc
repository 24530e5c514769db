#include "sample/processors.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "sample/chain.h"
#include "sample/dry.h"

namespace millrace::sample {
namespace {

using flow::SamplerStep;
using flow::SamplingParams;

constexpr float kMasked = -std::numeric_limits<float>::infinity();

bool in_vocabulary(TokenId token, std::span<const float> logits) {
  return token >= 0 && static_cast<size_t>(token) < logits.size();
}

// Only the listed ids keep their logits.
void keep_allowed(const ProcessorInput& in) {
  std::copy(in.logits.begin(), in.logits.end(), in.scratch.begin());
  std::fill(in.logits.begin(), in.logits.end(), kMasked);
  for (TokenId token : in.params.allowed_token_ids) {
    if (in_vocabulary(token, in.logits)) in.logits[static_cast<size_t>(token)] = in.scratch[static_cast<size_t>(token)];
  }
}

// End tokens are out of reach until min_tokens were sampled.
void hold_back_ends(const ProcessorInput& in) {
  if (in.n_output >= in.params.min_tokens) return;
  for (const auto* ids : {&in.params.eos_token_ids, &in.params.stop_token_ids}) {
    for (TokenId token : *ids) {
      if (in_vocabulary(token, in.logits)) in.logits[static_cast<size_t>(token)] = kMasked;
    }
  }
}

void add_bias(const ProcessorInput& in) {
  for (auto [token, bias] : in.params.logit_bias) {
    if (in_vocabulary(token, in.logits)) in.logits[static_cast<size_t>(token)] += bias;
  }
}

// repetition: Keskar et al., "CTRL" (arXiv 1909.05858), section 4.1, signed form; frequency and presence: OpenAI API.
void penalise_seen(const ProcessorInput& in) {
  const SamplingParams& p = in.params;
  for (const SeenTokens::Entry& entry : in.seen.entries()) {
    if (!in_vocabulary(entry.token, in.logits)) continue;
    if (entry.n_output == 0 && !entry.in_prompt) continue;  // fell out of the window
    float& logit = in.logits[static_cast<size_t>(entry.token)];
    logit = logit > 0 ? logit / p.repetition_penalty : logit * p.repetition_penalty;
    if (entry.n_output > 0) {
      logit -= p.frequency_penalty * static_cast<float>(entry.n_output);
      logit -= p.presence_penalty;
    }
  }
}

// Locally typical sampling (Meister et al., arXiv 2202.00666): keep the tokens whose surprise is nearest to the
// entropy.
void keep_typical(const ProcessorInput& in) {
  auto n = static_cast<int64_t>(in.logits.size());
  kernels::ArgMax best = in.kernels.argmax(in.logits.data(), n);
  if (best.index < 0 || best.value == kMasked) return;
  in.kernels.exp(in.scratch.data(), in.logits.data(), best.value, n);
  double total = std::accumulate(in.scratch.begin(), in.scratch.end(), 0.0);
  double log_total = std::log(total);
  auto surprise = [&](size_t i) {
    return log_total - (static_cast<double>(in.logits[i]) - static_cast<double>(best.value));
  };
  double entropy = 0;
  std::vector<uint32_t> order;
  for (size_t i = 0; i < in.logits.size(); ++i) {
    if (in.scratch[i] <= 0) continue;
    entropy += static_cast<double>(in.scratch[i]) / total * surprise(i);
    order.push_back(static_cast<uint32_t>(i));
  }
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return std::abs(surprise(a) - entropy) < std::abs(surprise(b) - entropy);
  });
  double mass = 0;
  size_t kept = 0;
  while (kept < order.size() && mass < static_cast<double>(in.params.typical_p) * total)
    mass += static_cast<double>(in.scratch[order[kept++]]);
  for (size_t i = std::max<size_t>(kept, 1); i < order.size(); ++i) in.logits[order[i]] = kMasked;
  for (size_t i = 0; i < in.logits.size(); ++i) {
    if (in.scratch[i] <= 0) in.logits[i] = kMasked;
  }
}

// Of the output only, as vLLM does.
void ban_words(const ProcessorInput& in) {
  std::span<const TokenId> output = in.history.last(in.n_output);
  for (const std::vector<TokenId>& word : in.params.bad_words) {
    if (word.empty() || word.size() > output.size() + 1 || !in_vocabulary(word.back(), in.logits)) continue;
    std::span<const TokenId> begin = std::span<const TokenId>(word).first(word.size() - 1);
    if (std::equal(begin.begin(), begin.end(), output.end() - static_cast<std::ptrdiff_t>(begin.size())))
      in.logits[static_cast<size_t>(word.back())] = kMasked;
  }
}

// Every token that would end a sequence of n tokens that is there already (Hugging Face transformers,
// NoRepeatNGramLogitsProcessor).
void ban_repeated_ngrams(const ProcessorInput& in) {
  const size_t n = in.params.no_repeat_ngram_size;
  if (in.history.size() < n) return;
  std::span<const TokenId> begin = in.history.last(n - 1);
  for (size_t i = 0; i + n <= in.history.size(); ++i) {
    TokenId last = in.history[i + n - 1];
    bool repeats = std::equal(begin.begin(), begin.end(), in.history.begin() + static_cast<std::ptrdiff_t>(i));
    if (repeats && in_vocabulary(last, in.logits)) in.logits[static_cast<size_t>(last)] = kMasked;
  }
}

void penalise_repetitions(const ProcessorInput& in) { penalise_repeats(in.params.dry, in.history, in.logits); }

void divide_by_temperature(const ProcessorInput& in) {
  in.kernels.scale(in.logits.data(), 1.0f / in.params.temperature, static_cast<int64_t>(in.logits.size()));
}

bool samples(const SamplingParams& p) { return p.temperature >= flow::kGreedyBelow; }

constexpr Processor kProcessors[] = {
    {"allowed_token_ids", [](const SamplingParams& p) { return !p.allowed_token_ids.empty(); }, keep_allowed},
    {"bad_words", [](const SamplingParams& p) { return !p.bad_words.empty(); }, ban_words},
    {"no_repeat_ngram_size", [](const SamplingParams& p) { return p.no_repeat_ngram_size > 0; }, ban_repeated_ngrams},
    {"min_tokens", [](const SamplingParams& p) { return p.min_tokens > 0; }, hold_back_ends},
    {"logit_bias", [](const SamplingParams& p) { return !p.logit_bias.empty(); }, add_bias},
    {"penalties",
     [](const SamplingParams& p) {
       return has_step(p, SamplerStep::kPenalties) &&
              (p.repetition_penalty != 1.0f || p.presence_penalty != 0.0f || p.frequency_penalty != 0.0f);
     },
     penalise_seen},
    {"dry", [](const SamplingParams& p) { return p.dry.multiplier > 0.0f && has_step(p, SamplerStep::kDry); },
     penalise_repetitions},
    {"typical_p", [](const SamplingParams& p) { return p.typical_p < 1.0f && samples(p) && !uses_chain(p); },
     keep_typical},
    {"temperature", [](const SamplingParams& p) { return p.temperature != 1.0f && samples(p) && !uses_chain(p); },
     divide_by_temperature},
};

}  // namespace

std::span<const Processor> processor_table() { return kProcessors; }

}  // namespace millrace::sample
