#include "grammar/answer_end.h"

#include <xgrammar/xgrammar.h>

#include <algorithm>

#include "grammar/matcher.h"

namespace millrace::grammar {
namespace {

constexpr size_t kMostBytes = 2048;       // of a text that ends an answer: some ms to find
constexpr uint64_t kMostPlaces = 20'000;  // of the parser, looked at while it is found

}  // namespace

AnswerEnd::AnswerEnd(const TokenTable& tokens, const EndCosts& costs, bool bounded)
    : tokens_(tokens), costs_(costs), nearest_(costs), bounded_(bounded) {}

uint32_t AnswerEnd::farthest(size_t n_before) const {
  uint32_t n_tokens = costs_.farthest();
  return n_tokens >= kNoEnd ? UINT32_MAX : n_tokens + static_cast<uint32_t>(n_before);
}

bool AnswerEnd::within(uint32_t n_tokens, const AnswerPlace& place) {
  const Rest* there = known(place.n_tokens);
  if (there != nullptr && there->way->found) return there->way->n_tokens[there->at] < n_tokens;
  if (cost_at_ != place.n_tokens) {
    cost_ = place.parser.IsCompleted() ? EndCost{0, 0} : nearest_.next(place.parser, place.guard).cost;
    cost_at_ = place.n_tokens;
  }
  if (cost_.n_bytes >= kNoEnd) return true;
  if (place.before.size() + cost_.n_tokens < n_tokens) return true;
  if (place.before.size() + cost_.n_bytes > uint64_t{n_tokens} * tokens_.longest()) return false;
  Rest rest = rest_of(place);
  return rest.way->found && rest.way->n_tokens[rest.at] < n_tokens;
}

void AnswerEnd::keep(std::span<uint32_t> mask, uint32_t n_tokens, const AnswerPlace& place) {
  Rest rest = rest_of(place);
  if (!rest.way->found) return;
  std::vector<uint32_t> kept(mask.size(), 0);
  auto keep_one = [&](TokenId token) { kept[static_cast<size_t>(token) / 32] |= 1u << (token % 32); };
  std::string_view text = std::string_view(rest.way->text).substr(rest.at);
  if (text.empty()) {
    for (TokenId token : tokens_.end_tokens()) keep_one(token);
  }
  tokens_.beginnings(text, [&](TokenId token, size_t n_bytes) {
    if (usable(token) && rest.way->n_tokens[rest.at + n_bytes] + 1 < n_tokens) keep_one(token);
  });
  for (size_t i = 0; i < mask.size(); ++i) mask[i] &= kept[i];
}

void AnswerEnd::accepted(std::string_view text, size_t n_tokens) {
  cost_at_ = kNowhere;
  for (Way& way : ways_) {
    if (way.places.empty() || way.places.back().first + 1 != n_tokens || text.empty()) continue;
    size_t at = way.places.back().second;
    if (std::string_view(way.text).substr(at).starts_with(text)) way.places.emplace_back(n_tokens, at + text.size());
  }
}

void AnswerEnd::taken_back(size_t n_tokens, int32_t n_rows) {
  cost_at_ = kNowhere;
  for (Way& way : ways_) {
    while (!way.places.empty() && way.places.back().first > n_tokens) way.places.pop_back();
  }
  nearest_.forget_rows(n_rows);
}

const AnswerEnd::Rest* AnswerEnd::known(size_t n_tokens) {
  for (const Way& way : ways_) {
    if (way.places.empty() || way.places.back().first != n_tokens) continue;
    rest_ = {&way, way.places.back().second};
    return &rest_;
  }
  return nullptr;
}

AnswerEnd::Rest AnswerEnd::rest_of(const AnswerPlace& place) {
  if (const Rest* rest = known(place.n_tokens)) return *rest;
  ways_[1] = std::move(ways_[0]);
  Way& way = ways_[0];
  way = {};
  way.found = find_text(place, way.text);
  if (!way.found) way.text.clear();
  way.places = {{place.n_tokens, 0}};
  count_tokens(way);
  return {&way, 0};
}

bool AnswerEnd::find_text(const AnswerPlace& place, std::string& text) {
  text = place.before;
  StringGuard guard = place.guard;
  int32_t n_rows = CoreView::n_rows(place.parser);
  uint64_t n_looked = nearest_.n_looked();
  int n_steps = 0;
  bool found = place.parser.IsCompleted();
  while (!found && text.size() < kMostBytes && nearest_.n_looked() - n_looked < kMostPlaces) {
    NearestEnd::Next next = nearest_.next(place.parser, guard);
    if (next.cost.n_bytes >= kNoEnd) break;
    auto byte = static_cast<char>(next.byte);
    place.follow(guard, byte);
    if (!place.parser.AcceptString(std::string(1, byte))) break;
    ++n_steps;
    text += byte;
    found = place.parser.IsCompleted();
  }
  if (n_steps > 0) place.parser.Rollback(n_steps);
  nearest_.forget_rows(n_rows);
  return found;
}

// From the end to the beginning: the fewest tokens of a rest are one more than those of the best rest of it.
void AnswerEnd::count_tokens(Way& way) const {
  way.n_tokens.assign(way.text.size() + 1, kNoEnd);
  way.n_tokens.back() = 0;
  for (size_t at = way.text.size(); at-- > 0;) {
    uint32_t& best = way.n_tokens[at];
    tokens_.beginnings(std::string_view(way.text).substr(at), [&](TokenId token, size_t n_bytes) {
      if (usable(token)) best = std::min(best, way.n_tokens[at + n_bytes] + 1);
    });
  }
}

// Tokens that close one string and put something into a further one are never allowed in the first.
bool AnswerEnd::usable(TokenId token) const {
  return !tokens_.is_end(token) && !(bounded_ && tokens_.lengths().reopens(token));
}

}  // namespace millrace::grammar
