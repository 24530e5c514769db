// Admit predictive: what the live sequences are still expected to take, and the new one, fits what is free. A sequence
// is expected to end at max(outputs so far + 20, the mean output), never beyond its own limit. Blocks that are held
// already are counted as they are, so a shared prefix is counted once. Or: all of them surely fit, whenever they end
// (no-evict-peak); where answers are as long as was asked for, that lets more in than the sum of what they will be.
#include <algorithm>

#include "sched/policies.h"

namespace millrace::sched {
namespace {

constexpr uint32_t kLeastMore = 20;  // tokens that a running sequence is always expected to add

class Predictive final : public Admit {
 public:
  explicit Predictive(const SchedOptions& options) : chunk_(max_chunk(options)), surely_(make_no_evict_peak(options)) {}

  bool ok(const AdmitView& view, const Seq& seq, uint32_t computed) override {
    if (view.head) return true;  // it may take everything behind it
    uint64_t growth = growth_of(view, seq);
    for (SeqId id : view.seqs.live()) growth += growth_of(view, view.seqs.at(id));
    for (SeqId id : view.takeable) growth -= growth_of(view, view.seqs.at(id));
    return uint64_t{view.cache.available()} + view.n_takeable >= growth || surely_->ok(view, seq, computed);
  }

 private:
  // Blocks it does not hold yet.
  uint64_t growth_of(const AdmitView& view, const Seq& seq) const {
    const flow::KvGeometry& kv = view.cache.geometry();
    auto n_output = static_cast<uint32_t>(seq.outputs.size());
    uint32_t expected = std::max(n_output + kLeastMore, view.usual_output);
    uint64_t total = uint64_t{seq.n_prompt()} + std::min(expected, seq.request->sampling.max_tokens);
    uint32_t n_tokens = std::max(static_cast<uint32_t>(std::min<uint64_t>(total, kv.max_len)), seq.n_known());
    uint64_t growth = 0;
    for (uint32_t g = 0; g < kv.groups.size(); ++g) {
      uint32_t most = cache::max_blocks_of_group(kv.groups[g], kv.block_tokens, n_tokens, chunk_);
      auto held = static_cast<uint32_t>(seq.kv.table[g].size()) - seq.kv.first_live[g];
      growth += most > held ? most - held : 0;
    }
    return growth;
  }

  uint32_t chunk_;
  std::unique_ptr<Admit> surely_;
};

}  // namespace

std::unique_ptr<Admit> make_predictive(const SchedOptions& options) { return std::make_unique<Predictive>(options); }

}  // namespace millrace::sched
