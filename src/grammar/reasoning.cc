#include "grammar/reasoning.h"

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>

#include "base/macros.h"
#include "text/tokenizer.h"

namespace millrace::grammar {
namespace {

size_t mask_words(size_t n_vocab) { return (n_vocab + 31) / 32; }

void allow(std::span<uint32_t> mask, TokenId token) {
  auto bit = static_cast<size_t>(token);
  if (token >= 0 && bit / 32 < mask.size()) mask[bit / 32] |= 1u << (bit % 32);
}

void forbid(std::span<uint32_t> mask, TokenId token) {
  auto bit = static_cast<size_t>(token);
  if (token >= 0 && bit / 32 < mask.size()) mask[bit / 32] &= ~(1u << (bit % 32));
}

// What all sequences of a request share.
struct Shared {
  std::shared_ptr<const flow::Constraint> inner;
  ReasoningBlock block;
  const text::Tokenizer* tokenizer;
  // tokens that hold the end of the closing tag and more: behind them the inner constraint would begin inside a token
  std::vector<TokenId> across;

  std::string_view text(TokenId token) const {
    bool known = token >= 0 && static_cast<size_t>(token) < tokenizer->n_vocab();
    return known ? std::string_view(tokenizer->token_bytes(token)) : std::string_view();
  }
  bool is_end(TokenId token) const { return std::ranges::find(block.end_tokens, token) != block.end_tokens.end(); }
};

class Matcher final : public flow::TokenMatcher {
 public:
  explicit Matcher(std::shared_ptr<const Shared> shared) : shared_(std::move(shared)) {
    if (shared_->inner != nullptr) inner_ = shared_->inner->matcher();
    now_.place = shared_->block.inside ? Place::kInside : Place::kStart;
  }

  bool accept(TokenId token) override {
    State before = now_;
    if (!go_on(token)) {
      now_ = before;
      seen_.resize(before.n_seen);
      return false;
    }
    past_.push_back(before);
    return true;
  }

  void rollback(uint32_t n) override {
    CHECK(n <= past_.size(), "rollback of {} tokens, {} were accepted", n, past_.size());
    uint32_t n_inner = now_.n_inner;
    now_ = past_[past_.size() - n];
    past_.resize(past_.size() - n);
    seen_.resize(now_.n_seen);
    if (inner_ != nullptr && n_inner > now_.n_inner) inner_->rollback(n_inner - now_.n_inner);
  }

  void fill(std::span<uint32_t> mask) override {
    const ReasoningBlock& block = shared_->block;
    bool free = now_.place == Place::kInside || inner_ == nullptr;
    if (now_.ended) {
      std::ranges::fill(mask, 0u);
    } else if (must_close()) {
      std::ranges::fill(mask, 0u);
      allow(mask, block.close_ids[now_.n_forced]);
    } else if (free) {
      std::ranges::fill(mask, ~0u);
      if (size_t rest = block.n_vocab % 32; rest != 0) mask.back() &= (1u << rest) - 1;
    } else {
      inner_->fill(mask);
    }
    if (now_.place == Place::kInside && inner_ != nullptr && !must_close()) {
      for (TokenId token : block.end_tokens) forbid(mask, token);
      for (TokenId token : shared_->across) {
        if (closes(token, false) && !closes(token, true)) forbid(mask, token);
      }
    }
    if (now_.place != Place::kStart || block.open == kNoToken) return;
    if (block.budget == 0u) {
      forbid(mask, block.open);
    } else {
      allow(mask, block.open);
    }
  }

  size_t draft(std::span<TokenId> out) override {
    if (now_.ended) return 0;
    if (must_close()) {
      std::span<const TokenId> rest = std::span<const TokenId>(shared_->block.close_ids).subspan(now_.n_forced);
      size_t n = std::min(out.size(), rest.size());
      std::copy_n(rest.begin(), n, out.begin());
      return n;
    }
    return now_.place == Place::kBehind && inner_ != nullptr ? inner_->draft(out) : 0;
  }

  // A block that is open ends first; what follows without an inner constraint may be cut off anywhere.
  bool ends_within(uint32_t n_tokens) override {
    if (now_.ended || inner_ == nullptr) return true;
    if (now_.place != Place::kInside) return inner_->ends_within(n_tokens);
    size_t n_close = shared_->block.close_ids.size() - n_closed();
    return n_tokens >= n_close && inner_->ends_within(n_tokens - static_cast<uint32_t>(n_close));
  }

  void keep_ending(std::span<uint32_t> mask, uint32_t n_tokens) override {
    if (now_.ended || inner_ == nullptr) return;
    if (now_.place != Place::kInside) {
      inner_->keep_ending(mask, n_tokens);
      if (now_.place == Place::kStart && shared_->block.open != kNoToken) forbid(mask, shared_->block.open);
      return;
    }
    std::ranges::fill(mask, 0u);
    allow(mask, shared_->block.close_ids[n_closed()]);
  }

