// KvCache: the block tables of sequences over one BlockPool and one PrefixTrie. Matching, forks with copy-on-write,
// windows, publication, eviction, leases, poison. See docs/contracts/cache.md for the rules and their tests.
//  1. A block is written only by a sequence that holds it alone and before it is committed.
//  2. A published prefix of a sequence is held by it block by block (all Full KvGroups), so its path is never evicted.
//  3. A failed call leaves the sequence as it was; every block leaves a sequence through release() or slide().
// Thread: engine. No bytes, no clock, no tokens of its own.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cache/block_pool.h"
#include "cache/geometry.h"
#include "cache/lease.h"
#include "cache/prefix_trie.h"
#include "cache/token_view.h"
#include "flow/kv_geometry.h"
#include "flow/step_plan.h"

namespace millrace::cache {

struct CacheOptions {
  bool match_prefixes = true;
  uint64_t hash_secret = 0;
  unsigned hash_bits = 64;
  uint32_t lease_percent = 25;  // of the pool: most blocks that leases hold together
  bool contain_faults = false;  // errors in the books are counted (Faults) and rebuild() follows; else they abort
};

struct CacheTotals {
  uint64_t n_evictions = 0;      // cached blocks dropped for new content
  uint64_t n_shared_tokens = 0;  // matched, in blocks that others held at that moment
};

// What a plan collects: BlockDeltas and copies.
struct PlanEdits {
  std::vector<flow::BlockDelta>* blocks = nullptr;
  std::vector<flow::CopyOp>* copies = nullptr;
};

// A block that restore() took: to be filled with block `index` of the prefix.
struct RestoredBlock {
  uint32_t index = 0;
  uint32_t kv_group = 0;
  BlockId id = kNullBlock;
};

class KvCache {
 public:
  KvCache(const flow::KvGeometry& kv, const CacheOptions& options);
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  const flow::KvGeometry& geometry() const { return kv_; }
  const BlockPool& pool() const { return pool_; }
  const PrefixTrie& trie() const { return trie_; }
  const CacheTotals& totals() const { return totals_; }
  uint32_t available() const { return pool_.available(); }
  bool matches_prefixes() const { return options_.match_prefixes; }
  // Before anything is published: what comes and goes is written to `log`.
  void watch(ChangeLog* log) { trie_.watch(log); }
  // Of a cache that is watched, before anything of this scope is published: what its names begin with.
  void name_scope(uint32_t scope, uint64_t root) { trie_.name_scope(scope, root); }

  // Sizes the table for n_tokens, so that decode steps do not allocate.
  void reserve(SeqBlocks& seq, uint32_t n_tokens) const;

  // Fills an empty table with the longest cached prefix of `tokens`, at most max_tokens and tokens.size() - 1 long, and
  // holds it. Returns its length in tokens.
  uint32_t match(SeqBlocks& seq, const TokenView& tokens, uint32_t max_tokens);
  // Fills an empty table with the first n_tokens of `from`; a partly filled last block is shared until extend().
  // False, and nothing changed, when a window of `from` has slid past them.
  bool fork(SeqBlocks& seq, const SeqBlocks& from, uint32_t n_tokens);
  // Appends a BlockDelta for every entry: the table of a newly opened slot.
  void announce(const SeqBlocks& seq, std::vector<flow::BlockDelta>& out) const;

  // Releases blocks below the windows of a query at position `computed`.
  void slide(SeqBlocks& seq, uint32_t computed, std::vector<flow::BlockDelta>& out);
  uint32_t n_groups() const { return static_cast<uint32_t>(kv_.groups.size()); }
  // Blocks that extend() would take.
  uint32_t blocks_needed(const SeqBlocks& seq, uint32_t computed, uint32_t n_rows) const;
  // Makes the rows computed .. computed + n_rows - 1 writable for `step`: new blocks, copies of a shared last block.
  // available() >= blocks_needed() must hold. False: the books were wrong (n_faults()), the table is of no use.
  bool extend(SeqBlocks& seq, uint32_t computed, uint32_t n_rows, uint64_t step, const PlanEdits& edits);
  // Gives back the blocks beyond the first n_tokens, which are neither published nor shared.
  void truncate(SeqBlocks& seq, uint32_t n_tokens);
  // Publishes full blocks among the first n_ready tokens, which are known and computed or planned. Blocks equal to ones
  // that others hold are exchanged for those by settle().
  void publish(SeqBlocks& seq, const TokenView& tokens, uint32_t n_ready);
  // Ends a plan or a retirement: carries out the exchanges that publish() found. No table may be in use by a plan
  // under construction, since the freed duplicates can be taken again. Their BlockDeltas are carried to the next plan.
  void settle();
  // BlockDeltas left for the next plan; the caller takes the content and leaves the vector empty.
  std::vector<flow::BlockDelta>& carried() { return carried_; }

