// Admit no-evict-peak: the predicted peak fits, so nothing is ever preempted (sched/peak.h).
#include "sched/peak.h"
#include "sched/policies.h"

namespace millrace::sched {
namespace {

class NoEvictPeak final : public Admit {
 public:
  explicit NoEvictPeak(const SchedOptions& options) : chunk_(max_chunk(options)), decoding_(options) {}

  // A sequence still in prefill, or one that was parked, is not in step with the others: it is counted at its full
  // length throughout.
  bool ok(const AdmitView& view, const Seq& seq, uint32_t) override {
    const flow::KvGeometry& kv = view.cache.geometry();
    uint64_t base = whole_need(kv, seq);
    decoding_.begin(kv);
    for (SeqId id : view.seqs.live()) {
      const Seq& live = view.seqs.at(id);
      bool in_step = !live.lagged && live.n_known() + live.progress.placeholders <= live.progress.computed + 1;
      if (in_step) {
        decoding_.add(live);
      } else {
        base += whole_need(kv, live);
      }
    }
    uint32_t leased = view.head ? 0 : view.cache.n_leased();  // the head may take those
    return base + decoding_.blocks() + leased <= kv.n_blocks;
  }

 private:
  uint64_t whole_need(const flow::KvGeometry& kv, const Seq& seq) const {
    return cache::max_blocks_of_sequence(kv, total_tokens(seq, kv.max_len), chunk_);
  }

  uint32_t chunk_;
  Peak decoding_;
};

}  // namespace

std::unique_ptr<Admit> make_no_evict_peak(const SchedOptions& options) {
  return std::make_unique<NoEvictPeak>(options);
}

}  // namespace millrace::sched
