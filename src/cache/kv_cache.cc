#include "cache/kv_cache.h"

#include <algorithm>

#include "base/macros.h"

namespace millrace::cache {
namespace {

bool has_full_group(const flow::KvGeometry& kv) {
  return std::ranges::any_of(kv.groups, [](const flow::KvGroup& g) { return g.kind == flow::KvGroupKind::kFull; });
}

// With a Full KvGroup every node holds a block. With windows alone, nodes above the windows are kept to lead to them.
TrieOptions trie_options(const flow::KvGeometry& kv, const CacheOptions& options) {
  return {.block_tokens = kv.block_tokens,
          .n_groups = static_cast<uint32_t>(kv.groups.size()),
          .capacity = has_full_group(kv) ? kv.n_blocks : 4 * kv.n_blocks,
          .hash_secret = options.hash_secret,
          .hash_bits = options.hash_bits};
}

}  // namespace

KvCache::KvCache(const flow::KvGeometry& kv, const CacheOptions& options)
    : kv_(kv),
      options_(options),
      pool_(kv.n_blocks),
      trie_(trie_options(kv, options)),
      block_(kv.block_tokens),
      dropped_(kv.n_blocks) {
  path_.reserve(kv.max_len / kv.block_tokens + 1);
  carried_.reserve(64);
  exchanges_.reserve(64);
  counted_.reserve(kv.n_blocks);
}

void KvCache::reserve(SeqBlocks& seq, uint32_t n_tokens) const {
  for (size_t g = 0; g < kv_.groups.size(); ++g) seq.table[g].reserve(ceil_div(n_tokens, kv_.block_tokens));
}

// --- a sequence gets its first blocks

uint32_t KvCache::match(SeqBlocks& seq, const TokenView& tokens, uint32_t max_tokens) {
  CHECK(seq.table[0].empty() && seq.tail == kNoNode, "match on a table that is in use");
  path_.clear();
  if (!options_.match_prefixes || tokens.size() == 0) return 0;
  uint32_t most = std::min(max_tokens, tokens.size() - 1) / kv_.block_tokens;
  for (NodeId node = kNoNode; path_.size() < most;) {
    auto begin = static_cast<uint32_t>(path_.size()) * kv_.block_tokens;
    node = trie_.find(node, seq.scope, tokens.slice(begin, block_));
    if (node == kNoNode) break;
    path_.push_back(node);
  }
  uint32_t n_blocks = usable_prefix();
  if (n_blocks == 0) return 0;
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    uint32_t first = first_visible_block(kv_.groups[g], kv_.block_tokens, n_blocks * kv_.block_tokens);
    seq.table[g].assign(n_blocks, kNullBlock);
    seq.first_live[g] = first;
    for (uint32_t i = first; i < n_blocks; ++i) {
      seq.table[g][i] = trie_.at(path_[i], g);
      pool_.hold(seq.table[g][i]);
    }
  }
  seq.n_published = seq.n_adopted = n_blocks;
  move_tail(seq, path_[n_blocks - 1]);
  return n_blocks * kv_.block_tokens;
}

// The largest L such that all KvGroups have the blocks of path_ that a query at position L * block_tokens sees.
uint32_t KvCache::usable_prefix() const {
  auto length = static_cast<uint32_t>(path_.size());
  for (bool stable = false; !stable;) {
    stable = true;
    for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
      uint32_t first = first_visible_block(kv_.groups[g], kv_.block_tokens, length * kv_.block_tokens);
      for (uint32_t i = length; i > first; --i) {
        if (trie_.at(path_[i - 1], g) != kNullBlock) continue;
        length = i - 1;
        stable = false;
        first = first_visible_block(kv_.groups[g], kv_.block_tokens, length * kv_.block_tokens);
      }
    }
  }
  return length;
}

bool KvCache::fork(SeqBlocks& seq, const SeqBlocks& from, uint32_t n_tokens) {
  CHECK(seq.table[0].empty() && seq.tail == kNoNode, "fork into a table that is in use");
  uint32_t n_blocks = ceil_div(n_tokens, kv_.block_tokens);
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    uint32_t first = first_visible_block(kv_.groups[g], kv_.block_tokens, n_tokens);
    if (from.table[g].size() < n_blocks || from.first_live[g] > first) return false;
  }
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    uint32_t first = std::min(first_visible_block(kv_.groups[g], kv_.block_tokens, n_tokens), n_blocks);
    seq.table[g].assign(n_blocks, kNullBlock);
    seq.first_live[g] = first;
    for (uint32_t i = first; i < n_blocks; ++i) {
      seq.table[g][i] = from.table[g][i];
      pool_.hold(seq.table[g][i]);
    }
  }
  NodeId tail = from.tail;
  uint32_t n_published = from.n_published;
  for (; n_published > n_tokens / kv_.block_tokens; --n_published) tail = trie_.node(tail).parent;
  seq.n_published = seq.n_adopted = n_published;
  seq.may_publish = from.may_publish;
  move_tail(seq, tail);
  return true;
}

