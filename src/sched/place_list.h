// PlaceList: the one list of a plan, best first. Key, ascending: (parked, -band, level, seniority or rank); level 0 =
// decodes or was preempted too often, 1 and 2 = prompt in progress, and waiting, whose tenant a fair policy owes more
// than those of all other prompts in progress: a prompt of a large tenant does not take the rows that a small one's
// needs, 3 = prefill in progress or resumed, 4 = barrier that never ran (where the policy leaves them to the list), 5 =
// waits for its first admission, in the order of the policy.
// Thread: engine.
#pragma once

#include <memory>
#include <vector>

#include "sched/policies.h"

namespace millrace::sched {

class PlaceList {
 public:
  explicit PlaceList(const SchedOptions& options);

  // Live sequences, then (with_waiting) those that may be admitted; parked and held live ones come last.
  void build(const OrderView& view, bool with_waiting);
  // The same with everyone who waits, however many.
  void build_all(const OrderView& view);
  const std::vector<SeqId>& ids() const { return ids_; }
  const std::vector<SeqId>& owed() const { return owed_; }  // those of levels 1 and 2

 private:
  enum Level : uint8_t { kRunning, kOwedCatchingUp, kOwed, kCatchingUp, kBarrier, kFresh };
  struct Place {
    uint64_t group = 0;  // (parked, -band, level)
    uint64_t within = 0;
    SeqId id = kNoSeq;
    bool operator<(const Place& other) const {
      return group != other.group ? group < other.group : within < other.within;
    }
  };

  void begin(const OrderView& view);
  static uint64_t group_of(bool aside, int32_t band, Level level);
  Level level_of(const Seq& seq, bool decoding) const;
  void add_ran(const Seq& seq, bool decoding);
  bool is_owed(const OrderView& view, const Seq& seq) const;
  void add_fresh(const OrderView& view, size_t limit);
  void sort_places();
  void add_band(const OrderView& view, std::span<const Waiter> band, size_t limit);
  int32_t band_of(int16_t band) const { return row_.bands ? band : 0; }

  const OrderRow& row_;
  uint32_t k_preempt_;
  size_t n_candidates_;
  std::unique_ptr<Order> order_;
  std::vector<SeqId> ids_;
  std::vector<SeqId> owed_;
  std::vector<size_t> catching_up_;  // in places_: live, with a prompt in progress
  bool decodes_ = false;             // somebody does
  std::vector<Place> places_;        // scratch
  std::vector<Waiter> band_;         // scratch: the waiting of one band
  std::vector<Waiter> others_;       // scratch: those of a band that are no barriers
  std::vector<SeqId> ranked_;        // scratch
};

}  // namespace millrace::sched
