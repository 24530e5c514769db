// Admit predictive: what the live sequences are still expected to take, and the new one, fits what is free. Blocks that
// are held already are counted as they are, so a shared prefix is counted once. Or: the peak fits, should all of them
// decode in step until their own limits (sched/peak.h); where answers are as long as was asked for, that lets more in
// than the sum of what they will be. Prompts in progress make it late by some tokens; who then finds no memory waits.
#include <algorithm>

#include "sched/expected_output.h"
#include "sched/peak.h"
#include "sched/policies.h"

namespace millrace::sched {
namespace {

class Predictive final : public Admit {
 public:
  explicit Predictive(const SchedOptions& options) : chunk_(max_chunk(options)), all_(options) {}

  bool ok(const AdmitView& view, const Seq& seq, uint32_t) override {
    if (view.head) return true;  // it may take everything behind it
    uint64_t growth = growth_of(view, seq);
    for (SeqId id : view.seqs.live()) growth += growth_of(view, view.seqs.at(id));
    for (SeqId id : view.takeable) growth -= growth_of(view, view.seqs.at(id));
    return uint64_t{view.cache.available()} + view.n_takeable >= growth || peak_fits(view, seq);
  }

 private:
  // Blocks it does not hold yet.
  uint64_t growth_of(const AdmitView& view, const Seq& seq) const {
    const flow::KvGeometry& kv = view.cache.geometry();
    uint64_t total = uint64_t{seq.n_prompt()} + expected_output(seq, view.usual_output);
    uint32_t n_tokens = std::max(static_cast<uint32_t>(std::min<uint64_t>(total, kv.max_len)), seq.n_known());
    uint64_t growth = 0;
    for (uint32_t g = 0; g < kv.groups.size(); ++g) {
      uint32_t most = cache::max_blocks_of_group(kv.groups[g], kv.block_tokens, n_tokens, chunk_);
      auto held = static_cast<uint32_t>(seq.kv.table[g].size()) - seq.kv.first_live[g];
      growth += most > held ? most - held : 0;
    }
    return growth;
  }

  bool peak_fits(const AdmitView& view, const Seq& seq) {
    all_.begin(view.cache.geometry());
    all_.add(seq);
    for (SeqId id : view.seqs.live()) all_.add(view.seqs.at(id));
    return all_.blocks() + view.cache.n_leased() <= view.cache.geometry().n_blocks;
  }

  uint32_t chunk_;
  Peak all_;
};

}  // namespace

std::unique_ptr<Admit> make_predictive(const SchedOptions& options) { return std::make_unique<Predictive>(options); }

}  // namespace millrace::sched
