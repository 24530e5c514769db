// Seq: one sequence (one fork of a request) as the scheduler sees it. SeqTable: all of them, the slots, and the lists
// that they stand in: live, fresh (wait for their first admission), resumed (preempted, wait again), aside (wait,
// parked or while their blocks are loaded).
//  1. A sequence holds a slot exactly while it is Live.
//  2. An ended sequence stays (Draining) until no step in flight names it; then its id may be used again.
//  3. computed counts planned rows; placeholders counts sampled tokens that are planned and not known yet.
// Thread: engine; lent to Scheduler::plan for one call.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <vector>

#include "cache/kv_cache.h"
#include "cache/prefix_peek.h"
#include "flow/generate_request.h"
#include "sched/sched_options.h"
#include "sched/tenants.h"

namespace millrace::sched {

using SeqId = uint32_t;  // index into SeqTable
constexpr SeqId kNoSeq = 0xFFFFFFFF;

enum class SeqState : uint8_t { kUnused, kWaiting, kLive, kDraining };

// What decides a sequence's place in the one list.
struct SeqRank {
  uint64_t number = 0;     // order of submission; forks of a request share it
  uint64_t seniority = 0;  // order of first admission, survives preemption; 0 = never admitted
  Tick waiting_since = 0;
  uint32_t n_bypassed = 0;             // plans that admitted another one past it while it waited
  uint32_t n_preempted = 0;            // all preemptions
  uint32_t n_preempted_by_others = 0;  // those not asked by the head of the list
};

struct SeqProgress {
  uint32_t computed = 0;  // tokens with KV, planned ones included
  uint32_t last_ctx = 0;  // `computed` before the latest share
  uint32_t placeholders = 0;
  uint32_t in_flight = 0;          // shares planned and not retired
  uint32_t n_proposed = 0;         // tokens that the backend proposes behind the known ones
  uint32_t n_drafted = 0;          // of `computed`: rows of proposals in flight
  uint32_t high_water = 0;         // most tokens ever computed: rows below it are recomputation
  uint32_t n_prompt_logprobs = 0;  // prompt logprobs collected so far
};

struct Seq {
  SeqId id = kNoSeq;
  SeqState state = SeqState::kUnused;
  bool parked = false;    // its reader is slow: left out of plans; see SeqTable::set_parked
  bool held = false;      // a beam whose next token is not decided: it wants nothing, and is the first victim
  bool reopen = false;    // its tokens are not those the backend noted: the slot is opened anew
  bool may_load = false;  // was preempted and has not asked yet for what lies below the pool
  bool lagged = false;    // was parked or rolled back: its neighbours may have grown into its reservation
  uint16_t epoch = 0;     // counts preemptions
  uint32_t fork = 0;
  SeqId source = kNoSeq;  // fork 0, while its prompt can be shared
  const flow::GenerateRequest* request = nullptr;
  std::vector<TokenId> outputs;
  cache::SeqBlocks kv;  // kv.slot is the slot
  cache::PrefixMemo memo;
  TenantIdx tenant = 0;
  Tick load_until = 0;  // waits aside while its blocks are loaded, at most until then; 0 = does not
  Tick next_due = 0;    // when its next token is due by its target; 0 = no target, or none yet
  SeqProgress progress;
  SeqRank rank;

  uint32_t n_prompt() const { return static_cast<uint32_t>(request->prompt.size()); }
  uint32_t n_known() const { return n_prompt() + static_cast<uint32_t>(outputs.size()); }
  cache::TokenView tokens() const { return {request->prompt, outputs}; }
  // Some of the n_prompt - 1 prompt logprobs are still to be collected.
  bool wants_prompt_logprobs() const {
    return fork == 0 && request->sampling.n_prompt_logprobs >= 0 && progress.n_prompt_logprobs + 1 < n_prompt();
  }
};

// One of SeqTable::fresh().
struct Waiter {
  SeqId id = kNoSeq;
  TenantIdx tenant = 0;
  int16_t band = 0;
  bool passed_over = false;  // bypassed so often that it is a barrier
  Tick since = 0;
};

class SeqTable {
 public:
  explicit SeqTable(const SchedOptions& options);

