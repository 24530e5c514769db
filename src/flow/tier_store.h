// TierStore: the KV blocks below the pool. All calls return at once; what happened comes back as TierEvents.
// Implemented by runtime::DiskStore and tests/support/memory_tier.h.
//  1. An entry is one block of tokens with the blocks of some KvGroups. Its name stands for its layout, scope and whole
//     prefix; tokens and parent are compared as well before a byte of it is used.
//  2. The store is never authoritative: an entry that is gone, damaged or foreign is a miss.
//  3. Bytes of the pool are read and written inside save() and place() only: between steps.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/ids.h"
#include "flow/step_plan.h"

namespace millrace::flow {

using TierName = std::array<uint8_t, 32>;  // SHA-256

struct TierBlock {
  TierName name = {};
  TierName parent = {};         // name of the block before, or of the scope
  std::vector<TokenId> tokens;  // [block_tokens]
  uint32_t kv_groups = 0;       // bit g: KvGroup g
};

enum class TierEventKind : uint8_t {
  kStored,   // `name` can be loaded, with the bits of kv_groups
  kRemoved,  // `name` cannot be loaded any more, or was not stored
  kLoaded    // the first n_blocks blocks of `load` are staged
};

struct TierEvent {
  TierEventKind kind = TierEventKind::kStored;
  TierName name = {};
  uint32_t kv_groups = 0;
  uint64_t load = 0;
  uint32_t n_blocks = 0;
};

// What went between the pool and the store, ever.
struct TierTraffic {
  uint64_t bytes_out = 0;  // copied down
  uint64_t bytes_in = 0;   // staged
  uint64_t n_damaged = 0;  // entries that were not what they said
};

// Thread: engine.
class TierStore {
 public:
  virtual ~TierStore() = default;
  // `wake` is called from any thread when poll() has something new. The entries there are come as the first events.
  virtual void start(std::function<void()> wake) = 0;
  // `wake` is not called any more once this has returned.
  virtual void stop() = 0;
  virtual void poll(std::vector<TierEvent>& out) = 0;
  // Name of the layout: what all names of this store descend from.
  virtual TierName layout() const = 0;
  // Copies the blocks (ids[g] for each bit of block.kv_groups) and stores them later. False: no room now, try again.
  virtual bool save(const TierBlock& block, const std::vector<BlockId>& ids) = 0;
  // Begins to stage the given KvGroups of the blocks; the id of the load, or 0 when it is too much now.
  virtual uint64_t load(std::vector<TierBlock> blocks) = 0;
  // Most blocks (of one KvGroup each) that one load may have, and how long it is expected to take.
  virtual uint32_t max_load_blocks() const = 0;
  virtual Tick load_time(uint32_t n_blocks) const = 0;
  // Copies a staged block to the pool: KvGroup kv_group of the index-th block of a load that has been reported.
  virtual void place(uint64_t load, uint32_t index, uint32_t kv_group, BlockId to) = 0;
  // Removes every entry.
  virtual void clear() = 0;
  // The staged bytes are not needed any more.
  virtual void end_load(uint64_t load) = 0;
  virtual TierTraffic traffic() const { return {}; }
};

}  // namespace millrace::flow
