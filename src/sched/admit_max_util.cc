// Admit max-util: the input fits now, with 1 % of the pool to spare; preempt later if need be.
#include "sched/policies.h"

namespace millrace::sched {
namespace {

class MaxUtil final : public Admit {
 public:
  explicit MaxUtil(const SchedOptions& options) : chunk_(max_chunk(options)) {}

  bool ok(const AdmitView& view, const Seq& seq, uint32_t computed) override {
    if (view.head) return true;  // it may take everything behind it
    const flow::KvGeometry& kv = view.cache.geometry();
    uint32_t whole = cache::max_blocks_of_sequence(kv, seq.n_known(), chunk_);
    uint32_t held = 0;
    for (uint32_t g = 0; g < kv.groups.size(); ++g) held += computed / kv.block_tokens - seq.kv.first_live[g];
    uint32_t need = whole > held ? whole - held : 0;
    uint32_t watermark = kv.n_blocks / 100;
    return view.cache.available() + view.n_takeable >= need + watermark;
  }

 private:
  uint32_t chunk_;
};

}  // namespace

std::unique_ptr<Admit> make_max_util(const SchedOptions& options) { return std::make_unique<MaxUtil>(options); }

}  // namespace millrace::sched
