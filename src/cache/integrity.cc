// The auditor of KvCache: every rule of docs/contracts/cache.md that can be seen from the state alone.
#include <fmt/core.h>

#include "cache/kv_cache.h"

namespace millrace::cache {

std::string KvCache::check_integrity(std::span<const SeqBlocks* const> holders) const {
  std::vector<uint32_t> refs(pool_.size(), 0);
  std::vector<uint32_t> tails(size_t{trie_.capacity()} + 1, 0);
  std::vector<const SeqBlocks*> all(holders.begin(), holders.end());
  for (const Lease& lease : leases_.leases) all.push_back(&lease.kv);
  for (const SeqBlocks* seq : all) {
    for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
      for (BlockId id : seq->table[g]) {
        if (id != kNullBlock) ++refs[id];
      }
    }
    if (seq->tail != kNoNode) ++tails[seq->tail];
    if (std::string fault = check_sequence(*seq); !fault.empty()) return fault;
  }
  if (!exchanges_.empty()) return "exchanges were not settled";
  for (NodeId id = 1; id <= trie_.capacity(); ++id) {
    if (trie_.node(id).n_tails != tails[id]) {
      return fmt::format("node {}: {} tails, found {}", id, trie_.node(id).n_tails, tails[id]);
    }
  }
  if (std::string fault = pool_.check_integrity(refs); !fault.empty()) return fault;
  if (std::string fault = trie_.check_integrity(); !fault.empty()) return fault;
  if (std::string fault = check_nodes(); !fault.empty()) return fault;
  if (std::string fault = check_leases(); !fault.empty()) return fault;
  return check_eviction_order();
}

// A sequence holds exactly the blocks of its published path, and nulls lie below its windows only.
std::string KvCache::check_sequence(const SeqBlocks& seq) const {
  uint32_t depth = seq.n_published;
  for (NodeId node = seq.tail; node != kNoNode; node = trie_.node(node).parent, --depth) {
    if (depth == 0) return fmt::format("slot {}: its path is longer than {} blocks", seq.slot, seq.n_published);
    if (!trie_.node(node).used) return fmt::format("slot {}: node {} of its path is gone", seq.slot, node);
    for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
      BlockId own = depth - 1 < seq.table[g].size() ? seq.table[g][depth - 1] : kNullBlock;
      if (own != kNullBlock && own != trie_.at(node, g)) {
        return fmt::format("slot {}: block {} at {} is not that of its path", seq.slot, own, depth - 1);
      }
    }
  }
  if (depth != 0) return fmt::format("slot {}: its path ends {} blocks early", seq.slot, depth);
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    for (uint32_t i = 0; i < seq.table[g].size(); ++i) {
      bool own_window = seq.window_tokens > 0 && kv_.groups[g].kind == flow::KvGroupKind::kFull;
      bool sink = own_window && i < ceil_div(seq.sink_tokens, kv_.block_tokens);
      if ((seq.table[g][i] == kNullBlock) != (i < seq.first_live[g] && !sink)) {
        return fmt::format("slot {}: entry {} of KvGroup {} with the window at {}", seq.slot, i, g, seq.first_live[g]);
      }
    }
  }
  return {};
}

// Nodes and blocks name each other.
std::string KvCache::check_nodes() const {
  uint32_t n_named = 0;
  for (NodeId id = 1; id <= trie_.capacity(); ++id) {
    for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
      BlockId block = trie_.at(id, g);
      bool full = kv_.groups[g].kind == flow::KvGroupKind::kFull;
      if (block == kNullBlock) {
        if (full && trie_.node(id).used && !trie_.node(id).loose)
          return fmt::format("node {} lacks its block of KvGroup {}", id, g);
        continue;
      }
      ++n_named;
      if (!trie_.node(id).used) return fmt::format("node {} is unused and names block {}", id, block);
      const Block& b = pool_.block(block);
      if (b.node != id || b.kv_group != g) return fmt::format("node {} and block {} disagree", id, block);
      if (b.poisoned) return fmt::format("block {} is poisoned and published", block);
      if (b.priority != trie_.node(id).priority) return fmt::format("block {}: priority of node {}", block, id);
    }
  }
  for (BlockId id = 0; id < pool_.size(); ++id) {
    if (pool_.block(id).node != kNoNode) --n_named;
  }
  return n_named == 0 ? std::string() : "a block names a node that does not name it";
}

// Popping the oldest cached block never orphans a child: a child's Full blocks are cached and older than its parent's.
std::string KvCache::check_eviction_order() const {
  std::vector<uint32_t> age(pool_.size(), UINT32_MAX);  // place in the list of cached blocks
  uint32_t place = 0;
  for (BlockId id : pool_.cached_in_order()) age[id] = place++;
  for (NodeId id = 1; id <= trie_.capacity(); ++id) {
    NodeId parent = trie_.node(id).parent;
    if (!trie_.node(id).used || parent == kNoNode) continue;
    if (trie_.node(id).loose) continue;
    if (trie_.node(parent).priority < trie_.node(id).priority) {
      return fmt::format("node {} is worth more than its parent {}", id, parent);
    }
    for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
      if (kv_.groups[g].kind != flow::KvGroupKind::kFull) continue;
      BlockId above = trie_.at(parent, g);
      BlockId own = trie_.at(id, g);
      if (pool_.block(above).ref > 0) continue;
      if (pool_.block(own).ref > 0) return fmt::format("node {} is in use, its parent {} is not", id, parent);
      if (age[own] > age[above]) return fmt::format("node {} would outlive its parent {}", id, parent);
    }
  }
  return {};
}

}  // namespace millrace::cache
