// PrefixTrie: which token prefixes have KV blocks. An exact flat block trie: a node is one full block of tokens below
// its parent; a hash table finds (parent, scope, tokens) and every hit is compared token by token, so a collision can
// never serve foreign KV. The hash (and its per-process secret) decides only where a node lies in the table.
//  1. A node holds one block per KvGroup or none (a window slid on, or the block was evicted).
//  2. Only leaves are erased one by one; subtree() lists what goes with a node.
// Thread: engine. Memory: all of it is taken in the constructor.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "cache/block_pool.h"
#include "cache/change_log.h"

namespace millrace::cache {

struct TrieOptions {
  uint32_t block_tokens = 0;
  uint32_t n_groups = 0;
  uint32_t capacity = 0;  // nodes besides the root
  uint64_t hash_secret = 0;
  unsigned hash_bits = 64;  // fewer bits force collisions (tests)
};

class PrefixTrie {
 public:
  // `faults` outlives the trie.
  PrefixTrie(const TrieOptions& options, Faults& faults);

  struct Node {
    NodeId parent = kNoNode;
    NodeId first_child = kNoNode;
    NodeId next_sibling = kNoNode;
    NodeId prev_sibling = kNoNode;
    uint32_t scope = 0;
    uint32_t n_tails = 0;  // sequences whose deepest node this is; such a node is not pruned
    uint32_t hash = 0;
    uint64_t step = 0;     // its content is computed once this step is done
    uint64_t serial = 0;   // unique among all nodes ever inserted; 0 = unused
    uint16_t hits = 0;     // matches that used it, up to 65535
    uint8_t priority = 0;  // highest of those who published or matched it; at most that of its parent
    bool loose = false;    // of sequences with a window of their own: Full blocks may be gone
    bool used = false;
  };

  const Node& node(NodeId id) const { return nodes_[id]; }
  Node& node(NodeId id) { return nodes_[id]; }
  uint32_t capacity() const { return options_.capacity; }
  uint32_t size() const { return n_used_; }
  std::span<const TokenId> tokens(NodeId id) const;  // [block_tokens]
  BlockId at(NodeId id, uint32_t kv_group) const { return at_[size_t{id} * options_.n_groups + kv_group]; }
  void set_at(NodeId id, uint32_t kv_group, BlockId block) {
    BlockId& entry = at_[size_t{id} * options_.n_groups + kv_group];
    bool was_there = entry != kNullBlock;
    entry = block;
    if (log_ != nullptr && was_there != (block != kNullBlock)) note_change(id, kv_group, block != kNullBlock);
  }
  // From now on, while the trie is empty: changes go to `log`, which outlives the trie's use.
  void watch(ChangeLog* log);
  // What the names of this scope's nodes begin with, from now on; else it is the number of the scope.
  void name_scope(uint32_t scope, uint64_t root) { roots_[scope] = root; }
  // Of a trie that is watched: what the log calls the node; of the root 0.
  uint64_t name(NodeId id) const { return names_[id]; }
  bool has_blocks(NodeId id) const;

  // kNoNode when there is none. `tokens`: [block_tokens].
  NodeId find(NodeId parent, uint32_t scope, std::span<const TokenId> tokens) const;
  // A new node without blocks; kNoNode when the trie is full. There must be no equal one.
  NodeId insert(NodeId parent, uint32_t scope, std::span<const TokenId> tokens);
  // `id` must be a leaf.
  void erase(NodeId id);
  // Forgets all nodes, whatever they hold; the log hears nothing of it.
  void clear();
  // Appends `id` and all below it, parents before children.
  void subtree(NodeId id, std::vector<NodeId>& out) const;

  std::string check_integrity() const;

 private:
  struct Entry {
    NodeId id = kNoNode;  // kNoNode: empty
    uint32_t hash = 0;    // of the node, so that probing touches no other node
  };

  void note_change(NodeId id, uint32_t kv_group, bool stored);
  uint64_t name_below(NodeId parent, uint32_t scope, std::span<const TokenId> tokens) const;
  uint32_t hash_of(NodeId parent, uint32_t scope, std::span<const TokenId> tokens) const;
  bool equals(NodeId id, NodeId parent, uint32_t scope, std::span<const TokenId> tokens) const;

  TrieOptions options_;
  Faults& faults_;
  std::vector<Node> nodes_;      // [capacity + 1], 0 = root
  std::vector<TokenId> tokens_;  // [capacity + 1, block_tokens]
  std::vector<BlockId> at_;      // [capacity + 1, n_groups]
  std::vector<Entry> table_;     // open addressing, linear probing, power of two
  std::vector<NodeId> unused_;   // stack
  ChangeLog* log_ = nullptr;
  std::vector<uint64_t> names_;                   // [capacity + 1] with a log
  std::unordered_map<uint32_t, uint64_t> roots_;  // names of scopes; looked up only
  uint32_t n_used_ = 0;
  uint64_t n_inserted_ = 0;
};

}  // namespace millrace::cache
