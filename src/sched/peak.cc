#include "sched/peak.h"

#include <algorithm>

namespace millrace::sched {

uint32_t total_tokens(const Seq& seq, uint32_t max_len) {
  uint64_t total = uint64_t{seq.n_prompt()} + seq.request->sampling.max_tokens;
  return static_cast<uint32_t>(std::min<uint64_t>(total, max_len));
}

Peak::Peak(const SchedOptions& options) : chunk_(max_chunk(options)), late_(options.depth - 1) {
  needs_.reserve(options.max_live + 1);
}

void Peak::begin(const flow::KvGeometry& kv) {
  kv_ = &kv;
  needs_.clear();
  n_full_ = static_cast<uint32_t>(std::ranges::count(kv.groups, flow::KvGroupKind::kFull, &flow::KvGroup::kind));
}

void Peak::add(const Seq& seq) {
  uint32_t total = total_tokens(seq, kv_->max_len);
  Need need{.n_tokens = seq.n_known() + seq.progress.placeholders};
  need.left = total > need.n_tokens ? total - need.n_tokens : 0;
  for (const flow::KvGroup& group : kv_->groups) {
    if (group.kind == flow::KvGroupKind::kFull) continue;
    need.fixed += cache::max_blocks_of_group(group, kv_->block_tokens, total, chunk_);
  }
  needs_.push_back(need);
}

uint64_t Peak::blocks() {
  std::sort(needs_.begin(), needs_.end(), [](const Need& a, const Need& b) { return a.left > b.left; });
  uint32_t block = kv_->block_tokens;
  ends_.assign(block, 0);
  uint64_t fixed = 0;
  uint64_t n_whole = 0;  // full blocks of the first k, in each Full KvGroup
  uint64_t peak = 0;
  for (size_t i = 0; i < needs_.size(); ++i) {
    const Need& need = needs_[i];
    fixed += need.fixed;
    n_whole += need.n_tokens / block;
    ++ends_[need.n_tokens % block];
    if (i + 1 < needs_.size() && needs_[i + 1].left == need.left) continue;
    uint32_t grown = need.left + late_;
    uint64_t n = n_whole + (i + 1) * (grown / block);
    for (uint32_t end = 0; end < block; ++end) {
      uint32_t rest = end + grown % block;
      n += ends_[end] * uint64_t{(rest > 0 ? 1u : 0u) + (rest > block ? 1u : 0u)};
    }
    peak = std::max(peak, fixed + n * n_full_);
  }
  return peak;
}

}  // namespace millrace::sched
