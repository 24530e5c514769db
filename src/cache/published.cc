// The content side of KvCache: what is published, with which priority, and how it is forgotten.
// Thread: engine.
#include <algorithm>

#include "base/macros.h"
#include "cache/kv_cache.h"

namespace millrace::cache {

// --- publication

void KvCache::publish(SeqBlocks& seq, const TokenView& tokens, uint32_t n_ready) {
  if (!seq.may_publish) return;
  CHECK(n_ready <= tokens.size(), "{} of {} tokens ready", n_ready, tokens.size());
  while ((seq.n_published + 1) * kv_.block_tokens <= n_ready) {
    auto content = tokens.slice(seq.n_published * kv_.block_tokens, scratch_.block);
    NodeId node = trie_.find(seq.tail, seq.scope, content);
    if (node == kNoNode) {
      node = trie_.insert(seq.tail, seq.scope, content);
      if (node == kNoNode) return;  // no room for paths without blocks: try again later
      trie_.node(node).loose = seq.window_tokens > 0;
    }
    if (trie_.node(node).loose != (seq.window_tokens > 0)) return;  // a scope must be of one kind
    publish_block(seq, node, seq.n_published);
    ++seq.n_published;
    move_tail(seq, node);
  }
  raise_priority(seq.tail, seq.priority);
}

// Makes our block the node's where it has none, or one that nobody holds; else notes to exchange ours for it.
void KvCache::publish_block(SeqBlocks& seq, NodeId node, uint32_t index) {
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    BlockId own = seq.table[g][index];
    BlockId known = trie_.at(node, g);
    if (own == kNullBlock || own == known || (known != kNullBlock && !is_of(known, node))) continue;
    if (known != kNullBlock && pool_.block(known).ref > 0) {
      pool_.hold(known);
      exchanges_.push_back({.seq = &seq, .kv_group = g, .index = index, .with = known});
      continue;
    }
    if (known != kNullBlock) pool_.clear_node(known);
    trie_.set_at(node, g, own);
    pool_.set_node(own, node);
    pool_.set_priority(own, trie_.node(node).priority);
    trie_.node(node).step = std::max(trie_.node(node).step, seq.last_step);
  }
}

// A parent is worth at least what its children are, so that it is evicted after them.
void KvCache::raise_priority(NodeId node, uint8_t priority) {
  if (priority == 0) return;  // as nearly always: the node is not touched
  for (; node != kNoNode && trie_.node(node).priority < priority; node = trie_.node(node).parent) {
    trie_.node(node).priority = priority;
    for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
      if (BlockId block = trie_.at(node, g); block != kNullBlock) pool_.set_priority(block, priority);
    }
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

// --- content that is no longer to be trusted or wanted

void KvCache::poison_from(uint64_t step) {
  for (NodeId id = 1; id <= trie_.capacity(); ++id) {
    if (trie_.node(id).used && trie_.node(id).step >= step) forget_subtree(id, true);
  }
  drop_lost_leases();
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
  drop_lost_leases();
}

uint32_t KvCache::forget_own_path(const SeqBlocks& seq) {
  NodeId top = kNoNode;
  uint32_t n = 0;
  for (NodeId id = seq.tail; id != kNoNode; id = trie_.node(id).parent) {
    const PrefixTrie::Node& node = trie_.node(id);
    bool last = id == seq.tail;
    bool one_way =
        last ? node.first_child == kNoNode : node.first_child == top && trie_.node(top).next_sibling == kNoNode;
    if (!one_way || node.n_tails > (last ? 1u : 0u)) break;
    top = id;
    ++n;
  }
  if (n > 0) forget_subtree(top, false);
  return n;
}

void KvCache::reset() {
  while (trie_.node(kNoNode).first_child != kNoNode) forget_subtree(trie_.node(kNoNode).first_child, false);
  drop_lost_leases();
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
    if (!is_of(block, id)) {
      trie_.set_at(id, g, kNullBlock);
      continue;
    }
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
  scratch_.doomed.clear();
  trie_.subtree(id, scratch_.doomed);
  for (size_t i = scratch_.doomed.size(); i-- > 0;) {
    drop_blocks(scratch_.doomed[i], poison);
    trie_.erase(scratch_.doomed[i]);
  }
  prune(parent);
}

// --- errors in the books

void KvCache::look_for_faults(bool held) {
  const PoolCounts& counts = pool_.counts();
  faults_.sound(counts.sum() == pool_.size(), "the counters of blocks do not add up", counts.sum());
  if (!held) faults_.sound(counts.active == leases_.n_blocks, "blocks are in use and nobody holds them", counts.active);
}

void KvCache::rebuild(std::span<SeqBlocks* const> holders, uint32_t n_needed) {
  for (SeqBlocks* seq : holders) {
    for (std::vector<BlockId>& table : seq->table) table.clear();
    std::ranges::fill(seq->first_live, 0u);
    seq->tail = kNoNode;
    seq->n_published = seq->n_adopted = 0;
    seq->may_publish = false;
  }
  leases_.leases.clear();
  std::ranges::fill(leases_.refs, 0u);
  leases_.n_blocks = 0;
  exchanges_.clear();
  carried_.clear();
  trie_.clear();
  pool_.rebuild(n_needed);
  kv_.n_blocks = pool_.size() - pool_.counts().quarantined;  // what policies count on
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
