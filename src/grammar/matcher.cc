#include "grammar/matcher.h"

#include <fmt/core.h>

#include <algorithm>
#include <span>

#include "base/clock.h"
#include "base/macros.h"
#include "grammar/answer_end.h"
#include "grammar/compile_budget.h"
#include "grammar/spelling.h"
#include "grammar/thrown_at.h"

namespace millrace::grammar {
namespace {

std::vector<std::string> texts_for_core(const Vocabulary& vocabulary) {
  std::vector<std::string> out = vocabulary.tokens;
  for (TokenId token : vocabulary.specials) out[static_cast<size_t>(token)].clear();
  return out;
}

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
  Matcher(std::shared_ptr<const TokenTable> tokens, xgrammar::GrammarMatcher core, std::string after,
          std::span<const LengthBounds> lengths, const EndCosts& ends, bool proposes,
          std::shared_ptr<Durations> mask_times)
      : tokens_(std::move(tokens)),
        core_(std::move(core)),
        after_(std::move(after)),
        lengths_(lengths),
        end_(*tokens_, ends, !lengths.empty()),
        spelling_(*tokens_),
        inside_(after_.empty()),
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
        seen_.resize(step.held);
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
      fill_from(core_, mask);
      if (!lengths_.empty()) cut_lengths(mask);
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
    if (ended_) return true;
    return within_limits([&] { return end_.within(n_tokens, place()); }, true);
  }

  uint32_t farthest_end() const override { return end_.farthest(after_.size()); }

  void keep_ending(std::span<uint32_t> mask, uint32_t n_tokens) override {
    if (ended_) return;
    (void)within_limits([&] { return end_.keep(mask, n_tokens, place()), true; }, true);
  }

  bool ended() const override { return ended_; }

  std::string failure() const override { return failure_; }

 private:
  struct Step {
    bool in_core = false;  // one step of the core
    bool entered = false;  // the constraint began inside this token
    size_t held = 0;       // bytes of seen_ before it
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

