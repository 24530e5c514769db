#include "engine/beam_search.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/macros.h"

namespace millrace::engine {

BeamSearch::BeamSearch(BeamRules rules) : rules_(std::move(rules)), beams_(1) {}

void BeamSearch::answer(uint32_t beam, std::span<const flow::TokenLogprob> next) {
  CHECK(beam < beams_.size() && !next.empty(), "an answer of beam {}, {} run", beam, beams_.size());
  beams_[beam].next.assign(next.begin(), next.end());
}

bool BeamSearch::all_answered() const {
  return std::ranges::none_of(beams_, [](const Beam& beam) { return beam.next.empty(); });
}

bool BeamSearch::ends(TokenId token) const {
  return n_tokens_ >= rules_.min_tokens && std::ranges::find(rules_.end_tokens, token) != rules_.end_tokens.end();
}

void BeamSearch::finish(const Child& child, std::span<const TokenId> outputs) {
  auto length = static_cast<float>(n_tokens_ + 1);
  Hypothesis done{.tokens = {outputs.begin(), outputs.end()},
                  .score = child.score / std::pow(length, rules_.length_penalty)};
  done.tokens.push_back(child.token);
  auto better = [](const Hypothesis& a, const Hypothesis& b) { return a.score > b.score; };
  finished_.insert(std::upper_bound(finished_.begin(), finished_.end(), done, better), std::move(done));
  if (finished_.size() > rules_.width) finished_.pop_back();
}

// Can a running beam still be better than the worst finished one? A guess where longer is not worse.
bool BeamSearch::can_improve(float best_running) const {
  if (finished_.size() < rules_.width) return true;
  bool longest = rules_.stop == flow::BeamStop::kNever && rules_.length_penalty > 0.0f;
  auto length = static_cast<float>(longest ? rules_.max_tokens : n_tokens_);
  return best_running / std::pow(length, rules_.length_penalty) > finished_.back().score;
}

bool BeamSearch::advance(std::span<const std::span<const TokenId>> outputs, std::vector<Child>& out) {
  std::vector<Child> candidates;
  for (uint32_t b = 0; b < beams_.size(); ++b) {
    for (const flow::TokenLogprob& next : beams_[b].next) {
      bool too_soon =
          n_tokens_ < rules_.min_tokens && std::ranges::find(rules_.end_tokens, next.token) != rules_.end_tokens.end();
      if (!too_soon) candidates.push_back({b, next.token, beams_[b].score + next.logprob});
    }
  }
  std::ranges::stable_sort(candidates, [](const Child& a, const Child& b) { return a.score > b.score; });
  candidates.resize(std::min<size_t>(candidates.size(), flow::beam_candidates(rules_.width, rules_.end_tokens.size())));
  bool last = n_tokens_ + 1 >= rules_.max_tokens;
  bool closed = !may_improve_ || (rules_.stop == flow::BeamStop::kFull && finished_.size() == rules_.width);
  size_t n_before = out.size();
  for (size_t i = 0; i < candidates.size(); ++i) {
    const Child& child = candidates[i];
    if (last || ends(child.token)) {
      if (i < rules_.width && !closed) finish(child, outputs[child.parent]);
    } else if (out.size() - n_before < rules_.width) {
      out.push_back(child);
    }
  }
  ++n_tokens_;
  beams_.clear();
  for (size_t i = n_before; i < out.size(); ++i) beams_.push_back({.score = out[i].score, .next = {}});
  if (beams_.empty()) return false;
  may_improve_ = may_improve_ && can_improve(beams_[0].score);
  bool full = rules_.stop == flow::BeamStop::kFull && finished_.size() == rules_.width;
  return may_improve_ && !full;
}

}  // namespace millrace::engine
