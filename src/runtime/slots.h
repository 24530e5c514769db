// Slots: what the worker remembers of each sequence between steps: its known tokens, its block tables and its sampling
// state. Filled by StepPlan (flow/step_plan.h), grown by the tokens sampled here.
// Thread: the one that submits steps.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "flow/step_plan.h"
#include "runtime/draft_length.h"
#include "runtime/pooling.h"
#include "runtime/slot_mask.h"
#include "sample/sampler.h"

namespace millrace::runtime {

struct Slot {
  bool in_use = false;
  bool lost = false;           // a share of it failed: the engine ends it, and what is planned already is for nobody
  uint32_t input_len = 0;      // prompt tokens
  uint32_t window_tokens = 0;  // see SlotInit
  uint32_t sink_tokens = 0;
  uint32_t second_begin = 0;
  std::vector<TokenId> tokens;                     // all known
  std::vector<std::vector<flow::BlockId>> tables;  // [n_kv_groups][tokens / 32]
  sample::SlotSampler sampler;
  PoolState pool;
  std::vector<TokenId> draft;      // proposals behind `tokens`
  DraftLength draft_length;        // how many of them are made
  std::shared_ptr<SlotMask> mask;  // with sampling.constraint; a helper thread may hold it, too
};

class Slots {
 public:
  // completes: constrained answers end inside their limit of tokens.
  Slots(uint32_t n_slots, size_t n_kv_groups, uint32_t max_len, uint32_t block_tokens, bool completes);

  // New slots, then block deltas.
  void apply(const flow::StepPlan& plan);
  void release(const std::vector<flow::SlotId>& freed);
  Slot& at(flow::SlotId slot);
  size_t size() const { return slots_.size(); }

 private:
  void init(const flow::SlotInit& init);
  void set_block(const flow::BlockDelta& delta);

  std::vector<Slot> slots_;
  size_t n_kv_groups_;
  uint32_t max_len_;
  uint32_t block_tokens_;
  bool completes_;
};

}  // namespace millrace::runtime
