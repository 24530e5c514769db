#include "sample/seen_tokens.h"

namespace millrace::sample {
namespace {

constexpr uint32_t kFirstCapacity = 256;

// Fibonacci hashing (Knuth, TAOCP volume 3, section 6.4): 2^32 / golden ratio.
uint32_t hash_token(TokenId token) { return static_cast<uint32_t>(token) * 2654435769u; }

}  // namespace

void SeenTokens::clear() {
  entries_.clear();
  table_.assign(kFirstCapacity, 0);
}

void SeenTokens::grow() {
  table_.assign(table_.size() * 2, 0);
  auto mask = static_cast<uint32_t>(table_.size() - 1);
  for (uint32_t i = 0; i < entries_.size(); ++i) {
    uint32_t at = hash_token(entries_[i].token) & mask;
    while (table_[at] != 0) at = (at + 1) & mask;
    table_[at] = i + 1;
  }
}

SeenTokens::Entry& SeenTokens::slot_for(TokenId token) {
  if (table_.empty()) clear();
  if ((entries_.size() + 1) * 2 > table_.size()) grow();
  auto mask = static_cast<uint32_t>(table_.size() - 1);
  uint32_t at = hash_token(token) & mask;
  while (table_[at] != 0) {
    Entry& entry = entries_[table_[at] - 1];
    if (entry.token == token) return entry;
    at = (at + 1) & mask;
  }
  entries_.push_back({.token = token});
  table_[at] = static_cast<uint32_t>(entries_.size());
  return entries_.back();
}

}  // namespace millrace::sample