  AnswerPlace place() {
    std::string_view before;
    if (!inside_) {
      size_t n_seen = std::min(seen_.size(), after_.size() - 1);
      while (!seen_.ends_with(std::string_view(after_).substr(0, n_seen))) --n_seen;
      before = std::string_view(after_).substr(n_seen);
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
    auto allowed = [&](TokenId token) {
      auto bit = static_cast<size_t>(token);
      return (mask[bit / 32] >> (bit % 32) & 1) != 0;
    };
    auto forbid = [&](TokenId token) {
      auto bit = static_cast<size_t>(token);
      mask[bit / 32] &= ~(1u << (bit % 32));
    };
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

  // Free text up to `after_`; what a token has beyond it belongs to the constraint.
  bool accept_before(TokenId token) {
    if (tokens_->is_end(token)) return false;
    Step step{.held = seen_.size(), .guard = guard_};
    seen_ += tokens_->text(token);
    size_t from = step.held > after_.size() ? step.held - after_.size() : 0;
    size_t found = seen_.find(after_, from);
    if (found != std::string::npos) {
      std::string rest = seen_.substr(found + after_.size());
      if (!rest.empty()) {
        follow(rest);
        if (!core_.AcceptString(rest)) {
          guard_ = step.guard;
          seen_.resize(step.held);
          return false;
        }
        step.in_core = true;
      }
      step.entered = inside_ = true;
    }
    steps_.push_back(step);
    return true;
  }

  // Everything but the end: an answer of reasoning alone would not satisfy the constraint. Tokens in which the
  // constraint would begin wrongly are found by trying those few that hold the last byte of `after_`.
  void fill_before(std::span<uint32_t> mask) {
    std::ranges::fill(mask, ~0u);
    auto forbid = [&](TokenId token) {
      auto bit = static_cast<size_t>(token);
      mask[bit / 32] &= ~(1u << (bit % 32));
    };
    for (TokenId token : tokens_->end_tokens()) forbid(token);
    for (TokenId token : tokens_->with_byte(after_.back())) {
      if (tokens_->is_end(token)) continue;
      if (accept_before(token)) {
        rollback(1);
      } else {
        forbid(token);
      }
    }
  }

  std::shared_ptr<const TokenTable> tokens_;
  xgrammar::GrammarMatcher core_;
  std::string after_;
  std::span<const LengthBounds> lengths_;
  const std::function<void(StringGuard& guard, char byte)> follow_ = [this](StringGuard& guard, char byte) {
    if (lengths_.empty()) return;
    std::string_view text(&byte, 1);
    guard.advance(text, [&](size_t) { return bounds_behind(text); });
  };
  StringGuard guard_;  // follows strings where lengths_ has something
  std::string seen_;   // text before the constraint
  std::vector<Step> steps_;
  std::string fixed_;  // what the core said must come next; from n_fixed_ on it still holds
  size_t n_fixed_ = 0;
  AnswerEnd end_;
  Spelling spelling_;
  bool inside_ = true;
  bool ended_ = false;
  std::string failure_;  // the core failed, or a token cost too much; empty: neither
  bool proposes_;
  std::shared_ptr<Durations> mask_times_;
  SystemClock clock_;
};

}  // namespace

TokenTable::TokenTable(Vocabulary vocabulary)
    : vocabulary_(std::move(vocabulary)),
      info_(texts_for_core(vocabulary_), xgrammar::VocabType::RAW, static_cast<int>(vocabulary_.tokens.size()),
            std::vector<int32_t>(vocabulary_.end_tokens.begin(), vocabulary_.end_tokens.end()), false) {
  std::vector<bool> special(vocabulary_.tokens.size(), false);
  for (TokenId token : vocabulary_.specials) special[static_cast<size_t>(token)] = true;
  for (size_t i = 0; i < vocabulary_.tokens.size(); ++i) {
    const std::string& bytes = vocabulary_.tokens[i];
    auto id = static_cast<TokenId>(i);
    for (char c : bytes) {
      std::vector<TokenId>& holders = holders_[static_cast<unsigned char>(c)];
      if (holders.empty() || holders.back() != id) holders.push_back(id);
    }
    if (special[i] || bytes.empty()) continue;
    sorted_.emplace_back(bytes, id);
    if (bytes.size() == 1 && !is_end(id)) bytes_.set(static_cast<unsigned char>(bytes[0]));
    longest_ = std::max(longest_, bytes.size());
  }
  std::ranges::sort(sorted_);
  std::vector<std::string_view> pieces;
  for (const auto& [bytes, id] : sorted_) {
    if (!is_end(id) && std::ranges::count(bytes, '"') < 2) pieces.push_back(bytes);
  }
  pieces_ = std::make_unique<ShortTexts>(pieces);
}

bool TokenTable::is_end(TokenId token) const {
  return std::ranges::find(vocabulary_.end_tokens, token) != vocabulary_.end_tokens.end();
}

std::string_view TokenTable::text(TokenId token) const {
  auto index = static_cast<size_t>(token);
  return index < vocabulary_.tokens.size() ? std::string_view(vocabulary_.tokens[index]) : std::string_view();
}

// A tokenizer that puts a space before every text is not asked: then the longest token that fits, and so on.
std::vector<TokenId> TokenTable::write(std::string_view text) const {
  std::vector<TokenId> out;
  if (vocabulary_.encode) out = vocabulary_.encode(text);
  std::string written;
  for (TokenId token : out) written += this->text(token);
  if (written == text) return out;
  out.clear();
  while (!text.empty()) {
    size_t n = std::min(text.size(), longest_);
    TokenId best = token_of(text.substr(0, n));
    while (n > 1 && best == kNoToken) best = token_of(text.substr(0, --n));
    if (best == kNoToken) return {};
    out.push_back(best);
    text.remove_prefix(n);
  }
  return out;
}

TokenId TokenTable::token_of(std::string_view text) const {
  auto at = std::ranges::lower_bound(sorted_, text, {}, &std::pair<std::string_view, TokenId>::first);
  return at != sorted_.end() && at->first == text ? at->second : kNoToken;
}

void TokenTable::beginnings(std::string_view text,
                            const std::function<void(TokenId token, size_t n_bytes)>& found) const {
  auto first = sorted_.begin();
  auto last = sorted_.end();
  for (size_t n = 1; n <= std::min(text.size(), longest_); ++n) {
    auto byte_at = [&](const std::pair<std::string_view, TokenId>& token) {
      return token.first.size() < n ? -1 : int{static_cast<unsigned char>(token.first[n - 1])};
    };
    int byte = static_cast<unsigned char>(text[n - 1]);
    first = std::ranges::lower_bound(first, last, byte, {}, byte_at);
    last = std::ranges::upper_bound(first, last, byte, {}, byte_at);
    if (first == last) return;
    for (auto one = first; one != last && one->first.size() == n; ++one) found(one->second, n);
  }
}

const TokenLengths& TokenTable::lengths() const {
  std::call_once(lengths_made_, [&] { lengths_ = std::make_unique<TokenLengths>(vocabulary_.tokens); });
  return *lengths_;
}

// What it takes grows with the vocabulary and with the grammar, and is not counted.
std::shared_ptr<const TokenClasses> TokenTable::classes(const xgrammar::CompiledGrammar& grammar) const {
  CompileBudget::Pause uncounted;
  if (!leaves_many(grammar) || longest_ > TokenClasses::kLongest) return nullptr;
  ByteClasses class_of = byte_classes(grammar);
  std::lock_guard lock(classes_mutex_);
  std::erase_if(classes_, [](const auto& one) { return one.second.expired(); });
  std::shared_ptr<const TokenClasses> known = classes_[class_of].lock();
  if (known != nullptr) return known;
  known = std::make_shared<const TokenClasses>(info_.GetSortedDecodedVocab(), n_vocab(), class_of);
  classes_[class_of] = known;
  return known;
}

std::unique_ptr<flow::TokenMatcher> CompiledGrammar::matcher() const {
  xgrammar::GrammarMatcher core(compiled_);
  CoreView::use(core, classes_.get());
  return std::make_unique<Matcher>(tokens_, std::move(core), after_, lengths_, ends_, proposes_, mask_times_);
}

}  // namespace millrace::grammar
