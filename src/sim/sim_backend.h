// SimBackend: a flow::Backend without a model. A step takes what the cost model says, from the end of the step before
// it or from now; every sampled token is a function of (request, place), and answers end at their length.
//  1. A request is known by its sampling.seed, its index in `lengths`.
//  2. done() turns true when the virtual clock reaches the step's end; nothing here moves the clock.
// Thread: the simulation.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "flow/backend.h"
#include "sim/generators.h"
#include "sim/step_cost.h"
#include "sim/virtual_clock.h"

namespace millrace::sim {

struct SimBackendOptions {
  StepCost cost;
  uint32_t max_live = 0;
  uint32_t block_tokens = 16;
  // Prompts come with their KV (a decode instance behind a link): their rows cost nothing but the last, which decodes.
  bool kv_arrives = false;
  double noise = 0;  // of step times: sigma of their lognormal factor, median 1
  uint64_t seed = 1;
};

struct BackendTotals {
  uint64_t n_steps = 0;
  uint64_t n_shares = 0;  // sequence-steps
  uint64_t n_decode_shares = 0;
  uint64_t used_tokens = 0;  // summed over sampling shares: known tokens, the sampled one too
  uint64_t held_tokens = 0;  // and what their blocks have room for
  Tick busy = 0;             // time in steps
  uint64_t plans_hash = 0;   // of all state hashes, in order
};

// The first token of request `index` when its prompt is not handed over.
TokenId first_answer(uint64_t index);

// Told of every step as it is submitted: which request each share belongs to.
class StepWatch {
 public:
  virtual ~StepWatch() = default;
  // `request`: index into lengths; `n_input_rows`: rows of its prompt in this share; `sampled`: it yields a token.
  // `now`: when the step was submitted.
  virtual void on_share(uint64_t request, uint32_t n_input_rows, bool sampled, Tick now) = 0;
};

class SimBackend final : public flow::Backend {
 public:
  // lengths[i]: answer of request i in tokens. All outlive the backend; `watch` may be null.
  SimBackend(SimBackendOptions options, const std::vector<uint32_t>& lengths, const VirtualClock& clock,
             StepWatch* watch);

  void submit(const flow::StepPlan& plan) override;
  bool done(uint64_t step) override;
  flow::StepOutput take_output(uint64_t step) override;

  uint32_t n_in_flight() const { return static_cast<uint32_t>(pending_.size()); }
  Tick next_done() const { return pending_.front().ends; }  // n_in_flight() > 0
  const BackendTotals& totals() const { return totals_; }

 private:
  struct Slot {
    uint64_t index = 0;
    uint32_t input_len = 0;
  };
  struct Pending {
    flow::StepOutput output;
    Tick ends = 0;
  };
  TokenId answer(const Slot& slot, uint32_t n_tokens) const;
  void load_share(const flow::Share& share, StepLoad& load);

  SimBackendOptions options_;
  const std::vector<uint32_t>& lengths_;
  const VirtualClock& clock_;
  StepWatch* watch_;
  std::vector<Slot> slots_;  // [max_live]
  Draws draws_;              // of the noise
  std::deque<Pending> pending_;
  BackendTotals totals_;
};

}  // namespace millrace::sim
