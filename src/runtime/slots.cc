// Slots: bookkeeping of plans.
#include "runtime/slots.h"

#include <algorithm>
#include <span>

#include "base/macros.h"

namespace millrace::runtime {

Slots::Slots(uint32_t n_slots, size_t n_kv_groups, uint32_t max_len, uint32_t block_tokens, bool completes)
    : slots_(n_slots),
      n_kv_groups_(n_kv_groups),
      max_len_(max_len),
      block_tokens_(block_tokens),
      completes_(completes) {
  for (Slot& slot : slots_) slot.tables.resize(n_kv_groups_);
}

Slot& Slots::at(flow::SlotId slot) {
  CHECK(slot < slots_.size() && slots_[slot].in_use, "slot {} of {} is not in use", slot, slots_.size());
  return slots_[slot];
}

void Slots::init(const flow::SlotInit& init) {
  CHECK(init.slot < slots_.size(), "slot {} of {}", init.slot, slots_.size());
  Slot& slot = slots_[init.slot];
  slot.in_use = true;
  slot.lost = false;
  slot.input_len = init.input_len;
  slot.window_tokens = init.window_tokens;
  slot.sink_tokens = init.sink_tokens;
  slot.second_begin = init.second_begin;
  // room for all it may become, so that later steps do not allocate
  size_t room = std::min<size_t>(max_len_, init.tokens.size() + init.sampling->max_tokens) + 1;
  slot.tokens.clear();
  slot.tokens.reserve(room);
  slot.tokens.assign(init.tokens.begin(), init.tokens.end());
  for (std::vector<flow::BlockId>& table : slot.tables) {
    table.clear();
    table.reserve(room / block_tokens_ + 1);
  }
  slot.sampler.reset(*init.sampling, init.fork, init.input_len, slot.tokens);
  slot.pool.reset(init.sampling->pooling);
  slot.mask.reset();
  slot.draft.clear();
  slot.draft_length = {};
  if (init.sampling->constraint == nullptr) return;
  auto outputs = std::span<const TokenId>(slot.tokens).subspan(std::min<size_t>(init.input_len, slot.tokens.size()));
  uint32_t most = max_len_ > init.input_len ? max_len_ - init.input_len : 0;
  bool may_end = init.sampling->min_tokens < most && init.sampling->min_tokens < init.sampling->max_tokens;
  uint32_t limit = completes_ && may_end ? std::min(init.sampling->max_tokens, most) : flow::TimedMatcher::kNoLimit;
  slot.mask = std::make_shared<SlotMask>(*init.sampling->constraint, outputs, limit);
}

void Slots::set_block(const flow::BlockDelta& delta) {
  CHECK(delta.kv_group < n_kv_groups_, "KvGroup {} of {}", delta.kv_group, n_kv_groups_);
  std::vector<flow::BlockId>& table = at(delta.slot).tables[delta.kv_group];
  if (delta.index >= table.size()) table.resize(delta.index + size_t{1}, flow::kNullBlock);
  table[delta.index] = delta.id;
}

void Slots::apply(const flow::StepPlan& plan) {
  for (const flow::SlotInit& slot : plan.new_slots) init(slot);
  for (const flow::BlockDelta& delta : plan.blocks) set_block(delta);
}

void Slots::release(const std::vector<flow::SlotId>& freed) {
  for (flow::SlotId slot : freed) {
    if (slot >= slots_.size()) continue;
    slots_[slot].in_use = false;
    slots_[slot].mask.reset();
  }
}

}  // namespace millrace::runtime
