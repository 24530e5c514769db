// SeenTokens: which tokens a sequence holds and how often its output has them; feeds the penalties.
// An open-addressing table that grows with the number of distinct tokens. Thread: one worker at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace millrace::sample {

class SeenTokens {
 public:
  struct Entry {
    TokenId token = kNoToken;
    bool in_prompt = false;
    uint32_t n_output = 0;  // occurrences in the output
  };

  void clear();
  void add_prompt(TokenId token) { slot_for(token).in_prompt = true; }
  void add_output(TokenId token) { ++slot_for(token).n_output; }
  // Takes back one add_output().
  void remove_output(TokenId token) { --slot_for(token).n_output; }

  // Every distinct token once, in table order; each entry is applied on its own, so the order changes nothing.
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  Entry& slot_for(TokenId token);
  void grow();

  std::vector<Entry> entries_;   // dense, in order of first sight
  std::vector<uint32_t> table_;  // hash -> index into entries_ + 1; 0 = empty; size is a power of two
};

}  // namespace millrace::sample
