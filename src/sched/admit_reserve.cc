// Admit reserve: prompt and all asked-for output of every live sequence fit at once. A yardstick: what an engine
// without a prediction must do to preempt nobody.
#include <algorithm>

#include "sched/policies.h"

namespace millrace::sched {
namespace {

class Reserve final : public Admit {
 public:
  explicit Reserve(const SchedOptions& options) : chunk_(max_chunk(options)) {}

  bool ok(const AdmitView& view, const Seq& seq, uint32_t) override {
    const flow::KvGeometry& kv = view.cache.geometry();
    uint64_t sum = need(kv, seq);
    for (SeqId id : view.seqs.live()) sum += need(kv, view.seqs.at(id));
    return sum <= kv.n_blocks;
  }

 private:
  uint64_t need(const flow::KvGeometry& kv, const Seq& seq) const {
    uint64_t total = uint64_t{seq.n_prompt()} + seq.request->sampling.max_tokens;
    return cache::max_blocks_of_sequence(kv, static_cast<uint32_t>(std::min<uint64_t>(total, kv.max_len)), chunk_);
  }

  uint32_t chunk_;
};

}  // namespace

std::unique_ptr<Admit> make_reserve(const SchedOptions& options) { return std::make_unique<Reserve>(options); }

}  // namespace millrace::sched
