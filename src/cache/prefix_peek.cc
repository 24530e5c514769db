#include "cache/prefix_peek.h"

namespace millrace::cache {

uint32_t peek_prefix(const KvCache& cache, uint32_t scope, const TokenView& tokens, PrefixMemo& memo,
                     std::vector<TokenId>& scratch) {
  const PrefixTrie& trie = cache.trie();
  uint32_t block_tokens = cache.geometry().block_tokens;
  uint32_t most = tokens.size() == 0 || !cache.matches_prefixes() ? 0 : (tokens.size() - 1) / block_tokens;
  if (memo.node == kNoNode || trie.node(memo.node).serial != memo.serial) memo = {};
  scratch.resize(block_tokens);
  while (memo.n_blocks < most && trie.node(memo.node).first_child != kNoNode) {
    NodeId next = trie.find(memo.node, scope, tokens.slice(memo.n_blocks * block_tokens, scratch));
    if (next == kNoNode) break;
    memo = {.node = next, .serial = trie.node(next).serial, .n_blocks = memo.n_blocks + 1};
  }
  return memo.n_blocks * block_tokens;
}

}  // namespace millrace::cache
