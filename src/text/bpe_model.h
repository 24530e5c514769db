// BpeModel: byte-pair merging of one pre-token, for kByteBpe, kBpe and kScoreBpe. A linked list of symbols and a heap
// of candidate merges: O(n log n), no recursion. Lowest rank first, then leftmost.
// kScoreBpe ranks a merge by the token it makes: spaces-only user tokens first, then by score; equal tokens with the
// longer left part first (the order transformers' generate_merges gives). Thread: any.
#pragma once

#include <string_view>
#include <vector>

#include "base/ids.h"
#include "text/pair_table.h"
#include "text/vocabulary.h"

namespace millrace::text {

class BpeModel {
 public:
  // The vocabulary must outlive the model.
  BpeModel(const TokenizerSpec& spec, const Vocabulary& vocabulary);
  void encode(std::string_view piece, std::vector<TokenId>& out) const;

 private:
  struct Symbol {
    TokenId id;
    int32_t previous;  // index of the symbol before, -1 none
    int32_t next;
    uint32_t begin;  // bytes in the piece; kScoreBpe joins texts
    uint32_t n_bytes;
    uint32_t n_runes;
  };
  struct Rank {
    uint32_t rank = 0;
    TokenId merged = kNoToken;
  };
  struct Candidate {
    uint64_t priority;  // lower first
    int32_t left;       // symbol index
    TokenId left_id;    // stale when the symbol has changed
    TokenId right_id;
    TokenId merged;
  };
  std::vector<Symbol> first_symbols(std::string_view piece) const;
  void push_unknown(std::vector<Symbol>& symbols, uint32_t begin, uint32_t n_bytes) const;
  bool candidate(std::string_view piece, const std::vector<Symbol>& symbols, int32_t left, Candidate& out) const;

  const Vocabulary* vocabulary_;
  TokenizerKind kind_;
  bool byte_fallback_;
  bool ignore_merges_;
  bool fuse_unk_;
  size_t longest_bytes_ = 0;          // kScoreBpe: longest piece that a merge can make
  std::vector<uint32_t> token_rank_;  // kScoreBpe: [n_vocab]
  PairTable<Rank> merges_;            // kByteBpe, kBpe: (left, right)
};

// The merges a scored vocabulary implies, best first (for tokenizer.json).
std::vector<Merge> merges_of_scores(const TokenizerSpec& spec, const Vocabulary& vocabulary);

}  // namespace millrace::text
