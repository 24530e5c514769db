// TokenTable: the vocabulary of a model as constraints see it, shared by all of them. Sees the core, as matcher.h does.
// Thread: any.
#pragma once

#include <xgrammar/xgrammar.h>

#include <array>
#include <bitset>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "grammar/compiler.h"
#include "grammar/shortest_end.h"
#include "grammar/string_guard.h"
#include "grammar/token_classes.h"

namespace millrace::grammar {

// Tokens by their bytes, and what the core derives from them.
class TokenTable {
 public:
  explicit TokenTable(Vocabulary vocabulary);

  const xgrammar::TokenizerInfo& info() const { return info_; }
  size_t n_vocab() const { return vocabulary_.tokens.size(); }
  size_t n_mask_words() const { return (n_vocab() + 31) / 32; }
  const std::vector<TokenId>& end_tokens() const { return vocabulary_.end_tokens; }
  bool is_end(TokenId token) const;
  // What the token adds to the text, special ones too.
  std::string_view text(TokenId token) const;
  // Tokens whose text holds this byte.
  const std::vector<TokenId>& with_byte(char c) const { return holders_[static_cast<unsigned char>(c)]; }
  // What the tokens do to strings of bounded length; made when first asked for.
  const TokenLengths& lengths() const;
  // As a grammar sees them: shared by all that see them alike. Null where masks leave little to the core's parser.
  std::shared_ptr<const TokenClasses> classes(const xgrammar::CompiledGrammar& grammar) const;
  // By bytes, without the special ones and those without text; and the special ones.
  const std::vector<std::pair<std::string_view, TokenId>>& sorted() const { return sorted_; }
  const std::vector<TokenId>& specials() const { return vocabulary_.specials; }
  // The tokens that a text is written in, most likely; empty when that is not known.
  std::vector<TokenId> write(std::string_view text) const;
  // The token of exactly this text, kNoToken when there is none.
  TokenId token_of(std::string_view text) const;
  // Every token of text that this text begins with, by growing length; without the special ones.
  void beginnings(std::string_view text, const std::function<void(TokenId token, size_t n_bytes)>& found) const;
  // Those that are tokens by themselves.
  const std::bitset<256>& bytes() const { return bytes_; }
  // Those of few bytes that may stand anywhere: none closes one string and opens another.
  const ShortTexts& pieces() const { return *pieces_; }
  size_t longest() const { return longest_; }  // bytes of a token

 private:
  Vocabulary vocabulary_;
  std::vector<std::pair<std::string_view, TokenId>> sorted_;  // by bytes, without the empty ones
  std::array<std::vector<TokenId>, 256> holders_;
  mutable std::once_flag lengths_made_;
  mutable std::unique_ptr<TokenLengths> lengths_;
  mutable std::mutex classes_mutex_;
  mutable std::map<ByteClasses, std::weak_ptr<const TokenClasses>> classes_;  // guarded by classes_mutex_
  std::bitset<256> bytes_;
  std::unique_ptr<ShortTexts> pieces_;
  size_t longest_ = 0;
  xgrammar::TokenizerInfo info_;
};

}  // namespace millrace::grammar
