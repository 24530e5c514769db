// Admit no-evict-peak: the predicted peak fits, so nothing is ever preempted (the formula is lightllm's,
// github.com/ModelTC/lightllm, router "estimated peak", in blocks here).
#include <algorithm>

#include "sched/policies.h"

namespace millrace::sched {
namespace {

uint32_t total_tokens(const Seq& seq, uint32_t max_len) {
  uint64_t total = uint64_t{seq.n_prompt()} + seq.request->sampling.max_tokens;
  return static_cast<uint32_t>(std::min<uint64_t>(total, max_len));
}

class NoEvictPeak final : public Admit {
 public:
  explicit NoEvictPeak(const SchedOptions& options) : chunk_(max_chunk(options)) {}

  // Decoding sequences advance in step, so when the k longest remain, each has grown by at most the k-th remainder:
  // peak = max over k of (what those k hold then). A sequence still in prefill, or one that was parked, is counted at
  // its full length throughout.
  bool ok(const AdmitView& view, const Seq& seq, uint32_t) override {
    const flow::KvGeometry& kv = view.cache.geometry();
    uint64_t base = whole_need(kv, seq);
    running_.clear();
    for (SeqId id : view.seqs.live()) {
      const Seq& live = view.seqs.at(id);
      bool in_step = !live.lagged && live.n_known() + live.progress.placeholders <= live.progress.computed + 1;
      if (in_step) {
        running_.push_back(need_of(kv, live));
      } else {
        base += whole_need(kv, live);
      }
    }
    std::sort(running_.begin(), running_.end(), [](const Need& a, const Need& b) { return a.left > b.left; });
    uint64_t held = 0;
    uint64_t peak = 0;
    uint64_t k = 0;
    for (const Need& need : running_) {
      held += need.blocks;
      ++k;
      peak = std::max(peak, held + k * n_full(kv) * cache::ceil_div(need.left, kv.block_tokens));
    }
    uint32_t leased = view.head ? 0 : view.cache.n_leased();  // the head may take those
    return base + peak + leased <= kv.n_blocks;
  }

 private:
  struct Need {
    uint32_t left = 0;    // tokens it may still produce
    uint64_t blocks = 0;  // of Full KvGroups now, of windows at most
  };

  uint64_t whole_need(const flow::KvGeometry& kv, const Seq& seq) const {
    return cache::max_blocks_of_sequence(kv, total_tokens(seq, kv.max_len), chunk_);
  }
  static uint64_t n_full(const flow::KvGeometry& kv) {
    return static_cast<uint64_t>(std::ranges::count(kv.groups, flow::KvGroupKind::kFull, &flow::KvGroup::kind));
  }
  Need need_of(const flow::KvGeometry& kv, const Seq& seq) const {
    uint32_t total = total_tokens(seq, kv.max_len);
    Need need;
    need.left = total > seq.n_known() ? total - seq.n_known() : 0;
    for (const flow::KvGroup& group : kv.groups) {
      bool full = group.kind == flow::KvGroupKind::kFull;
      need.blocks += cache::max_blocks_of_group(group, kv.block_tokens, full ? seq.n_known() : total, chunk_);
    }
    return need;
  }

  uint32_t chunk_;
  std::vector<Need> running_;  // scratch
};

}  // namespace

std::unique_ptr<Admit> make_no_evict_peak(const SchedOptions& options) {
  return std::make_unique<NoEvictPeak>(options);
}

}  // namespace millrace::sched
