#include "cache/block_pool.h"

#include <fmt/core.h>

#include "base/macros.h"

namespace millrace::cache {
namespace {

constexpr uint32_t kHeads = 2 + kPriorities;  // free, cooling, cached by priority

}  // namespace

BlockPool::BlockPool(uint32_t n_blocks, Faults& faults)
    : faults_(faults), n_blocks_(n_blocks), blocks_(size_t{n_blocks} + kHeads) {
  rebuild(n_blocks);
}

void BlockPool::rebuild(uint32_t n_needed) {
  bool too_many = n_blocks_ - counts_.quarantined < n_needed;
  for (uint32_t head = n_blocks_; head < n_blocks_ + kHeads; ++head) blocks_[head].prev = blocks_[head].next = head;
  counts_ = {};
  for (BlockId id = 0; id < n_blocks_; ++id) {
    Block& block = blocks_[id];
    bool lost = block.state == BlockState::kQuarantined && !too_many;
    BlockState idle = block.last_step > retired_step_ ? BlockState::kCooling : BlockState::kFree;
    block = {.last_step = block.last_step, .state = lost ? BlockState::kQuarantined : idle, .poisoned = lost};
    ++counter(block.state);
    if (!lost) link_before(id, head_of(idle, 0));
  }
}

void BlockPool::quarantine(BlockId id, const char* what) {
  faults_.sound(false, what, id);
  Block& block = blocks_[id];
  if (block.state != BlockState::kQuarantined) move(id, BlockState::kQuarantined);
  block.poisoned = true;
}

BlockId BlockPool::take(uint32_t kv_group, uint64_t step) {
  BlockId id = next_unused();
  while (id != kNullBlock && !sound(blocks_[id].ref == 0 && blocks_[id].node == kNoNode, "a free block is held", id)) {
    id = next_unused();
  }
  if (id == kNullBlock) return kNullBlock;
  move(id, BlockState::kActive);
  Block& block = blocks_[id];
  block.ref = 1;
  block.kv_group = static_cast<uint8_t>(kv_group);
  block.last_step = step;
  block.priority = 0;
  block.poisoned = false;
  return id;
}

// A list that is empty although its counter is not: a fault that rebuild() puts right.
BlockId BlockPool::next_unused() {
  for (BlockState from : {BlockState::kFree, BlockState::kCooling}) {
    uint32_t head = head_of(from, 0);
    if (blocks_[head].next != head) return blocks_[head].next;
  }
  return kNullBlock;
}

void BlockPool::hold(BlockId id) {
  Block& block = blocks_[id];
  if (block.state == BlockState::kQuarantined) return;
  bool usable = block.state == BlockState::kActive || block.state == BlockState::kCached;
  if (!sound(usable, "a block that is free is held", id)) return;
  if (block.ref++ == 0) move(id, BlockState::kActive);
}

void BlockPool::release(BlockId id, uint64_t last_step) {
  Block& block = blocks_[id];
  if (block.state == BlockState::kQuarantined) return;
  if (!sound(block.state == BlockState::kActive && block.ref > 0, "a block is released that nobody holds", id)) return;
  if (last_step > block.last_step) block.last_step = last_step;
  if (--block.ref > 0) return;
  if (block.node != kNoNode) {
    move(id, BlockState::kCached);
  } else {
    move(id, block.last_step > retired_step_ ? BlockState::kCooling : BlockState::kFree);
  }
}

void BlockPool::retire(uint64_t step) {
  retired_step_ = step;
  uint32_t head = head_of(BlockState::kCooling, 0);
  for (uint32_t id = blocks_[head].next; id != head;) {
    uint32_t next = blocks_[id].next;
    if (blocks_[id].last_step <= step) move(id, BlockState::kFree);
    id = next;
  }
}

BlockId BlockPool::oldest_cached() const {
  for (uint32_t priority = 0; counts_.cached > 0 && priority < kPriorities; ++priority) {
    uint32_t head = head_of(BlockState::kCached, priority);
    if (blocks_[head].next != head) return blocks_[head].next;
  }
  return kNullBlock;
}

void BlockPool::set_priority(BlockId id, uint8_t priority) {
  Block& block = blocks_[id];
  CHECK(priority < kPriorities, "priority {}", priority);
  if (block.priority == priority) return;
  block.priority = priority;
  if (block.state != BlockState::kCached) return;
  unlink(id);
  link_before(id, head_of(BlockState::kCached, priority));
}

void BlockPool::set_node(BlockId id, NodeId node) {
  Block& block = blocks_[id];
  if (!sound(block.state == BlockState::kActive && !block.poisoned, "a block is published that is not in use", id)) {
    return;
  }
  block.node = node;
}

void BlockPool::clear_node(BlockId id) {
  Block& block = blocks_[id];
  block.node = kNoNode;
  if (block.state == BlockState::kCached) {
    move(id, block.last_step > retired_step_ ? BlockState::kCooling : BlockState::kFree);
  }
}

std::vector<BlockId> BlockPool::cached_in_order(size_t most) const {
  std::vector<BlockId> out;
  for (uint32_t priority = 0; priority < kPriorities; ++priority) {
    uint32_t head = head_of(BlockState::kCached, priority);
    for (uint32_t id = blocks_[head].next; id != head && out.size() < most; id = blocks_[id].next) out.push_back(id);
  }
  return out;
}

void BlockPool::unlink(BlockId id) {
  Block& block = blocks_[id];
  blocks_[block.prev].next = block.next;
  blocks_[block.next].prev = block.prev;
}

void BlockPool::link_before(BlockId id, uint32_t position) {
  Block& block = blocks_[id];
  block.next = position;
  block.prev = blocks_[position].prev;
  blocks_[block.prev].next = id;
  blocks_[position].prev = id;
}

// Free blocks are reused last in, first out (warm in the caches of the machine); the others queue.
void BlockPool::move(BlockId id, BlockState to) {
  Block& block = blocks_[id];
  if (block.state != BlockState::kActive) unlink(id);
  --counter(block.state);
  block.state = to;
  ++counter(to);
  if (to == BlockState::kActive || to == BlockState::kQuarantined) return;
  uint32_t head = head_of(to, block.priority);
  link_before(id, to == BlockState::kFree ? blocks_[head].next : head);
}

uint32_t& BlockPool::counter(BlockState state) {
  switch (state) {
    case BlockState::kFree:
      return counts_.free;
    case BlockState::kActive:
      return counts_.active;
    case BlockState::kCached:
      return counts_.cached;
    case BlockState::kQuarantined:
      return counts_.quarantined;
    case BlockState::kCooling:
      break;
  }
  return counts_.cooling;
}

uint32_t BlockPool::head_of(BlockState state, uint32_t priority) const {
  CHECK(state != BlockState::kActive && state != BlockState::kQuarantined, "such blocks are in no list");
  if (state == BlockState::kCached) return n_blocks_ + 2 + priority;
  return n_blocks_ + (state == BlockState::kFree ? 0u : 1u);
}

std::string BlockPool::check_integrity(const std::vector<uint32_t>& refs) const {
  PoolCounts seen;
  for (BlockId id = 0; id < n_blocks_; ++id) {
    const Block& b = blocks_[id];
    if (b.state == BlockState::kQuarantined) {
      ++seen.quarantined;
      continue;
    }
    if (b.ref != refs[id]) return fmt::format("block {}: ref {}, holders {}", id, b.ref, refs[id]);
    switch (b.state) {
      case BlockState::kFree:
        ++seen.free;
        break;
      case BlockState::kActive:
        ++seen.active;
        break;
      case BlockState::kCached:
        ++seen.cached;
        break;
      case BlockState::kCooling:
        ++seen.cooling;
        break;
      case BlockState::kQuarantined:
        break;
    }
    bool held = b.state == BlockState::kActive;
    if (held != (b.ref > 0)) return fmt::format("block {}: state {} with ref {}", id, int(b.state), b.ref);
    if (!held && (b.state == BlockState::kCached) != (b.node != kNoNode)) {
      return fmt::format("block {}: state {} with node {}", id, int(b.state), b.node);
    }
  }
  if (seen.free != counts_.free || seen.cached != counts_.cached || seen.active != counts_.active ||
      seen.cooling != counts_.cooling || seen.quarantined != counts_.quarantined) {
    return fmt::format("counters free {} cached {} active {} cooling {} quarantined {}, found {} {} {} {} {}",
                       counts_.free, counts_.cached, counts_.active, counts_.cooling, counts_.quarantined, seen.free,
                       seen.cached, seen.active, seen.cooling, seen.quarantined);
  }
  uint32_t linked = 0;
  for (uint32_t head = n_blocks_; head < n_blocks_ + kHeads; ++head) {
    for (uint32_t id = blocks_[head].next; id != head; id = blocks_[id].next) {
      bool listed = blocks_[id].state != BlockState::kActive;
      if (!listed || head_of(blocks_[id].state, blocks_[id].priority) != head) {
        return fmt::format("block {} of state {} is in list {}", id, int(blocks_[id].state), head - n_blocks_);
      }
      if (blocks_[blocks_[id].next].prev != id) return fmt::format("block {}: broken links", id);
      if (++linked > n_blocks_) return "a list has a cycle";
    }
  }
  if (linked + counts_.active + counts_.quarantined != n_blocks_)
    return fmt::format("{} blocks in lists, {} active", linked, counts_.active);
  return {};
}

}  // namespace millrace::cache
