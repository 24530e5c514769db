#include "sim/sim_backend.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/macros.h"
#include "sim/workload.h"

namespace millrace::sim {

TokenId first_answer(uint64_t index) { return token_of(~index, 1); }

SimBackend::SimBackend(SimBackendOptions options, const std::vector<uint32_t>& lengths, const VirtualClock& clock,
                       StepWatch* watch)
    : options_(std::move(options)),
      lengths_(lengths),
      clock_(clock),
      watch_(watch),
      slots_(options_.max_live),
      draws_(options_.seed) {}

// The token that follows n_tokens known ones.
TokenId SimBackend::answer(const Slot& slot, uint32_t n_tokens) const {
  uint32_t n_outputs = n_tokens - slot.input_len + 1;
  if (n_outputs >= lengths_[slot.index]) return kEndToken;
  return token_of(~slot.index, n_outputs);
}

void SimBackend::load_share(const flow::Share& share, StepLoad& load) {
  const Slot& slot = slots_[share.slot];
  uint32_t end = share.ctx + share.q_len;
  bool decode = share.q_len == 1 && share.ctx >= slot.input_len;
  bool free_rows = options_.kv_arrives && share.ctx < slot.input_len;
  if (free_rows) {
    if (share.sample) load.add_decode(end - 1);
  } else if (decode) {
    load.add_decode(share.ctx);
    ++totals_.n_decode_shares;
  } else {
    load.add_chunk(share.ctx, share.q_len);
  }
  if (share.sample) {
    uint64_t block_tokens = options_.block_tokens;
    totals_.used_tokens += end + 1;
    totals_.held_tokens += (end + block_tokens) / block_tokens * block_tokens;
  }
  if (watch_ != nullptr) {
    uint32_t n_input = std::min(end, slot.input_len) - std::min(share.ctx, slot.input_len);
    watch_->on_share(slot.index, n_input, share.sample, clock_.now());
  }
}

void SimBackend::submit(const flow::StepPlan& plan) {
  for (const flow::SlotInit& init : plan.new_slots) {
    CHECK(init.slot < slots_.size() && init.sampling->seed < lengths_.size(), "slot {} of request {}", init.slot,
          init.sampling->seed);
    slots_[init.slot] = {.index = init.sampling->seed, .input_len = init.input_len};
  }
  Pending pending;
  pending.output.step = plan.step;
  pending.output.shares.reserve(plan.shares.size());
  StepLoad load;
  for (const flow::Share& share : plan.shares) {
    load_share(share, load);
    flow::ShareResult& result = pending.output.shares.emplace_back();
    result.slot = share.slot;
    result.epoch = share.epoch;
    if (share.sample) result.token = answer(slots_[share.slot], share.ctx + share.q_len);
  }
  Tick starts = pending_.empty() ? clock_.now() : std::max(clock_.now(), pending_.back().ends);
  pending.output.took = step_time(options_.cost, load);
  if (options_.noise > 0) {
    double factor = std::exp(options_.noise * draws_.normal());
    pending.output.took = std::llround(static_cast<double>(pending.output.took) * factor);
  }
  pending.ends = starts + pending.output.took;
  ++totals_.n_steps;
  totals_.plans_hash = totals_.plans_hash * 0x100000001b3 ^ plan.state_hash;
  totals_.n_shares += plan.shares.size();
  totals_.busy += pending.output.took;
  pending_.push_back(std::move(pending));
}

bool SimBackend::done(uint64_t step) {
  return !pending_.empty() && pending_.front().output.step == step && pending_.front().ends <= clock_.now();
}

flow::StepOutput SimBackend::take_output(uint64_t step) {
  CHECK(done(step), "step {} is not done", step);
  flow::StepOutput output = std::move(pending_.front().output);
  pending_.pop_front();
  return output;
}

}  // namespace millrace::sim
