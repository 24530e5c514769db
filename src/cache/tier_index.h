// TierIndex: which published prefixes lie below the pool, by name. A name is SHA-256 over the name before it and the
// block's tokens, from the layout and the scope's salt on, so it stands for the whole prefix on any machine.
//  1. It is told, not asked: entries come and go by TierEvents. A stale one is a miss when it is loaded.
//  2. Looking up does no I/O and influences no decision but what to load.
// Thread: engine.
#pragma once

#include <cstring>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cache/kv_cache.h"
#include "flow/tier_store.h"

namespace millrace::cache {

flow::TierName tier_root(const flow::TierName& layout, std::string_view salt);
flow::TierName tier_child(const flow::TierName& parent, std::span<const TokenId> tokens);

// What would have to be loaded so that a sequence finds more of its prefix in the pool.
struct TierLoad {
  std::vector<flow::TierBlock> blocks;  // ascending; kv_groups: what the pool lacks
  std::vector<uint32_t> indices;        // [blocks] place in the prefix, in blocks
  uint32_t n_prefix_blocks = 0;         // prefix afterwards
  uint32_t n_device_blocks = 0;         // prefix now
  uint32_t n_loads = 0;                 // blocks of one KvGroup each
};

class TierIndex {
 public:
  TierIndex(const KvCache& cache, const flow::TierName& layout) : cache_(cache), layout_(layout) {}

  // Names of this scope descend from its salt. Idempotent; false when there are too many scopes: it has no names.
  bool open_scope(uint32_t scope, std::string_view salt);
  bool is_open(uint32_t scope) const { return scopes_.contains(scope); }
  const flow::TierName& scope_name(uint32_t scope) const { return scopes_.at(scope); }

  // KvGroups of the entry; 0 = not there.
  uint32_t kv_groups(const flow::TierName& name) const;
  void add(const flow::TierName& name, uint32_t kv_groups) { entries_[name] = kv_groups; }
  void remove(const flow::TierName& name) { entries_.erase(name); }
  void clear() { entries_.clear(); }
  size_t size() const { return entries_.size(); }

  // Name of a node of the trie whose scope was opened. Remembered while the node lives.
  flow::TierName name_of(NodeId node);

  // The longest prefix of `tokens` (at most size - 1) that pool and entries give together, and what is to be loaded for
  // it, of at most max_loads blocks. Empty when that is no more than the pool gives alone.
  TierLoad find(uint32_t scope, const TokenView& tokens, uint32_t max_loads);

 private:
  struct NameHash {
    size_t operator()(const flow::TierName& name) const {
      size_t hash = 0;
      std::memcpy(&hash, name.data(), sizeof(hash));
      return hash;
    }
  };
  struct Memo {
    uint64_t serial = 0;
    flow::TierName name = {};
  };
  struct Place {  // one block of the prefix that is looked up
    NodeId node = kNoNode;
    uint32_t below = 0;  // KvGroups of the entry
    flow::TierName name = {};
  };

  void walk(uint32_t scope, const TokenView& tokens);
  bool on_device(const Place& place, uint32_t kv_group) const;
  uint32_t usable(uint32_t length, bool with_entries) const;
  TierLoad loads_for(const TokenView& tokens, uint32_t length, const flow::TierName& root);

  const KvCache& cache_;
  flow::TierName layout_;
  std::unordered_map<uint32_t, flow::TierName> scopes_;             // looked up only
  std::unordered_map<flow::TierName, uint32_t, NameHash> entries_;  // looked up only
  std::vector<Memo> memo_;                                          // [trie capacity + 1]
  std::vector<Place> places_;                                       // scratch
  std::vector<NodeId> climb_;                                       // scratch
};

}  // namespace millrace::cache
