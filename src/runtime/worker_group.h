// WorkerGroup: the flow::Backend of the real machine, one process, depth 1: submit() computes the step on the compute
// threads, the caller being thread 0, and the output waits to be taken.
//  1. Copies of the plan run before any row; each layer writes K/V of all rows before any row attends.
//  2. A share's token is a function of its tokens, parameters, seed and fork only.
//  3. Non-finite logits, or no allowed token, fail that share alone.
//  4. Sampling and logprobs are spread over the compute threads, rows taken as they come; those of a share with
//     proposals are one job behind them, since each depends on the one before.
//  5. Where the limit of a constrained answer is near, its token may be sampled twice from the same logits and draw,
//     the second time among the tokens of the nearest end (slot_mask.h).
//  6. Masks are filled by threads of their own only where cores are left over for them. A third thread on two busy
//  cores
//     takes one from a compute thread, for which the other then waits (docs/performance.md).
// Thread: the engine.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/task_pool.h"
#include "flow/backend.h"
#include "runtime/slots.h"
#include "runtime/step_runner.h"

namespace millrace::runtime {

class WorkerGroup final : public flow::Backend {
 public:
  // max_num_seqs = slots. The clock outlives the group.
  static Result<std::unique_ptr<WorkerGroup>> create(const RunnerSetup& setup, uint32_t max_num_seqs,
                                                     const Clock& clock);

  void submit(const flow::StepPlan& plan) override;
  bool done(uint64_t step) override;
  flow::StepOutput take_output(uint64_t step) override;

  // One prefill and one decode step on blocks 0.., so that pages are touched and threads awake. Before the engine
  // starts: it uses slot 0 and leaves it free.
  void warm_up();

  const RunnerCounters& counters() const { return runner_.counters(); }
  device::Heartbeat& heartbeat() { return runner_.heartbeat(); }
  KvStore& kv() { return runner_.kv(); }
  const flow::KvGeometry& geometry() const { return geometry_; }

 private:
  // What a wanted row is for.
  struct Wanted {
    uint32_t share = 0;
    TokenId target = kNoToken;  // prompt logprobs: the token that follows; kNoToken: sample
    uint32_t prompt_idx = 0;    // place in ShareResult::prompt_logprobs
    bool drafted = false;       // sampled behind the others, as one of a share with proposals
    bool failed = false;
    uint32_t drafted_idx = 0;  // drafted: place in drafted_logits_
    Error error;
  };

  // A share with proposals: its rows are drafted_logits_[logits_begin] .. [logits_begin + n_draft].
  struct DraftJob {
    uint32_t share = 0;
    uint32_t logits_begin = 0;
  };

  // A share whose prompt is read out.
  struct PoolJob {
    uint32_t share = 0;
    uint32_t wanted_begin = 0;  // its rows: wanted [wanted_begin, wanted_begin + n)
    uint32_t n = 0;
    bool last = false;  // the prompt ends in this share
  };

  WorkerGroup(StepRunner runner, const RunnerSetup& setup, uint32_t max_num_seqs, const Clock& clock);
  void build_batch(const flow::StepPlan& plan);
  void add_share(const flow::StepPlan& plan, uint32_t share_idx);
  void add_pool_job(const flow::Share& share, uint32_t share_idx);
  void run_pool_job(int64_t job_idx);
  void finish_row(int thread, int64_t wanted_idx, std::span<float> logits);
  void finish_step(const flow::StepPlan& plan);
  void check_draft(size_t thread, const DraftJob& job);
  bool sample_row(Slot& slot, std::span<float> logits, std::span<const uint32_t> mask, size_t thread,
                  flow::FurtherToken& out, Error& error);
  void propose(Slot& slot, flow::ShareResult& result) const;
  void post_fill(const Slot& slot);

  StepRunner runner_;
  flow::KvGeometry geometry_;
  const Clock& clock_;
  Slots slots_;
  // the batch of the step, at most max_rows rows
  layers::Batch batch_;
  std::vector<TokenId> tokens_;
  std::vector<int32_t> row_seq_;
  std::vector<layers::SeqRows> seqs_;
  std::vector<int32_t> wanted_rows_;
  std::vector<Wanted> wanted_;  // of the rows whose logits are wanted
  std::vector<PoolJob> pools_;
  std::vector<DraftJob> drafts_;
  std::vector<sample::SampleScratch> scratch_;  // [n_threads]
  std::vector<std::vector<float>> unchanged_;   // [n_threads][n_vocab] logits that may be sampled from once more
  uint32_t max_draft_;
  std::vector<std::vector<float>> drafted_logits_;  // of rows that are drafted; [n_vocab] each
  uint32_t n_drafted_ = 0;                          // such rows of the step
  const flow::StepPlan* plan_ = nullptr;            // while a step runs
  flow::StepOutput output_;
  std::unique_ptr<TaskPool> mask_workers_;  // null: the compute threads fill masks
};

}  // namespace millrace::runtime
