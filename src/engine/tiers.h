// Tiers: the engine's side of the blocks below the pool. A request whose prefix lies there waits, outside the sequence
// table and without memory, while it is loaded; what is worth keeping is copied down, a few blocks per turn.
//  1. A load holds blocks only from the moment its bytes are staged until they are published; nothing waits for it
//     longer than its deadline, and every failure means that the prompt is computed.
//  2. Bytes move only while no step is in flight.
// Thread: engine.
#pragma once

#include <deque>
#include <vector>

#include "cache/tier_index.h"
#include "flow/generate_request.h"
#include "flow/tier_store.h"

namespace millrace::engine {

struct TierTotals {
  uint64_t n_saved = 0;
  uint64_t n_loads = 0;
  uint64_t n_failed = 0;
  uint64_t n_loaded_tokens = 0;
};

class Tiers {
 public:
  // The caller starts the store.
  Tiers(cache::KvCache& cache, flow::TierStore& store, bool saves_all);
  ~Tiers();
  Tiers(const Tiers&) = delete;
  Tiers& operator=(const Tiers&) = delete;

  // Begins to load what the request lacks, when that is expected to be faster than `row_time` per token. The time at
  // which the request stops waiting for it; 0: nothing to wait for. A load under way serves all that want it.
  Tick begin_load(const flow::GenerateRequest& request, Tick now, Tick row_time);
  // The request waits no longer (it starts, or it ended): the load goes on for others.
  void forget(flow::RequestId request);

  // Takes in what happened below. Requests whose load is over are appended to `ready`. `idle`: no step is in flight.
  // True when there was something to do.
  bool turn(bool idle, std::vector<flow::RequestId>& ready);

  // A sequence ends: notes what of it is to be copied down. `keep`: whatever of it.
  void note_end(const cache::SeqBlocks& seq, bool keep);

  // The request is one of those that a load under way serves.
  bool waits(flow::RequestId request) const;
  // Sequences in disguise that hold blocks (audits).
  void holders(std::vector<const cache::SeqBlocks*>& out) const;
  // The trie forgot paths.
  void heal();
  // Nothing that lies below is used any more, and it is removed there.
  void reset();
  uint32_t n_waiting() const;  // requests
  size_t n_entries() const { return index_.size(); }
  const TierTotals& totals() const { return totals_; }

 private:
  struct Load {
    uint64_t id = 0;
    std::vector<TokenId> tokens;    // of the prefix that it completes, and one more
    std::vector<uint32_t> indices;  // [blocks of the load] place in the prefix
    std::vector<uint32_t> wanted;   // [n_prefix_blocks] KvGroups asked for; 0: not to be used any more
    uint32_t n_device_blocks = 0;
    bool staged = false;
    std::vector<uint32_t> loaded;  // [n_prefix_blocks] KvGroups that arrived
    cache::SeqBlocks kv;
    std::vector<flow::RequestId> waiting;
  };
  struct Save {
    cache::NodeId node = cache::kNoNode;
    uint64_t serial = 0;
  };

  void take(const flow::TierEvent& event);
  void stage(const flow::TierEvent& event);
  bool restore_some(Load& load);
  void finish(size_t index, std::vector<flow::RequestId>& ready);
  bool save_some();
  void note_oldest();
  void note(cache::NodeId node);
  uint32_t device_groups(cache::NodeId node) const;

  cache::KvCache& cache_;
  flow::TierStore& store_;
  cache::TierIndex index_;
  bool saves_all_;
  std::vector<Load> loads_;
  std::deque<Save> saves_;
  TierTotals totals_;
  std::vector<flow::TierEvent> events_;         // scratch
  std::vector<cache::RestoredBlock> restored_;  // scratch
  std::vector<cache::NodeId> path_;             // scratch
};

}  // namespace millrace::engine