  // One more step of bringing blocks from below the pool: extends `seq`, which started empty, along `tokens` by at most
  // max_new blocks that the pool lacks, and publishes them. loaded[i], for each block i of the prefix: KvGroups
  // whose block can be filled. What was taken is appended to `out`: the caller fills it before the
  // next plan. False when it is complete, or what is missing was not loaded, or there is no room: release() it.
  bool restore(SeqBlocks& seq, const TokenView& tokens, std::span<const uint32_t> loaded, uint32_t max_new,
               std::vector<RestoredBlock>& out);
  // Drops all blocks of the sequence; what was committed stays cached, deepest blocks oldest.
  void release(SeqBlocks& seq);
  // Holds the published prefix of `seq` until ask.expires, in place of what the session held before: nothing of it is
  // evicted meanwhile. Of a prefix larger than the quota only its begin is held. To stay inside the quota, leases of
  // the tenant that holds most give way, the one that expires first before others. False when there is nothing to hold.
  bool lease(const LeaseAsk& ask, const SeqBlocks& seq);
  void expire_leases(Tick now);
  Tick next_lease_expiry() const;  // 0 = no lease
  // Gives up the lease that expires first; false when there is none.
  bool give_up_lease();
  // Gives up the leases of this session, whatever their tenant.
  void end_leases(std::string_view session);
  uint32_t n_leased() const { return leases_.n_blocks; }  // blocks that leases hold

  // Blocks that become available when `seq` is released after the others counted since begin_count().
  void begin_count();
  uint32_t would_free(const SeqBlocks& seq);

  // Steps up to `step` have retired.
  void retire(uint64_t step) { pool_.retire(step); }
  // Step `step` failed: forgets all content that it or a later step computes; blocks still held become poisoned.
  void poison_from(uint64_t step);
  bool holds_poisoned(const SeqBlocks& seq) const;
  // Forgets what this sequence computed and published itself, and all below it.
  void unpublish_own(const SeqBlocks& seq);
  // Forgets the deepest nodes of its path that nobody else's path goes through; returns how many blocks of tokens.
  // heal() must follow.
  uint32_t forget_own_path(const SeqBlocks& seq);
  // Forgets every prefix; blocks in use stay with their sequences.
  void reset();
  // At once after unpublish_own(), poison_from() and reset(), for every sequence with blocks: drops a path that is
  // gone.
  void heal(SeqBlocks& seq);

  // Errors found in the books so far. After one, and before the next step is submitted: rebuild().
  uint64_t n_faults() const { return faults_.n(); }
  // What can be seen at once: the counters add up, and blocks are in use only when somebody may hold them. `held`:
  // somebody besides leases does, or a step is in flight.
  void look_for_faults(bool held);
  // The books of an empty pool: nothing is cached or leased. Sequences with blocks were released; `holders`, the others
  // with blocks, lose them and publish no more. What is in quarantine stays there as long as n_needed others are left.
  void rebuild(std::span<SeqBlocks* const> holders, uint32_t n_needed);
  // Tests: the books, to be broken.
  BlockPool& books() { return pool_; }

  // Empty, or the first broken rule. `holders`: every sequence with blocks. Slow: tests and debugging.
  std::string check_integrity(std::span<const SeqBlocks* const> holders) const;

 private:
  struct Exchange {
    SeqBlocks* seq = nullptr;
    uint32_t kv_group = 0;
    uint32_t index = 0;
    BlockId with = kNullBlock;  // held once more since publish()
  };

  struct Scratch {
    std::vector<NodeId> path;       // nodes of the prefix being matched
    std::vector<NodeId> doomed;     // a subtree
    std::vector<TokenId> block;     // [block_tokens]
    std::vector<uint32_t> dropped;  // of would_free: references dropped per block
    std::vector<BlockId> counted;   // blocks with dropped != 0
  };

  uint32_t usable_prefix(const SeqBlocks& seq) const;
  uint32_t adopt_path(SeqBlocks& seq);
  BlockId take_block(uint32_t kv_group, uint64_t step);
  bool evict_oldest();
  bool writable(BlockId id) const;
  // The block that the node names says the same; else it goes into quarantine.
  bool is_of(BlockId id, NodeId node) {
    return pool_.sound(pool_.block(id).node == node, "a prefix names a block that is not its own", id);
  }
  uint32_t drop_blocks(NodeId id, bool poison);
  void forget_subtree(NodeId id, bool poison);
  void prune(NodeId id);
  void move_tail(SeqBlocks& seq, NodeId to);
  bool needs_copy(BlockId id) const;
  void publish_block(SeqBlocks& seq, NodeId node, uint32_t index);
  void raise_priority(NodeId node, uint8_t priority);
  void count_leased(const SeqBlocks& seq, int change);
  void end_lease(size_t index);
  void drop_lost_leases();
  size_t lease_to_give_way(size_t newest);
  std::string check_sequence(const SeqBlocks& seq) const;
  std::string check_nodes() const;
  std::string check_eviction_order() const;
  std::string check_leases() const;

  flow::KvGeometry kv_;
  CacheOptions options_;
  Faults faults_;
  BlockPool pool_;
  PrefixTrie trie_;
  CacheTotals totals_;
  std::vector<flow::BlockDelta> carried_;
  std::vector<Exchange> exchanges_;
  LeaseBook leases_;
  Scratch scratch_;
};

}  // namespace millrace::cache
