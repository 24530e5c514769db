// ByteTrie: strings to ids, walked byte by byte. Built once. Thread: any after the last add().
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "text/pair_table.h"

namespace millrace::text {

class ByteTrie {
 public:
  static constexpr uint32_t kRoot = 0;
  static constexpr uint32_t kNone = ~uint32_t{0};

  ByteTrie() : values_(1, kNoToken) {}

  // The first id of a string stays.
  void add(std::string_view text, TokenId id) {
    uint32_t node = kRoot;
    for (const char byte : text) {
      const uint64_t key = PairTable<uint32_t>::key_of(node, static_cast<uint8_t>(byte));
      if (const uint32_t* next = edges_.find(key)) {
        node = *next;
        continue;
      }
      const auto child = static_cast<uint32_t>(values_.size());
      edges_.insert(key, child);
      values_.push_back(kNoToken);
      node = child;
    }
    if (values_[node] == kNoToken) values_[node] = id;
  }

  uint32_t child(uint32_t node, char byte) const {
    const uint32_t* next = edges_.find(PairTable<uint32_t>::key_of(node, static_cast<uint8_t>(byte)));
    return next == nullptr ? kNone : *next;
  }
  TokenId value(uint32_t node) const { return values_[node]; }
  bool empty() const { return values_.size() == 1; }

 private:
  PairTable<uint32_t> edges_;
  std::vector<TokenId> values_;  // by node
};

}  // namespace millrace::text
