// KvCache::restore: blocks from below the pool become cached prefixes.
#include <bit>

#include "cache/kv_cache.h"

namespace millrace::cache {

bool KvCache::restore(SeqBlocks& seq, const TokenView& tokens, std::span<const uint32_t> loaded, uint32_t max_new,
                      std::vector<RestoredBlock>& out) {
  if (!seq.may_publish) return false;  // the trie forgot its path
  auto n_prefix = static_cast<uint32_t>(loaded.size());
  size_t n_before = out.size();
  while (seq.n_published < n_prefix && out.size() - n_before < max_new) {
    uint32_t index = seq.n_published;
    NodeId node = trie_.find(seq.tail, seq.scope, tokens.slice(index * kv_.block_tokens, scratch_.block));
    uint32_t missing = 0;
    for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
      bool visible = index >= first_visible_block(kv_.groups[g], kv_.block_tokens, n_prefix * kv_.block_tokens);
      bool there = node != kNoNode && trie_.at(node, g) != kNullBlock;
      if (visible && !there) missing |= uint32_t{1} << g;
    }
    auto n_missing = static_cast<uint32_t>(std::popcount(missing));
    if ((missing & ~loaded[index]) != 0) return false;
    for (uint32_t g = 0; g < kv_.groups.size(); ++g) {  // first hold what is there, so that nothing of it is evicted
      BlockId known = node == kNoNode ? kNullBlock : trie_.at(node, g);
      bool visible = index >= first_visible_block(kv_.groups[g], kv_.block_tokens, n_prefix * kv_.block_tokens);
      bool hold = visible && known != kNullBlock;
      if (hold) pool_.hold(known);
      seq.table[g].push_back(hold ? known : kNullBlock);
      if (!visible) seq.first_live[g] = index + 1;
    }
    bool room = available() >= n_missing;
    for (uint32_t g = 0; g < kv_.groups.size() && room; ++g) {
      if ((missing >> g & 1) == 0) continue;
      seq.table[g].back() = take_block(g, 0);
      if (seq.table[g].back() == kNullBlock) return false;
      out.push_back({.index = index, .kv_group = g, .id = seq.table[g].back()});
    }
    if (!room) return false;
    publish(seq, tokens, (index + 1) * kv_.block_tokens);
    settle();
    if (seq.n_published == index) return false;  // no room for the node
  }
  return seq.n_published < n_prefix;
}

}  // namespace millrace::cache
