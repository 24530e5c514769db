// KvEvents: the changes of the prefix cache as events: one per run of blocks, each the child of the one before.
//  1. Played in order to an empty index of names, they give the names that the trie holds in its pool, after every
//  step.
//  2. Scopes with a salt are told with it; without their salt known they are left out, as are sequences with a window
//     of their own: who reads the tokens alone would take those blocks for everybody's.
//  3. What lies on disk is told under the same names, from when it is handed to the store (a write that fails is told
//  as
//     removed). What an earlier process left there is told once it has come into the pool.
// Thread: engine.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cache/change_log.h"
#include "cache/kv_cache.h"
#include "flow/kv_event.h"
#include "flow/tier_store.h"

namespace millrace::engine {

class KvEvents {
 public:
  using Hear = std::function<void(std::span<flow::KvEvent>)>;
  // `cache` is empty and outlives this.
  KvEvents(cache::KvCache& cache, Hear hear);

  // Of a request that was taken, or a conversation that comes back, before anything of it is published. Idempotent.
  void open_scope(uint32_t scope, std::string_view salt);
  // An entry below the pool holds these KvGroups of the node. Idempotent.
  void note_below(const flow::TierName& entry, cache::NodeId node, uint32_t kv_groups);
  // The entry is gone.
  void forget_below(const flow::TierName& entry);
  // The cache was reset: what was noted before it is void.
  void clear();
  // Ends a step: what happened goes to the listener.
  void hand_over();

 private:
  struct Below {
    uint64_t name = 0;
    uint32_t scope = 0;
    uint32_t kv_groups = 0;
  };

  void add_all(cache::ChangeLog& log, flow::KvMedium medium);
  void add(const cache::ChangeLog& log, const cache::BlockChange& change, flow::KvMedium medium);

  cache::KvCache& cache_;
  const cache::PrefixTrie& trie_;
  Hear hear_;
  uint32_t block_tokens_;
  uint32_t n_groups_;
  std::vector<uint32_t> windows_;  // [n_groups] tokens; 0 = Full
  cache::ChangeLog log_;
  cache::ChangeLog below_log_;
  std::map<flow::TierName, Below> below_;            // entries that were told
  std::unordered_map<uint32_t, std::string> salts_;  // by scope; looked up only
  std::vector<flow::KvEvent> events_;                // scratch
};

}  // namespace millrace::engine