void KvCache::announce(const SeqBlocks& seq, std::vector<flow::BlockDelta>& out) const {
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    for (uint32_t i = 0; i < seq.table[g].size(); ++i) {
      out.push_back({.slot = seq.slot, .kv_group = g, .index = i, .id = seq.table[g][i]});
    }
  }
}

// --- a sequence grows

void KvCache::slide(SeqBlocks& seq, uint32_t computed, std::vector<flow::BlockDelta>& out) {
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    auto size = static_cast<uint32_t>(seq.table[g].size());
    uint32_t first = std::min(first_visible_block(kv_.groups[g], kv_.block_tokens, computed), size);
    for (uint32_t i = seq.first_live[g]; i < first; ++i) {
      pool_.release(seq.table[g][i], seq.last_step);
      seq.table[g][i] = kNullBlock;
      out.push_back({.slot = seq.slot, .kv_group = g, .index = i, .id = kNullBlock});
    }
    seq.first_live[g] = std::max(seq.first_live[g], first);
  }
}

bool KvCache::needs_copy(BlockId id) const { return pool_.block(id).ref > 1 || pool_.block(id).node != kNoNode; }

uint32_t KvCache::blocks_needed(const SeqBlocks& seq, uint32_t computed, uint32_t n_rows) const {
  uint32_t end = ceil_div(computed + n_rows, kv_.block_tokens);
  uint32_t last = computed / kv_.block_tokens;
  uint32_t need = 0;
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    auto size = static_cast<uint32_t>(seq.table[g].size());
    if (end > size) need += end - size;
    if (last < size && needs_copy(seq.table[g][last])) ++need;
  }
  return need;
}

void KvCache::extend(SeqBlocks& seq, uint32_t computed, uint32_t n_rows, uint64_t step, const PlanEdits& edits) {
  uint32_t end = ceil_div(computed + n_rows, kv_.block_tokens);
  uint32_t last = computed / kv_.block_tokens;
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    std::vector<BlockId>& table = seq.table[g];
    if (last < table.size() && needs_copy(table[last])) {
      BlockId shared = table[last];
      BlockId own = take_block(g, step);
      edits.copies->push_back({.kv_group = g, .src = shared, .dst = own, .tokens = computed % kv_.block_tokens});
      table[last] = own;
      edits.blocks->push_back({.slot = seq.slot, .kv_group = g, .index = last, .id = own});
      pool_.release(shared, step);
    }
    while (table.size() < end) {
      auto index = static_cast<uint32_t>(table.size());
      table.push_back(take_block(g, step));
      edits.blocks->push_back({.slot = seq.slot, .kv_group = g, .index = index, .id = table.back()});
    }
    for (uint32_t i = last; i < end; ++i) {
      CHECK(!needs_copy(table[i]), "block {} of KvGroup {} is written while shared or committed", table[i], g);
    }
  }
  seq.last_step = step;
}

BlockId KvCache::take_block(uint32_t kv_group, uint64_t step) {
  BlockId id = pool_.take(kv_group, step);
  if (id != kNullBlock) return id;
  evict_oldest();
  id = pool_.take(kv_group, step);
  CHECK(id != kNullBlock, "no block although {} were available", pool_.available());
  return id;
}

// The oldest block of a Full KvGroup is that of a leaf (parents are released after their children): the node goes with
// it. A window block goes alone.
void KvCache::evict_oldest() {
  BlockId oldest = pool_.oldest_cached();
  CHECK(oldest != kNullBlock, "nothing to evict");
  const Block& block = pool_.block(oldest);
  NodeId node = block.node;
  if (kv_.groups[block.kv_group].kind == flow::KvGroupKind::kFull) {
    CHECK(trie_.node(node).first_child == kNoNode, "node {} would be evicted before its children", node);
    totals_.n_evictions += drop_blocks(node, false);
  } else {
    ++totals_.n_evictions;
    trie_.set_at(node, block.kv_group, kNullBlock);
    pool_.clear_node(oldest);
  }
  prune(node);
}

// --- publication

void KvCache::publish(SeqBlocks& seq, const TokenView& tokens, uint32_t n_ready) {
  if (!seq.may_publish) return;
  CHECK(n_ready <= tokens.size(), "{} of {} tokens ready", n_ready, tokens.size());
  while ((seq.n_published + 1) * kv_.block_tokens <= n_ready) {
    auto content = tokens.slice(seq.n_published * kv_.block_tokens, block_);
    NodeId node = trie_.find(seq.tail, seq.scope, content);
    if (node == kNoNode) {
      node = trie_.insert(seq.tail, seq.scope, content);
      if (node == kNoNode) return;  // windows alone and no room for their path: try again later
    }
    publish_block(seq, node, seq.n_published);
    ++seq.n_published;
    move_tail(seq, node);
  }
}

