// SeqBlocks: the KV side of one sequence, of a lease, or of a load in progress. Changed by KvCache only.
#pragma once

#include <cstdint>
#include <vector>

#include "cache/block_pool.h"
#include "flow/kv_geometry.h"
#include "flow/step_plan.h"

namespace millrace::cache {

using flow::SlotId;
constexpr SlotId kNoSlot = 0xFFFFFFFF;

struct SeqBlocks {
  std::vector<BlockId> table[flow::kMaxKvGroups];  // [tokens / block_tokens], kNullBlock below the live window
  uint32_t first_live[flow::kMaxKvGroups] = {};    // entries before it are kNullBlock, but for those of sinks
  uint32_t scope = 0;
  uint32_t window_tokens = 0;  // > 0: Full KvGroups are windows for it, whose first sink_tokens stay visible
  uint32_t sink_tokens = 0;
  uint8_t priority = 0;      // of what it publishes or matches, 0 .. kPriorities - 1
  uint32_t n_published = 0;  // leading blocks that are in the trie (as ours or as an equal one)
  uint32_t n_adopted = 0;    // of those, found there at admission
  NodeId tail = kNoNode;     // node of block n_published - 1
  bool may_publish = true;   // false once the trie forgot its path (reset, failed neighbour)
  SlotId slot = kNoSlot;     // names the table in BlockDeltas
  uint64_t last_step = 0;    // last step whose plan uses the table
};

}  // namespace millrace::cache
