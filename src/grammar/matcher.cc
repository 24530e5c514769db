#include "grammar/matcher.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/macros.h"
#include "grammar/answer_end.h"
#include "grammar/compile_budget.h"
#include "grammar/spelling.h"
#include "grammar/thrown_at.h"

namespace millrace::grammar {
namespace {

void fill_from(xgrammar::GrammarMatcher& matcher, std::span<uint32_t> mask) {
  int64_t shape = static_cast<int64_t>(mask.size());
  DLTensor tensor{};
  tensor.data = mask.data();
  tensor.device = {kDLCPU, 0};
  tensor.ndim = 1;
  tensor.dtype = {kDLInt, 32, 1};
  tensor.shape = &shape;
  matcher.FillNextTokenBitmask(&tensor);
}

// What one token of one sequence may cost: all others of its step wait for it. Masks of the generated schemas, regexes
// and grammars of tools/check/grammar_walks.py cost at most 36,180 steps with 49,152 tokens; a larger vocabulary makes
// masks dearer. 300,000 steps take some 10 ms.
CompileLimits token_limits(size_t n_vocab) {
  return {.core_ms = 250, .steps = 100'000 + 4 * static_cast<uint64_t>(n_vocab), .bytes = 256 << 20};
}

class Matcher final : public flow::TokenMatcher {
 public:
  Matcher(std::shared_ptr<const TokenTable> tokens, xgrammar::GrammarMatcher core, const Gate& gate,
          std::span<const LengthBounds> lengths, const EndCosts& ends, bool proposes,
          std::shared_ptr<Durations> mask_times)
      : tokens_(std::move(tokens)),
        core_(std::move(core)),
        gate_(gate),
        lengths_(lengths),
        end_(*tokens_, ends, !lengths.empty()),
        spelling_(*tokens_),
        inside_(gate.is_open()),
        before_(gate),
        proposes_(proposes),
        mask_times_(std::move(mask_times)) {}

  bool accept(TokenId token) override {
    bool taken = within_limits([&] { return accept_token(token); }, false);
    if (taken && !ended_) end_.accepted(tokens_->text(token), steps_.size());
    return taken;
  }

  bool accept_token(TokenId token) {
    if (ended_ || token < 0 || static_cast<size_t>(token) >= tokens_->n_vocab()) return false;
    if (!inside_) return accept_before(token);
    std::string_view ahead = std::string_view(fixed_).substr(n_fixed_);
    bool as_foreseen = ahead.starts_with(tokens_->text(token));
    if (as_foreseen) spelling_.learn(ahead, token);
    n_fixed_ = as_foreseen ? n_fixed_ + tokens_->text(token).size() : fixed_.size();
    StringGuard before = guard_;
    if (!tokens_->is_end(token)) follow(tokens_->text(token));
    if (!core_.AcceptToken(token)) {
      guard_ = before;
      return false;
    }
    ended_ = core_.IsTerminated();
    steps_.push_back({.in_core = true, .guard = before});
    return true;
  }

  void rollback(uint32_t n) override {
    if (!failure_.empty()) return;
    CHECK(n <= steps_.size(), "rollback of {} tokens, {} were accepted", n, steps_.size());
    n_fixed_ = fixed_.size();
    int n_core = 0;
    for (uint32_t i = 0; i < n; ++i) {
      Step step = steps_.back();
      steps_.pop_back();
      n_core += step.in_core ? 1 : 0;
      guard_ = step.guard;
      if (step.entered || !step.in_core) {
        inside_ = false;
        if (step.held) before_.take_back();
      }
    }
    if (n_core > 0) core_.Rollback(n_core);
    ended_ = false;
    end_.taken_back(steps_.size(), CoreView::n_rows(core_));
  }

  void fill(std::span<uint32_t> mask) override {
    Tick begin = clock_.now();
    bool filled = within_limits([&] { return fill_mask(mask), true; }, false);
    if (!filled) std::ranges::fill(mask, 0u);
    mask_times_->add(clock_.now() - begin);
  }

  void fill_mask(std::span<uint32_t> mask) {
    CHECK(mask.size() == tokens_->n_mask_words(), "mask of {} words, want {}", mask.size(), tokens_->n_mask_words());
    if (ended_) {
      std::ranges::fill(mask, 0u);
    } else if (inside_) {
      fill_inside(mask);
    } else {
      fill_before(mask);
    }
    if (size_t rest = tokens_->n_vocab() % 32; rest != 0) mask.back() &= (1u << rest) - 1;
  }

  size_t draft(std::span<TokenId> out) override {
    return within_limits([&] { return draft_tokens(out); }, size_t{0});
  }

  // The text that must come next, of which each beginning is a legal token, too: a guess, which is checked by sampling.
  size_t draft_tokens(std::span<TokenId> out) {
    constexpr size_t kWorthIt = 2;     // bytes
    constexpr size_t kTokenBytes = 8;  // of text that is looked at, for each token
    constexpr size_t kMoreBytes = 16;  // and behind the last one
    if (!proposes_ || ended_ || !inside_ || core_.IsCompleted()) return 0;
    if (n_fixed_ >= fixed_.size()) {
      fixed_ = core_.FindJumpForwardString();
      n_fixed_ = 0;
    }
    std::string_view text = std::string_view(fixed_).substr(n_fixed_);
    if (text.size() < kWorthIt) return 0;
    size_t most = out.size() * kTokenBytes + kMoreBytes;
    std::vector<TokenId> tokens = spelling_.write(text.substr(0, most), out.size(), text.size() <= most);
    std::ranges::copy(tokens, out.begin());
    return tokens.size();
  }

  bool ends_within(uint32_t n_tokens) override {
    if (ended_ || may_end_before()) return true;
    return within_limits([&] { return end_.within(n_tokens, place()); }, true);
  }

  uint32_t farthest_end() const override { return end_.farthest(gate_.after().size()); }

  void keep_ending(std::span<uint32_t> mask, uint32_t n_tokens) override {
    if (ended_) return;
    auto keep = [&] {
      may_end_before() ? forbid_late_beginnings(mask, n_tokens) : end_.keep(mask, n_tokens, place());
      return true;
    };
    (void)within_limits(keep, true);
  }

  bool ended() const override { return ended_; }

  std::string failure() const override { return failure_; }

 private:
  struct Step {
    bool in_core = false;  // one step of the core
    bool entered = false;  // the constraint began inside this token
    bool held = false;     // it is in before_
    StringGuard guard;     // before it
  };

  // What the core throws, and a token that costs too much, end here, as the outcome that ends one sequence alone. The
  // core is then in the middle of something and is not asked again.
  template <class Work, class Outcome>
  Outcome within_limits(const Work& work, Outcome if_thrown) {
    if (!failure_.empty()) return if_thrown;
    CompileLimits limits = token_limits(tokens_->n_vocab());
    CompileBudget budget(limits);
    try {
      return work();
    } catch (const OverBudget&) {
      failure_ = fmt::format("the constraint takes more work for one token than {} steps", limits.steps);
    } catch (const std::exception& error) {
      LOG(LogLevel::kError, "the grammar core failed on an answer: {}", thrown_at(error.what()));
      failure_ = "the constraint cannot be followed behind this text";
    }
    return if_thrown;
  }

  bool may_end_before() const { return !inside_ && gate_.lazy(); }

  AnswerPlace place() {
    std::string_view before;
    if (!inside_) {
      const std::string_view after = gate_.after();
      const std::string_view seen = before_.text();
      size_t n_seen = std::min(seen.size(), after.size() - 1);
      while (!seen.ends_with(after.substr(0, n_seen))) --n_seen;
      before = after.substr(n_seen);
    }
    return {core_, guard_, before, steps_.size(), follow_};
  }

  // The guard sees a text that the core is about to take.
  void follow(std::string_view text) {
    if (lengths_.empty()) return;
    guard_.advance(text, [&](size_t n_bytes) { return bounds_behind(text.substr(0, n_bytes)); });
  }

  // The bounds of the string that opens with the last byte of a text that may come next.
  LengthBounds bounds_behind(std::string_view text) {
    LengthBounds all;
    if (!core_.AcceptString(std::string(text))) return all;
    if (core_.AcceptString(std::string(1, static_cast<char>(kMarkerByte)))) {
      join_bounds(0, 0, all);
      core_.Rollback(1);
    }
    core_.Rollback(1);
    return all;
  }

  // Every marker that the core takes from here on.
  void join_bounds(size_t index, int n_digits, LengthBounds& all) {
    if (n_digits == kMarkerDigits) {
      if (index >= lengths_.size()) return;
      all.min = std::max(all.min, lengths_[index].min);
      all.max = std::min(all.max, lengths_[index].max);
      return;
    }
    for (size_t digit = 0; digit < kMarkerBase; ++digit) {
      if (!core_.AcceptString(std::string(1, static_cast<char>(kMarkerDigit + digit)))) continue;
      join_bounds(index * kMarkerBase + digit, n_digits + 1, all);
      core_.Rollback(1);
    }
  }

  void cut_lengths(std::span<uint32_t> mask) {
    const TokenLengths& lengths = tokens_->lengths();
    lengths.cut_markers(mask);
    auto allowed = [&](TokenId token) { return has_bit(mask, token); };
    auto forbid = [&](TokenId token) { clear_bit(mask, token); };
    if (guard_.in_string() && !guard_.escaped()) {
      lengths.cut(mask, guard_.room(), guard_.need());
      return;
    }
    if (guard_.in_string()) {  // behind a backslash: few tokens are left
      for (size_t i = 0; i < tokens_->n_vocab(); ++i) {
        auto token = static_cast<TokenId>(i);
        if (allowed(token) && !keeps_lengths(tokens_->text(token), 0, {})) forbid(token);
      }
      return;
    }
    for (const auto& [prefix, tokens] : lengths.openers()) {
      if (std::ranges::none_of(tokens, allowed)) continue;
      LengthBounds bounds = bounds_behind(prefix);
      for (TokenId token : tokens) {
        if (allowed(token) && !keeps_lengths(tokens_->text(token), prefix.size(), bounds)) forbid(token);
      }
    }
  }

  // known: the bounds of the string that opens at byte n_known.
  bool keeps_lengths(std::string_view text, size_t n_known, const LengthBounds& known) {
    return guard_.allows(
        text, [&](size_t n_bytes) { return n_bytes == n_known ? known : bounds_behind(text.substr(0, n_bytes)); });
  }

  // Free text up to the gate; what a token has beyond it belongs to the constraint.
  bool accept_before(TokenId token) {
    Step step{.guard = guard_};
    if (tokens_->is_end(token)) {
      if (!gate_.lazy()) return false;
      ended_ = true;
      steps_.push_back(step);
      return true;
    }
    const std::string_view bytes = tokens_->text(token);
    const size_t begin = before_.begin_with(token, bytes);
    if (begin != std::string::npos) {
      const std::string rest = behind(begin, bytes);
      if (!rest.empty()) {
        follow(rest);
        if (!core_.AcceptString(rest)) {
          guard_ = step.guard;
          return false;
        }
        step.in_core = true;
      }
      step.entered = inside_ = true;
    }
    before_.take(bytes);
    step.held = true;
    steps_.push_back(step);
    return true;
  }

  // What the text before the constraint and these bytes have from a place on.
  std::string behind(size_t begin, std::string_view bytes) const {
    const std::string& seen = before_.text();
    if (begin >= seen.size()) return std::string(bytes.substr(begin - seen.size()));
    return seen.substr(begin).append(bytes);
  }

  // Everything but tokens in which the constraint would begin wrongly; and but the end, unless it is lazy: an answer of
  // reasoning alone would not satisfy the constraint.
  void fill_before(std::span<uint32_t> mask) {
    std::ranges::fill(mask, ~0u);
    if (!gate_.lazy()) {
      for (TokenId token : tokens_->end_tokens()) clear_bit(mask, token);
    }
    std::map<size_t, std::vector<uint32_t>> masks;  // of the constraint, where it has begun so many bytes ago
    before_.candidates(*tokens_, [&](TokenId token) {
      if (tokens_->is_end(token) || !has_bit(mask, token)) return;
      const std::string_view bytes = tokens_->text(token);
      const size_t begin = before_.begin_with(token, bytes);
      if (begin == std::string::npos || may_begin(token, begin, masks)) return;
      clear_bit(mask, token);
    });
  }

  // Most of what a constraint may begin with is a token itself, or a beginning of it in the text and a token.
  bool may_begin(TokenId token, size_t begin, std::map<size_t, std::vector<uint32_t>>& masks) {
    const std::string& seen = before_.text();
    std::string_view bytes = tokens_->text(token);
    const size_t n_before = begin < seen.size() ? seen.size() - begin : 0;
    if (begin > seen.size()) bytes.remove_prefix(begin - seen.size());
    if (n_before == 0 && bytes.empty()) return true;
    const TokenId as_token = tokens_->token_of(bytes);
    if (as_token != kNoToken) {
      std::vector<uint32_t>& mask = masks[n_before];
      if (mask.empty()) mask = mask_behind(seen.substr(seen.size() - n_before));
      return has_bit(mask, as_token);
    }
    if (!accept_before(token)) return false;
    rollback(1);
    return true;
  }

  // The mask behind a text with which the constraint begins.
  std::vector<uint32_t> mask_behind(const std::string& text) {
    std::vector<uint32_t> mask(tokens_->n_mask_words(), 0u);
    const StringGuard guard = guard_;
    follow(text);
    if (text.empty() || core_.AcceptString(text)) {
      fill_inside(mask);
      if (!text.empty()) core_.Rollback(1);
    }
    guard_ = guard;
    return mask;
  }

  void fill_inside(std::span<uint32_t> mask) {
    fill_from(core_, mask);
    if (!lengths_.empty()) cut_lengths(mask);
  }

  // Those with which the constraint would begin too late to end within so many tokens.
  void forbid_late_beginnings(std::span<uint32_t> mask, uint32_t n_tokens) {
    std::vector<TokenId> tried;
    before_.candidates(*tokens_, [&](TokenId token) {
      if (has_bit(mask, token) && !tokens_->is_end(token)) tried.push_back(token);
    });
    for (TokenId token : tried) {
      if (!accept_before(token)) continue;
      end_.accepted(tokens_->text(token), steps_.size());
      if (inside_ && !end_.within(n_tokens - 1, place())) clear_bit(mask, token);
      rollback(1);
    }
  }

  static bool has_bit(std::span<const uint32_t> mask, TokenId token) {
    const auto bit = static_cast<size_t>(token);
    return (mask[bit / 32] >> (bit % 32) & 1) != 0;
  }
  static void clear_bit(std::span<uint32_t> mask, TokenId token) {
    const auto bit = static_cast<size_t>(token);
    mask[bit / 32] &= ~(1u << (bit % 32));
  }

  std::shared_ptr<const TokenTable> tokens_;
  xgrammar::GrammarMatcher core_;
  const Gate& gate_;
  std::span<const LengthBounds> lengths_;
  const std::function<void(StringGuard& guard, char byte)> follow_ = [this](StringGuard& guard, char byte) {
    if (lengths_.empty()) return;
    std::string_view text(&byte, 1);
    guard.advance(text, [&](size_t) { return bounds_behind(text); });
  };
  StringGuard guard_;  // follows strings where lengths_ has something
  std::vector<Step> steps_;
  std::string fixed_;  // what the core said must come next; from n_fixed_ on it still holds
  size_t n_fixed_ = 0;
  AnswerEnd end_;
  Spelling spelling_;
  bool inside_ = true;
  Gate::Place before_;  // the text before the constraint
  bool ended_ = false;
  std::string failure_;  // the core failed, or a token cost too much; empty: neither
  bool proposes_;
  std::shared_ptr<Durations> mask_times_;
  SystemClock clock_;
};

}  // namespace

std::unique_ptr<flow::TokenMatcher> CompiledGrammar::matcher() const {
  xgrammar::GrammarMatcher core(compiled_);
  CoreView::use(core, classes_.get());
  return std::make_unique<Matcher>(tokens_, std::move(core), *gate_, lengths_, ends_, proposes_, mask_times_);
}

bool CompiledGrammar::begins_with(const std::string& text) const {
  return xgrammar::GrammarMatcher(compiled_).AcceptString(text);
}

}  // namespace millrace::grammar
