// Tiers: the engine's side of the blocks below the pool. A request whose prefix lies there waits, outside the sequence
// table and without memory, while it is loaded; what is worth keeping is copied down, a few blocks per turn.
//  1. A load holds blocks only from the moment its bytes are staged until they are published; nothing waits for it
//     longer than its deadline, and every failure means that the prompt is computed.
//  2. Bytes come into the pool only while no step is in flight. They leave it then, or, of a sequence that is being
//     preempted, while steps that do not write them are.
// Thread: engine.
#pragma once

#include <deque>
#include <vector>

#include "cache/tier_index.h"
#include "engine/kv_events.h"
#include "flow/generate_request.h"
#include "flow/tier_store.h"
#include "sched/below.h"

namespace millrace::engine {

struct TierTotals {
  uint64_t n_saved = 0;
  uint64_t n_loads = 0;
  uint64_t n_failed = 0;
  uint64_t n_loaded_tokens = 0;
  uint64_t n_swapped_out = 0;  // blocks of tokens copied down as their sequence was preempted; part of n_saved
  uint64_t n_swap_loads = 0;   // loads that a preempted sequence waited for
};

// Who waits for a load: a request before its first sequence, or a sequence that was preempted.
struct LoadWaiter {
  flow::RequestId request = 0;
  sched::SeqId seq = sched::kNoSeq;
  bool operator==(const LoadWaiter&) const = default;
};

class Tiers final : public sched::Below {
 public:
  // The caller starts the store. events: hears what lies below; or null.
  Tiers(cache::KvCache& cache, flow::TierStore& store, bool saves_all, KvEvents* events);
  ~Tiers() override;
  Tiers(const Tiers&) = delete;
  Tiers& operator=(const Tiers&) = delete;

  // Begins to load what the request lacks, when that is expected to be faster than computing it. The time at which the
  // request stops waiting for it; 0: nothing to wait for. A load under way serves all that want it.
  Tick begin_load(const flow::GenerateRequest& request);
  void swap_out(const sched::Seq& seq) override;
  Tick swap_in(const sched::Seq& seq) override;
  // It waits no longer (it starts, or it ended): the load goes on for others.
  void forget(const LoadWaiter& waiter);

  // A turn of the loop begins: takes in what happened below. Who waited for a load that is over is appended to `ready`.
  // row_time: ns of a step per prompt row, 0 = not known. `idle`: no step is in flight. True when there was something
  // to do.
  bool turn(Tick now, Tick row_time, bool idle, std::vector<LoadWaiter>& ready);

  // A sequence ends: notes what of it is to be copied down. `keep`: whatever of it.
  void note_end(const cache::SeqBlocks& seq, bool keep);

  // A load is staged: its bytes move once no step is in flight.
  bool waits_for_idle() const;
  // A load under way serves it.
  bool waits(const LoadWaiter& waiter) const;
  // Sequences in disguise that hold blocks (audits).
  void holders(std::vector<const cache::SeqBlocks*>& out) const;
  void holders(std::vector<cache::SeqBlocks*>& out);
  // The trie forgot paths.
  void heal();
  // Nothing that lies below is used any more, and it is removed there.
  void reset();
  uint32_t n_waiting() const;  // requests without a sequence
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
    std::vector<LoadWaiter> waiting;
  };
  struct Save {
    cache::NodeId node = cache::kNoNode;
    uint64_t serial = 0;
  };

  struct Wish {
    uint32_t scope = 0;
    uint8_t priority = 0;
    cache::TokenView tokens;
    LoadWaiter waiter;
  };

  Tick load_for(const Wish& wish);
  bool copy_down(cache::NodeId node, uint32_t groups, const flow::TierName& name);
  void take(const flow::TierEvent& event);
  void stage(const flow::TierEvent& event);
  bool restore_some(Load& load);
  void tell_restored(const Load& load);
  void finish(size_t index, std::vector<LoadWaiter>& ready);
  bool save_some(bool idle);
  void note_oldest();
  void note(cache::NodeId node);
  uint32_t device_groups(cache::NodeId node) const;

  cache::KvCache& cache_;
  flow::TierStore& store_;
  cache::TierIndex index_;
  bool saves_all_;
  KvEvents* kv_events_;
  Tick now_ = 0;       // of the turn
  Tick row_time_ = 0;  // of the turn
  std::vector<Load> loads_;
  std::deque<Save> saves_;
  TierTotals totals_;
  std::vector<flow::TierEvent> events_;         // scratch
  std::vector<cache::RestoredBlock> restored_;  // scratch
  std::vector<cache::NodeId> path_;             // scratch
  std::vector<flow::BlockId> ids_;              // scratch [KvGroups]
};

}  // namespace millrace::engine