// Makes our block the node's where it has none, or one that nobody holds; else notes to exchange ours for it.
void KvCache::publish_block(SeqBlocks& seq, NodeId node, uint32_t index) {
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    BlockId own = seq.table[g][index];
    BlockId known = trie_.at(node, g);
    if (own == kNullBlock || own == known) continue;
    if (known != kNullBlock && pool_.block(known).ref > 0) {
      pool_.hold(known);
      exchanges_.push_back({.seq = &seq, .kv_group = g, .index = index, .with = known});
      continue;
    }
    if (known != kNullBlock) pool_.clear_node(known);
    trie_.set_at(node, g, own);
    pool_.set_node(own, node);
    trie_.node(node).step = std::max(trie_.node(node).step, seq.last_step);
  }
}

void KvCache::settle() {
  for (const Exchange& exchange : exchanges_) {
    SeqBlocks& seq = *exchange.seq;
    BlockId& entry = seq.table[exchange.kv_group][exchange.index];
    pool_.release(entry, seq.last_step);
    entry = exchange.with;
    carried_.push_back({.slot = seq.slot, .kv_group = exchange.kv_group, .index = exchange.index, .id = entry});
  }
  exchanges_.clear();
}

void KvCache::move_tail(SeqBlocks& seq, NodeId to) {
  NodeId from = seq.tail;
  if (to != kNoNode) ++trie_.node(to).n_tails;
  seq.tail = to;
  if (from == kNoNode) return;
  --trie_.node(from).n_tails;
  prune(from);
}

// --- a sequence ends or pauses

void KvCache::release(SeqBlocks& seq) {
  size_t longest = 0;
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) longest = std::max(longest, seq.table[g].size());
  for (size_t i = longest; i-- > 0;) {
    for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
      if (i < seq.table[g].size() && seq.table[g][i] != kNullBlock) pool_.release(seq.table[g][i], seq.last_step);
    }
  }
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    seq.table[g].clear();
    seq.first_live[g] = 0;
  }
  if (seq.slot != kNoSlot) std::erase_if(carried_, [&](const flow::BlockDelta& d) { return d.slot == seq.slot; });
  move_tail(seq, kNoNode);
  seq.n_published = seq.n_adopted = 0;
  seq.may_publish = true;
  seq.slot = kNoSlot;
}

void KvCache::begin_count() {
  for (BlockId id : counted_) dropped_[id] = 0;
  counted_.clear();
}

uint32_t KvCache::would_free(const SeqBlocks& seq) {
  uint32_t n = 0;
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    for (BlockId id : seq.table[g]) {
      if (id == kNullBlock) continue;
      if (dropped_[id]++ == 0) counted_.push_back(id);
      if (dropped_[id] == pool_.block(id).ref) ++n;
    }
  }
  return n;
}

// --- content that is no longer to be trusted or wanted

void KvCache::poison_from(uint64_t step) {
  for (NodeId id = 1; id <= trie_.capacity(); ++id) {
    if (trie_.node(id).used && trie_.node(id).step >= step) forget_subtree(id, true);
  }
}

bool KvCache::holds_poisoned(const SeqBlocks& seq) const {
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    for (BlockId id : seq.table[g]) {
      if (id != kNullBlock && pool_.block(id).poisoned) return true;
    }
  }
  return false;
}

void KvCache::unpublish_own(const SeqBlocks& seq) {
  if (seq.n_published <= seq.n_adopted) return;
  NodeId first = seq.tail;
  for (uint32_t i = seq.n_published - 1; i > seq.n_adopted; --i) first = trie_.node(first).parent;
  forget_subtree(first, false);
}

void KvCache::reset() {
  while (trie_.node(kNoNode).first_child != kNoNode) forget_subtree(trie_.node(kNoNode).first_child, false);
}

void KvCache::heal(SeqBlocks& seq) {
  if (seq.tail == kNoNode || trie_.node(seq.tail).used) return;
  seq.tail = kNoNode;
  seq.n_published = seq.n_adopted = 0;
  seq.may_publish = false;
}

// Takes the blocks from a node; returns how many became free.
uint32_t KvCache::drop_blocks(NodeId id, bool poison) {
  uint32_t n_freed = 0;
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    BlockId block = trie_.at(id, g);
    if (block == kNullBlock) continue;
    if (pool_.block(block).ref == 0) {
      ++n_freed;
    } else if (poison) {
      pool_.poison(block);
    }
    trie_.set_at(id, g, kNullBlock);
    pool_.clear_node(block);
  }
  return n_freed;
}

void KvCache::forget_subtree(NodeId id, bool poison) {
  NodeId parent = trie_.node(id).parent;
  doomed_.clear();
  trie_.subtree(id, doomed_);
  for (size_t i = doomed_.size(); i-- > 0;) {
    drop_blocks(doomed_[i], poison);
    trie_.erase(doomed_[i]);
  }
  prune(parent);
}

// Erases nodes that lead nowhere, from `id` upwards.
void KvCache::prune(NodeId id) {
  while (id != kNoNode) {
    const PrefixTrie::Node& node = trie_.node(id);
    if (node.first_child != kNoNode || node.n_tails > 0 || trie_.has_blocks(id)) return;
    NodeId parent = node.parent;
    trie_.erase(id);
    id = parent;
  }
}

}  // namespace millrace::cache