  bool ended() const override {
    return now_.place != Place::kInside && (inner_ != nullptr ? inner_->ended() : now_.ended);
  }

  std::string failure() const override { return inner_ != nullptr ? inner_->failure() : std::string(); }

 private:
  enum class Place : uint8_t { kStart, kInside, kBehind };
  struct State {
    Place place = Place::kStart;
    bool ended = false;
    uint32_t n_inside = 0;  // tokens of the block
    uint32_t n_forced = 0;  // of its end, behind the budget
    uint32_t n_inner = 0;   // tokens that the inner matcher took
    size_t n_seen = 0;      // bytes of seen_
  };

  bool must_close() const {
    return now_.place == Place::kInside && shared_->block.budget && now_.n_inside >= *shared_->block.budget;
  }

  // Tokens of the closing tag that the block ends with already.
  size_t n_closed() const {
    if (must_close()) return now_.n_forced;
    const std::vector<TokenId>& ids = shared_->block.close_ids;
    for (size_t n = ids.size() - 1; n > 0; --n) {
      std::string begun;
      for (size_t i = 0; i < n; ++i) begun += shared_->text(ids[i]);
      if (!begun.empty() && seen_.ends_with(begun)) return n;
    }
    return 0;
  }

  // The closing tag lies in what was seen and this token; `at_end`: and ends with it.
  bool closes(TokenId token, bool at_end) {
    const std::string& close = shared_->block.close;
    std::string_view seen = seen_;
    std::string text(seen.substr(seen.size() - std::min(seen.size(), close.size() - 1)));
    text += shared_->text(token);
    return at_end ? text.ends_with(close) : text.find(close) != std::string::npos;
  }

  bool go_on(TokenId token) {
    const ReasoningBlock& block = shared_->block;
    if (now_.ended) return false;
    if (now_.place == Place::kStart && token == block.open && block.open != kNoToken) {
      now_.place = Place::kInside;
      return true;
    }
    if (now_.place != Place::kInside) {
      now_.place = Place::kBehind;
      if (inner_ == nullptr) {
        now_.ended = shared_->is_end(token);
        return true;
      }
      ++now_.n_inner;
      return inner_->accept(token);
    }
    if (must_close()) {
      if (token != block.close_ids[now_.n_forced]) return false;
      if (++now_.n_forced == block.close_ids.size()) now_.place = Place::kBehind;
      return true;
    }
    if (shared_->is_end(token)) {
      now_.ended = inner_ == nullptr;
      return now_.ended;
    }
    if (closes(token, inner_ != nullptr)) {
      now_.place = Place::kBehind;
    } else if (inner_ != nullptr && closes(token, false)) {
      return false;
    }
    ++now_.n_inside;
    seen_ += shared_->text(token);
    now_.n_seen = seen_.size();
    return true;
  }

  std::shared_ptr<const Shared> shared_;
  std::unique_ptr<flow::TokenMatcher> inner_;  // null: everything is allowed behind the block
  State now_;
  std::vector<State> past_;
  std::string seen_;  // of the block
};

class BehindReasoning final : public flow::Constraint {
 public:
  explicit BehindReasoning(std::shared_ptr<const Shared> shared) : shared_(std::move(shared)) {}
  std::unique_ptr<flow::TokenMatcher> matcher() const override { return std::make_unique<Matcher>(shared_); }
  size_t n_mask_words() const override { return mask_words(shared_->block.n_vocab); }

 private:
  std::shared_ptr<const Shared> shared_;
};

}  // namespace

std::shared_ptr<const flow::Constraint> behind_reasoning(std::shared_ptr<const flow::Constraint> inner,
                                                         ReasoningBlock block, const text::Tokenizer& tokenizer) {
  CHECK(!block.close.empty() && !block.close_ids.empty(), "a reasoning block without an end");
  CHECK(inner == nullptr || inner->n_mask_words() == mask_words(block.n_vocab), "masks of two sizes");
  auto shared = std::make_shared<Shared>();
  // a tag that is one token is never written in another way
  if (inner != nullptr && block.close_ids.size() > 1) {
    for (size_t i = 0; i < tokenizer.n_vocab(); ++i) {
      auto token = static_cast<TokenId>(i);
      std::string_view text = tokenizer.token_bytes(token);
      size_t last = text.find(block.close.back());
      if (last != std::string_view::npos && last + 1 < text.size()) shared->across.push_back(token);
    }
  }
  shared->inner = std::move(inner);
  shared->block = std::move(block);
  shared->tokenizer = &tokenizer;
  return std::make_shared<BehindReasoning>(std::move(shared));
}

}  // namespace millrace::grammar