  Seq& create(const flow::GenerateRequest& request, uint32_t fork, uint64_t number, Tick now);
  // As one that was admitted before: a fork of a sequence that runs.
  Seq& create_resumed(const flow::GenerateRequest& request, uint32_t fork, uint64_t number, Tick now);
  Seq& at(SeqId id) { return seqs_[id]; }
  const Seq& at(SeqId id) const { return seqs_[id]; }
  const std::vector<SeqId>& live() const { return live_; }        // by seniority
  const std::vector<Waiter>& fresh() const { return fresh_; }     // by arrival, number, fork
  const std::vector<SeqId>& resumed() const { return resumed_; }  // no particular order
  const std::vector<SeqId>& aside() const { return aside_; }      // no particular order
  size_t n_waiting() const { return fresh_.size() + resumed_.size() + aside_.size(); }
  uint32_t n_parked() const { return n_parked_; }
  TenantBook& tenants() { return tenants_; }
  const TenantBook& tenants() const { return tenants_; }

  uint32_t n_free_slots() const { return static_cast<uint32_t>(free_slots_.size()); }
  // Waiting -> Live with a slot.
  void admit(Seq& seq, Tick now);
  // Live -> Waiting; its blocks must be released after this (release() forgets the slot).
  void preempt(Seq& seq, Tick now);
  // Waiting or Live -> Draining.
  void end(Seq& seq);
  // Draining with nothing in flight -> unused.
  void destroy(Seq& seq);
  // A parked sequence is left out of plans; a live one keeps its slot and its blocks.
  void set_parked(Seq& seq, bool parked);
  // A held sequence is not started; a live one keeps its slot and its blocks until they are taken.
  void set_held(Seq& seq, bool held);
  // A waiting sequence stands aside until its blocks are loaded; 0: no longer.
  void set_load_until(Seq& seq, Tick until);

  // A plan admitted another one past this waiting sequence.
  void bypass(Seq& seq);
  // Nobody is admitted past a waiting sequence that was passed over often or waited much longer than is usual.
  bool is_barrier(const Seq& seq, Tick now) const;
  bool is_barrier(const Waiter& waiter, Tick now) const {
    return waiter.passed_over || now - waiter.since >= barrier_age();
  }

  // Slots given back since the last call and not in use again.
  void take_freed_slots(std::vector<flow::SlotId>& out);
  // They were taken for a plan that is not submitted.
  void note_freed_slots(const std::vector<flow::SlotId>& slots) {
    freed_slots_.insert(freed_slots_.end(), slots.begin(), slots.end());
  }

 private:
  Seq& take_unused(const flow::GenerateRequest& request, uint32_t fork, uint64_t number, Tick now);
  void enqueue(Seq& seq);
  void dequeue(Seq& seq);
  void leave_slot(Seq& seq);
  static bool stands_aside(const Seq& seq) { return seq.parked || seq.held || seq.load_until != 0; }
  // A barrier by age waited three times as long as is usual: a fixed age alone would turn every order into first come,
  // first served as soon as the queue is longer than that.
  static constexpr Tick kUsualWaits = 3;
  Tick barrier_age() const { return std::max(least_barrier_age_, kUsualWaits * usual_wait_); }

  uint32_t k_bypass_;
  Tick least_barrier_age_;
  std::deque<Seq> seqs_;
  std::vector<SeqId> unused_;
  std::vector<SeqId> live_;
  std::vector<Waiter> fresh_;
  std::vector<SeqId> resumed_;
  std::vector<SeqId> aside_;
  std::vector<flow::SlotId> free_slots_;  // stack
  std::vector<bool> slot_used_;           // [max_live]
  std::vector<flow::SlotId> freed_slots_;
  TenantBook tenants_;
  uint64_t next_seniority_ = 1;
  uint32_t n_parked_ = 0;
  Tick usual_wait_ = 0;  // exponential average over first admissions
};

}  // namespace millrace::sched
