// peek_prefix: how much of a prompt is cached, without holding anything. The memo makes asking again cheap: while its
// node is in the trie so is the path to it, and the walk goes on from there.
// Thread: engine.
#pragma once

#include <cstdint>
#include <vector>

#include "cache/kv_cache.h"

namespace millrace::cache {

struct PrefixMemo {
  NodeId node = kNoNode;
  uint64_t serial = 0;    // of the node when it was noted
  uint32_t n_blocks = 0;  // its depth
};

// Tokens of the longest prefix that the trie knows, at most tokens.size() - 1, in whole blocks. An upper bound of
// KvCache::match() where windows have slid on; equal to it otherwise. `scratch` keeps its memory from call to call.
uint32_t peek_prefix(const KvCache& cache, uint32_t scope, const TokenView& tokens, PrefixMemo& memo,
                     std::vector<TokenId>& scratch);

}  // namespace millrace::cache
