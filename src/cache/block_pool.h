// BlockPool: which block of the one pool is free, in use, cached or cooling. Accounting only; runtime owns the bytes.
//  1. A block is in exactly one list (free, cooling, one cached list per priority), or in none while Active (ref > 0).
//  2. free + cached + active + cooling + quarantined = size(); counters change only in move().
//  3. Cached means ref = 0 and committed (node != 0); a block that is released uncommitted while a step in flight may
//     still touch it cools until that step has retired. Compute may take cooling blocks at once: steps are ordered.
//  4. A block whose books are found wrong (Faults) goes into quarantine: poisoned, in no list, never taken again; to
//     hold or release it does nothing.
// Thread: engine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cache/faults.h"
#include "flow/step_plan.h"

namespace millrace::cache {

using flow::BlockId;
using flow::kNullBlock;
using NodeId = uint32_t;
constexpr NodeId kNoNode = 0;  // the root of the trie; as content: none

constexpr uint32_t kPriorities = 8;  // of cached content; the lowest is evicted first

enum class BlockState : uint8_t { kFree, kActive, kCached, kCooling, kQuarantined };

struct Block {
  uint32_t ref = 0;       // table entries and pins that hold it
  NodeId node = kNoNode;  // committed content
  uint32_t prev = 0;
  uint32_t next = 0;
  uint64_t last_step = 0;  // last step whose plan reads or writes it
  BlockState state = BlockState::kFree;
  uint8_t kv_group = 0;
  uint8_t priority = 0;   // of its content, that of the node
  bool poisoned = false;  // its content comes from a failed step
};

struct PoolCounts {
  uint32_t free = 0;
  uint32_t cached = 0;
  uint32_t active = 0;
  uint32_t cooling = 0;
  uint32_t quarantined = 0;
  uint32_t sum() const { return free + cached + active + cooling + quarantined; }
};

class BlockPool {
 public:
  // `faults` outlives the pool.
  BlockPool(uint32_t n_blocks, Faults& faults);

  uint32_t size() const { return n_blocks_; }
  const PoolCounts& counts() const { return counts_; }
  const Block& block(BlockId id) const { return blocks_[id]; }
  uint64_t retired_step() const { return retired_step_; }
  // Blocks that take() gives, or gives after evictions.
  uint32_t available() const { return counts_.free + counts_.cooling + counts_.cached; }

  // A free or cooling block, now Active with ref 1 and no content; kNullBlock when there is none (evict first).
  BlockId take(uint32_t kv_group, uint64_t step);
  // One more holder; a cached block becomes Active.
  void hold(BlockId id);
  // One holder less; `last_step` is the last step in which this holder used it.
  void release(BlockId id, uint64_t last_step);
  // Steps up to `step` are done: what cooled for them is free.
  void retire(uint64_t step);
  // The cached block to evict first: the oldest of the lowest priority; kNullBlock when none.
  BlockId oldest_cached() const;
  // The content of an Active block is (again) that of `node`.
  void set_node(BlockId id, NodeId node);
  // Its content is worth so much; a cached block becomes the youngest of that priority.
  void set_priority(BlockId id, uint8_t priority);
  // Forgets the content: a cached block becomes free or cooling, an Active one stays with its holders.
  void clear_node(BlockId id);
  void poison(BlockId id) { blocks_[id].poisoned = true; }
  // `ok`, or a fault of this block, which goes into quarantine.
  bool sound(bool ok, const char* what, BlockId id) {
    if (!ok) [[unlikely]]
      quarantine(id, what);
    return ok;
  }
  // Nobody holds anything and nothing is committed: all blocks are free or cooling, but for those in quarantine, which
  // are set free when fewer than n_needed would be left without them.
  void rebuild(uint32_t n_needed);

  // The first `most` cached blocks in the order of eviction.
  std::vector<BlockId> cached_in_order(size_t most = SIZE_MAX) const;
  // Empty, or the first broken rule. refs[id] = holders as the caller counts them.
  std::string check_integrity(const std::vector<uint32_t>& refs) const;

 private:
  void quarantine(BlockId id, const char* what);
  BlockId next_unused();
  void unlink(BlockId id);
  void link_before(BlockId id, uint32_t position);
  void move(BlockId id, BlockState to);
  uint32_t& counter(BlockState state);
  uint32_t head_of(BlockState state, uint32_t priority) const;

  Faults& faults_;
  uint32_t n_blocks_;
  std::vector<Block> blocks_;  // [n_blocks + 2 + kPriorities]: the last ones are the list heads
  PoolCounts counts_;
  uint64_t retired_step_ = 0;
};

}  // namespace millrace::cache
