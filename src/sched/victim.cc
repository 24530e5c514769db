// Victim: whose blocks an asker may take. All victims stand behind the asker in the one list.
#include "sched/policies.h"

namespace millrace::sched {
namespace {

class TailVictim final : public Victim {
 public:
  explicit TailVictim(const SchedOptions& options)
      : bands_(row_of(options.order).bands),
        patient_(row_of(options.admit).patient),
        k_preempt_(options.k_preempt),
        preempt_lower_bands_(options.preempt_lower_bands) {}

  bool may(const SeqTable& seqs, const Seq& victim, const Seq& asker, Tick now, bool head) const override {
    if (head) return true;
    if (victim.rank.n_preempted_by_others >= k_preempt_) return false;
    int32_t theirs = bands_ ? victim.request->band : 0;
    int32_t ours = bands_ ? asker.request->band : 0;
    if (theirs < ours) return preempt_lower_bands_ || asker.state == SeqState::kLive;
    if (patient_ && asker.state == SeqState::kLive) return false;
    return theirs == ours && (asker.state == SeqState::kLive || seqs.is_barrier(asker, now));
  }

 private:
  bool bands_;
  bool patient_;  // who runs and finds no memory waits with what it holds: others end soon, and nothing is recomputed
  uint32_t k_preempt_;
  bool preempt_lower_bands_;
};

// Every live sequence owns its reservation. Only one that was parked or rolled back may have lost it to others, or hold
// what others were promised: then the head decides.
class ReservedVictim final : public Victim {
 public:
  bool may(const SeqTable&, const Seq& victim, const Seq& asker, Tick, bool head) const override {
    return head && (victim.lagged || asker.lagged);
  }
};

}  // namespace

std::unique_ptr<Victim> make_victim(const SchedOptions& options) {
  if (row_of(options.admit).preempts) return std::make_unique<TailVictim>(options);
  return std::make_unique<ReservedVictim>();
}

}  // namespace millrace::sched
