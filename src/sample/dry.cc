#include "sample/dry.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

namespace millrace::sample {
namespace {

// How many tokens the longest breaker has that begins at `at` of the last tokens and ends within them; 0: none does.
// `recent` is reversed.
size_t breaker_at(const flow::DryBreakers& breakers, std::span<const TokenId> recent, size_t at) {
  TokenId first = recent[at];
  size_t longest = std::binary_search(breakers.alone.begin(), breakers.alone.end(), first) ? 1 : 0;
  auto next = std::lower_bound(breakers.sequences.begin(), breakers.sequences.end(), first,
                               [](const std::vector<TokenId>& one, TokenId token) { return one[0] < token; });
  for (; next != breakers.sequences.end() && (*next)[0] == first; ++next) {
    if (next->size() > at + 1 || next->size() <= longest) continue;
    bool same = true;
    for (size_t j = 0; j < next->size(); ++j) same = same && (*next)[j] == recent[at - j];
    if (same) longest = next->size();
  }
  return longest;
}

// How many of the last tokens stand behind the last breaker: no repetition reaches across it.
size_t length_to_breaker(const flow::DryBreakers& breakers, std::span<const TokenId> recent) {
  for (size_t i = 0; i < recent.size(); ++i) {
    size_t length = breaker_at(breakers, recent, i);
    if (length > 0) return i + 1 - length;
  }
  return recent.size();
}

// z[k]: how many tokens from k on equal those from 0 on (Gusfield, "Algorithms on strings, trees and sequences", 1.4).
std::vector<size_t> prefix_lengths(std::span<const TokenId> text) {
  std::vector<size_t> z(text.size(), 0);
  size_t left = 0;
  size_t right = 0;  // one behind the furthest match
  for (size_t k = 1; k < text.size(); ++k) {
    size_t n = k < right ? std::min(z[k - left], right - k) : 0;
    while (k + n < text.size() && text[n] == text[k + n]) ++n;
    z[k] = n;
    if (k + n > right) {
      left = k;
      right = k + n;
    }
  }
  return z;
}

}  // namespace

void penalise_repeats(const flow::DryParams& params, std::span<const TokenId> history, std::span<float> logits) {
  constexpr double kMostPenalty = 88.0;  // natural logarithm of the largest float, nearly
  auto window = params.last_n < 0 ? history.size() : std::min(history.size(), static_cast<size_t>(params.last_n));
  auto allowed = static_cast<size_t>(params.allowed_length);
  if (window <= allowed) return;
  std::vector<TokenId> recent(history.rbegin(), history.rbegin() + static_cast<std::ptrdiff_t>(window));
  const flow::DryBreakers none;
  const flow::DryBreakers& breakers = params.breakers == nullptr ? none : *params.breakers;
  size_t limit = length_to_breaker(breakers, recent);
  if (limit < allowed) return;
  std::vector<size_t> lengths = prefix_lengths(recent);
  std::map<TokenId, size_t> longest;  // by the token that stood behind a repetition
  for (size_t k = 1; k < recent.size(); ++k) {
    size_t n = std::min(lengths[k], limit);
    if (n < allowed) continue;
    size_t& most = longest[recent[k - 1]];
    most = std::max(most, n);
  }
  double log_base = std::log(static_cast<double>(params.base));
  for (auto [token, n] : longest) {
    bool known = token >= 0 && static_cast<size_t>(token) < logits.size();
    if (!known || std::binary_search(breakers.alone.begin(), breakers.alone.end(), token)) continue;
    double exponent = std::min(static_cast<double>(n - allowed) * log_base, kMostPenalty);
    logits[static_cast<size_t>(token)] -= params.multiplier * static_cast<float>(std::exp(exponent));
  }
}

}  // namespace millrace::sample
