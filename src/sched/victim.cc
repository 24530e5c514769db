// Victim: whose blocks an asker may take. All victims stand behind the asker in the one list.
#include "sched/policy.h"

namespace millrace::sched {
namespace {

class TailVictim final : public Victim {
 public:
  TailVictim(const SchedOptions& options, const Order& order) : options_(options), order_(order) {}

  bool may(const Seq& victim, const Seq& asker, Tick now, bool head) const override {
    if (head) return true;
    if (victim.rank.n_preempted_by_others >= options_.k_preempt) return false;
    int32_t theirs = order_.band(victim);
    int32_t ours = order_.band(asker);
    if (theirs < ours) return options_.preempt_lower_bands || asker.state == SeqState::kLive;
    return theirs == ours && (asker.state == SeqState::kLive || is_barrier(asker, now, options_));
  }

 private:
  SchedOptions options_;
  const Order& order_;
};

// Every live sequence owns its reservation. Only one that was parked or rolled back may have lost it to others, or hold
// what others were promised: then the head decides.
class ReservedVictim final : public Victim {
 public:
  bool may(const Seq& victim, const Seq& asker, Tick, bool head) const override {
    return head && (victim.lagged || asker.lagged);
  }
};

}  // namespace

std::unique_ptr<Victim> make_victim(const SchedOptions& options, const Order& order) {
  switch (options.admit) {
    case AdmitKind::kNoEvictPeak:
      return std::make_unique<ReservedVictim>();
    case AdmitKind::kMaxUtil:
      break;
  }
  return std::make_unique<TailVictim>(options, order);
}

}  // namespace millrace::sched
