#include "grammar/spelling.h"

#include <algorithm>

#include "grammar/matcher.h"

namespace millrace::grammar {
namespace {

constexpr size_t kKeyBytes = 12;
constexpr size_t kMostKeys = 4096;

std::string key_of(std::string_view text) { return std::string(text.substr(0, kKeyBytes)); }

}  // namespace

void Spelling::learn(std::string_view text, TokenId token) {
  size_t n = tokens_.text(token).size();
  if (text.empty() || n == 0) return;
  bare_.set(static_cast<unsigned char>(text[0]), n == 1);
  std::string key = key_of(text);
  if (written_.size() < kMostKeys || written_.contains(key)) written_[std::move(key)] = token;
}

std::vector<TokenId> Spelling::write(std::string_view text, size_t n, bool whole) const {
  std::vector<TokenId> out;
  std::vector<TokenId> usual;  // the tokenizer's way, from usual[at] on
  size_t at = 0;
  while (!text.empty() && out.size() < n) {
    if (at >= usual.size()) {
      usual = tokens_.write(text);
      at = 0;
    }
    if (usual.empty() || (!whole && at + 1 >= usual.size())) break;
    TokenId token = usual[at];
    auto before = written_.find(key_of(text));
    if (before != written_.end() && text.starts_with(tokens_.text(before->second))) {
      token = before->second;
    } else if (bare_[static_cast<unsigned char>(text[0])]) {
      TokenId bare = tokens_.token_of(text.substr(0, 1));
      if (bare != kNoToken) token = bare;
    }
    at = token == usual[at] ? at + 1 : usual.size();
    out.push_back(token);
    text.remove_prefix(tokens_.text(token).size());
  }
  return out;
}

}  // namespace millrace::grammar
