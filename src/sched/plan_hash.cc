#include "sched/plan_hash.h"

namespace millrace::sched {
namespace {

// FNV-1a over 64-bit words with a final avalanche (murmur3's fmix64, public domain).
class Hasher {
 public:
  void add(uint64_t word) { state_ = (state_ ^ word) * 0x100000001b3; }
  void add(uint64_t high, uint64_t low) { add(high << 32 | low); }
  uint64_t finish() const {
    uint64_t h = state_;
    h = (h ^ h >> 33) * 0xff51afd7ed558ccd;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53;
    return h ^ h >> 33;
  }

 private:
  uint64_t state_ = 0xcbf29ce484222325;
};

}  // namespace

uint64_t hash_plan(const flow::StepPlan& plan) {
  Hasher hasher;
  hasher.add(plan.step);
  for (const flow::SlotInit& init : plan.new_slots) {
    hasher.add(init.slot, init.input_len);
    hasher.add(init.fork, init.tokens.size());
    if (init.window_tokens > 0) hasher.add(init.window_tokens, init.sink_tokens);
    for (TokenId token : init.tokens) hasher.add(static_cast<uint32_t>(token));
  }
  for (const flow::Share& share : plan.shares) {
    hasher.add(share.slot, share.ctx);
    hasher.add(share.q_len, uint64_t{share.n_draft} << 32 | uint64_t{share.epoch} << 2 | (share.sample ? 2u : 0u) |
                                (share.prompt_logprobs ? 1u : 0u));
  }
  for (const flow::BlockDelta& delta : plan.blocks) {
    hasher.add(delta.slot, delta.index);
    hasher.add(delta.kv_group, delta.id);
  }
  return hasher.finish();
}

}  // namespace millrace::sched
