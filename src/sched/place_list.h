// PlaceList: the one list of a plan, best first. Key, ascending: (parked, -band, level, seniority or rank); level 0 =
// decodes or was preempted too often, 1 = waits, and a fair policy owes its tenant more than those of all prompts in
// progress: a prompt of a large tenant does not take the rows that a small one's needs, 2 = prefill in progress or
// resumed, 3 = barrier that never ran (where the policy leaves them to the list), 4 = waits for its first admission, in
// the order of the policy.
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

 private:
  struct Place {
    uint64_t group = 0;  // (parked, -band, level)
    uint64_t within = 0;
    SeqId id = kNoSeq;
    bool operator<(const Place& other) const {
      return group != other.group ? group < other.group : within < other.within;
    }
  };

  void add_ran(const Seq& seq);
  bool is_owed(const OrderView& view, SeqId id) const;
  void add_fresh(const OrderView& view, size_t limit);
  void sort_places();
  void add_band(const OrderView& view, std::span<const Waiter> band, size_t limit);
  int32_t band_of(int16_t band) const { return row_.bands ? band : 0; }

  const OrderRow& row_;
  uint32_t k_preempt_;
  size_t n_candidates_;
  std::unique_ptr<Order> order_;
  std::vector<SeqId> ids_;
  std::vector<Place> places_;   // scratch
  std::vector<Waiter> band_;    // scratch: the waiting of one band
  std::vector<Waiter> others_;  // scratch: those of a band that are no barriers
  std::vector<SeqId> ranked_;   // scratch
};

}  // namespace millrace::sched
