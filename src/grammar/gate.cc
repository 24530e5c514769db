#include "grammar/gate.h"

#include <fmt/core.h>

#include <algorithm>
#include <bitset>
#include <unordered_map>
#include <utility>

#include "base/macros.h"
#include "grammar/compile_budget.h"
#include "grammar/token_table.h"

namespace millrace::grammar {
namespace {

constexpr size_t kMostKept = 64;      // answers of openers()
constexpr size_t kMostSearches = 32;  // tokens that may be taken back without searching the text again
// What it takes to look at all tokens from one place of a text: once for a constraint and place, some 10 ms.
constexpr CompileLimits kOpenerLimits = {.core_ms = 250, .steps = 400'000, .bytes = 64 << 20};

}  // namespace

Result<std::unique_ptr<Gate>> Gate::read(const flow::ConstraintSpec& spec, const Limits& limits) {
  auto out = std::make_unique<Gate>();
  out->lazy_ = !spec.triggers.empty();
  if (!out->lazy_ && !spec.after.empty()) out->texts_.push_back(spec.after);
  const RegexOptions options = {.max_bytes = limits[LimitId::kRegexBytes],
                                .max_nesting = limits[LimitId::kRegexNesting]};
  for (const flow::Trigger& trigger : spec.triggers) {
    switch (trigger.kind) {
      case flow::TriggerKind::kToken:
        out->tokens_.push_back(trigger.token);
        break;
      case flow::TriggerKind::kWord:
        out->texts_.push_back(trigger.text);
        break;
      case flow::TriggerKind::kPattern:
      case flow::TriggerKind::kWholePattern: {
        const bool whole = trigger.kind == flow::TriggerKind::kWholePattern;
        auto pattern = TriggerPattern::read(trigger.text, whole, options);
        if (!pattern.ok()) {
          return Error{ErrorCode::kInvalidGrammar,
                       fmt::format("the trigger \"{}\": {}", quote_for_message(trigger.text), pattern.error().message),
                       ""};
        }
        out->patterns_.push_back(std::move(pattern).value());
      }
    }
  }
  for (const std::string& text : out->texts_) out->longest_ = std::max(out->longest_, text.size());
  return out;
}

Gate::Place::Place(const Gate& gate) : gate_(&gate) {
  for (const TriggerPattern& pattern : gate.patterns_) states_.push_back(pattern.start());
}

size_t Gate::Place::begin_with(TokenId token, std::string_view bytes) {
  const size_t n_old = text_.size();
  size_t begin = std::string::npos;
  if (std::ranges::find(gate_->tokens_, token) != gate_->tokens_.end()) begin = n_old;
  text_ += bytes;
  const size_t from = n_old > gate_->longest_ ? n_old - gate_->longest_ : 0;
  for (const std::string& text : gate_->texts_) {
    const size_t found = text_.find(text, from);
    if (found == std::string::npos || found + text.size() <= n_old) continue;
    begin = std::min(begin, gate_->lazy_ ? found : found + text.size());
  }
  text_.resize(n_old);
  return gate_->patterns_.empty() ? begin : std::min(begin, first_pattern(bytes));
}

size_t Gate::Place::first_pattern(std::string_view bytes) {
  size_t begin = std::string::npos;
  for (size_t i = 0; i < states_.size(); ++i) {
    const TriggerPattern& pattern = gate_->patterns_[i];
    TriggerPattern::State state = states_[i];
    pattern.advance(state, bytes);
    if (!pattern.found(state)) continue;
    TriggerPattern::Search search = searched()[i];
    search.advance(bytes);
    const std::optional<size_t> found = search.begin();
    CHECK(found.has_value(), "a trigger was found in {} bytes, and nowhere in them", search.n_bytes());
    begin = std::min(begin, *found);
  }
  return begin;
}

// Not counted: how much of the text is looked at again depends on what was taken back.
const Gate::Place::Searches& Gate::Place::searched() {
  CompileBudget::Pause uncounted;
  const bool known = !searches_.empty() && searches_.back().front().n_bytes() == text_.size();
  if (known) return searches_.back();
  Searches next;
  if (searches_.empty()) {
    for (const TriggerPattern& pattern : gate_->patterns_) next.emplace_back(pattern);
  } else {
    next = searches_.back();
  }
  for (TriggerPattern::Search& search : next) search.advance(std::string_view(text_).substr(search.n_bytes()));
  if (searches_.size() == kMostSearches) searches_.erase(searches_.begin());
  searches_.push_back(std::move(next));
  return searches_.back();
}

void Gate::Place::take(std::string_view bytes) {
  taken_.push_back({text_.size(), states_});
  text_ += bytes;
  for (size_t i = 0; i < states_.size(); ++i) gate_->patterns_[i].advance(states_[i], bytes);
}

void Gate::Place::take_back() {
  text_.resize(taken_.back().n_bytes);
  states_ = std::move(taken_.back().states);
  taken_.pop_back();
  while (!searches_.empty() && searches_.back().front().n_bytes() > text_.size()) searches_.pop_back();
}

void Gate::Place::candidates(const TokenTable& tokens, const std::function<void(TokenId)>& found) {
  for (TokenId token : gate_->tokens_) found(token);
  std::bitset<256> tried;
  for (const std::string& text : gate_->texts_) {
    const auto last = static_cast<unsigned char>(text.back());
    if (tried.test(last)) continue;
    tried.set(last);
    for (TokenId token : tokens.with_byte(text.back())) found(token);
  }
  for (size_t i = 0; i < states_.size(); ++i) {
    const auto openers = gate_->openers(i, states_[i], tokens);
    if (openers->too_many) throw OverBudget();
    for (TokenId token : openers->tokens) found(token);
  }
}

// The same from the same place, whoever asked first.
std::shared_ptr<const Gate::Openers> Gate::openers(size_t pattern, const TriggerPattern::State& state,
                                                   const TokenTable& tokens) const {
  CompileBudget::Pause uncounted;
  const std::pair key(pattern, state);
  {
    std::lock_guard lock(mutex_);
    const auto known = openers_.find(key);
    if (known != openers_.end()) return known->second;
  }
  auto made = std::make_shared<const Openers>(find_openers(patterns_[pattern], state, tokens));
  std::lock_guard lock(mutex_);
  if (openers_.size() == kMostKept) openers_.clear();
  openers_.emplace(key, made);
  return made;
}

// Through the vocabulary by text, so that what tokens have in common is followed once, and places of the pattern that
// were left by a byte are not left by it again.
Gate::Openers Gate::find_openers(const TriggerPattern& pattern, const TriggerPattern::State& state,
                                 const TokenTable& tokens) {
  Openers out;
  CompileBudget budget(kOpenerLimits);
  try {
    std::vector<TriggerPattern::State> states = {state};
    std::vector<bool> opens = {pattern.found(state)};
    std::map<TriggerPattern::State, uint32_t> numbers = {{state, 0}};
    std::unordered_map<uint64_t, uint32_t> next_of;
    auto step = [&](uint32_t from, char byte) {
      const uint64_t key = uint64_t{from} << 8 | static_cast<unsigned char>(byte);
      if (const auto known = next_of.find(key); known != next_of.end()) return known->second;
      TriggerPattern::State next = states[from];
      pattern.advance(next, std::string_view(&byte, 1));
      const auto [at, is_new] = numbers.emplace(next, static_cast<uint32_t>(states.size()));
      if (is_new) {
        opens.push_back(pattern.found(next));
        states.push_back(std::move(next));
      }
      return next_of.emplace(key, at->second).first->second;
    };
    std::vector<uint32_t> path = {0};  // [1 + bytes of the last token]
    std::string_view last;
    auto look_at = [&](std::string_view bytes, TokenId token) {
      const size_t most = std::min(last.size(), bytes.size());
      const auto same =
          static_cast<size_t>(std::mismatch(bytes.begin(), bytes.begin() + most, last.begin()).first - bytes.begin());
      path.resize(same + 1);
      for (char byte : bytes.substr(same)) path.push_back(step(path.back(), byte));
      last = bytes;
      if (opens[path.back()]) out.tokens.push_back(token);
    };
    for (const auto& [bytes, token] : tokens.sorted()) look_at(bytes, token);
    for (TokenId token : tokens.specials()) look_at(tokens.text(token), token);
  } catch (const OverBudget&) {
    out = {.too_many = true};
  }
  return out;
}

}  // namespace millrace::grammar
