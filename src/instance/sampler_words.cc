#include "instance/sampler_words.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "base/macros.h"

namespace millrace::instance {
namespace {

constexpr size_t kMaxBreakerBytes = 40;   // these two: llama.cpp's
constexpr size_t kMaxBreakerTokens = 20;  // behind the first
constexpr size_t kMostSequences = 100'000;
constexpr size_t kMostEntries = 4;

constexpr text::EncodeOptions kPlain = {.add_special = false, .parse_special = false};

// A byte of UTF-8 that begins no character.
bool inside_character(char c) { return (static_cast<unsigned char>(c) & 0xC0u) == 0x80u; }

// At most kMaxBreakerBytes, of whole characters.
std::string_view cut(std::string_view breaker) {
  if (breaker.size() <= kMaxBreakerBytes) return breaker;
  size_t n = kMaxBreakerBytes;
  while (n > 0 && inside_character(breaker[n])) --n;
  return breaker.substr(0, n);
}

// The beginning of a breaker, and the tokens of what is left of it.
struct Head {
  std::string_view bytes;
  std::vector<TokenId> rest;
};
using Heads = std::array<std::vector<Head>, 256>;  // by their last byte

Result<Heads> heads_of(const text::Tokenizer& tokenizer, std::span<const std::string_view> breakers) {
  Heads out;
  for (std::string_view breaker : breakers) {
    for (size_t n = 1; n < breaker.size(); ++n) {
      if (inside_character(breaker[n])) continue;
      Head head;
      head.bytes = breaker.substr(0, n);
      head.rest = TRY(tokenizer.encode(breaker.substr(n), kPlain));
      if (head.rest.size() > kMaxBreakerTokens) head.rest.resize(kMaxBreakerTokens);
      out[static_cast<unsigned char>(head.bytes.back())].push_back(std::move(head));
    }
  }
  return out;
}

}  // namespace

Result<std::vector<std::vector<TokenId>>> bad_word_tokens(const text::Tokenizer& tokenizer,
                                                          std::span<const std::string> words) {
  std::vector<std::vector<TokenId>> out;
  for (const std::string& word : words) {
    std::string_view bare = word;
    bare.remove_prefix(std::min(bare.find_first_not_of(' '), bare.size()));
    std::vector<TokenId> first = TRY(tokenizer.encode(bare, kPlain));
    std::vector<TokenId> inside = TRY(tokenizer.encode(" " + std::string(bare), kPlain));
    bool another = !inside.empty() && !first.empty() && inside.size() == first.size() && inside[0] != first[0];
    if (!first.empty()) out.push_back(std::move(first));
    if (another) out.push_back(std::move(inside));
  }
  return out;
}

Result<flow::DryBreakers> breaker_tokens(const text::Tokenizer& tokenizer, std::span<const std::string> breakers) {
  std::vector<std::string_view> wanted;
  for (const std::string& breaker : breakers) wanted.push_back(cut(breaker));
  const Heads heads = TRY(heads_of(tokenizer, wanted));
  flow::DryBreakers out;
  for (size_t i = 0; i < tokenizer.n_vocab(); ++i) {
    auto token = static_cast<TokenId>(i);
    std::string_view bytes = tokenizer.token_bytes(token);
    if (bytes.empty()) continue;
    bool alone = std::any_of(wanted.begin(), wanted.end(), [bytes](std::string_view breaker) {
      return bytes.find(breaker) != std::string_view::npos;
    });
    if (alone) out.alone.push_back(token);
    for (const Head& head : heads[static_cast<unsigned char>(bytes.back())]) {
      if (!bytes.ends_with(head.bytes)) continue;
      std::vector<TokenId> sequence = {token};
      sequence.insert(sequence.end(), head.rest.begin(), head.rest.end());
      out.sequences.push_back(std::move(sequence));
      if (out.sequences.size() > kMostSequences) {
        return Error{ErrorCode::kInvalidValue,
                     fmt::format("dry_sequence_breakers: more than {} sequences of tokens", kMostSequences),
                     "dry_sequence_breakers"};
      }
    }
  }
  std::sort(out.sequences.begin(), out.sequences.end());
  return out;
}

Result<std::shared_ptr<const flow::DryBreakers>> BreakerCache::get(const text::Tokenizer& tokenizer,
                                                                   const std::vector<std::string>& breakers) {
  {
    std::lock_guard lock(mutex_);
    auto found =
        std::find_if(entries_.begin(), entries_.end(), [&](const Entry& one) { return one.first == breakers; });
    if (found != entries_.end()) {
      std::rotate(entries_.begin(), found, found + 1);
      return entries_.front().second;
    }
  }
  auto made = std::make_shared<const flow::DryBreakers>(TRY(breaker_tokens(tokenizer, breakers)));
  std::lock_guard lock(mutex_);
  if (entries_.size() == kMostEntries) entries_.pop_back();
  entries_.insert(entries_.begin(), {breakers, made});
  return made;
}

}  // namespace millrace::instance
