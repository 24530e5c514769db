// StepRunner: a model with its KV bytes, compute threads and scratch: runs one batch and hands out the logits of the
// wanted rows. All is allocated when it is made; scratch_bytes() says how much, before any model memory is taken.
//  1. Weights are read once per step: counters().weight_bytes grows by model.weight_bytes() per step with wanted rows
//     (the output matrix once more for each further max_logit_rows of them).
// Thread: run() by one thread at a time, which becomes compute thread 0.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "device/buffer.h"
#include "device/heartbeat.h"
#include "device/thread_pool.h"
#include "kernels/ops.h"
#include "models/model.h"
#include "runtime/kv_store.h"

namespace millrace::runtime {

struct RunnerSetup {
  const models::Model& model;  // all four outlive the runner
  const kernels::KernelTable& table;
  device::ThreadPool& pool;
  flow::KvGeometry geometry;  // with n_blocks and max_len
  kernels::KvDType kv_dtype = kernels::KvDType::kBF16;
  int64_t max_rows = 512;
  int64_t max_logit_rows = 64;
  uint32_t max_draft = 0;  // rows per sequence and step that check what a constraint says must come next; 0: none
  bool constraints_complete = true;  // constrained answers end inside their limit of tokens
  uint32_t mask_threads = 0;         // that fill masks beside the step; 0: the compute threads do, when they sample
};

struct RunnerCounters {
  int64_t steps = 0;
  int64_t rows = 0;
  int64_t weight_bytes = 0;  // packed bytes read
  int64_t barriers = 0;      // passed by each thread
};

// Called on the compute threads, rows shared out: logits [n_vocab] of wanted row i; may be changed in place.
using OnLogits = std::function<void(int thread, int64_t wanted_idx, std::span<float> logits)>;
// What follows the logits of a step: job i of n_jobs, on the compute threads, as they come.
struct Readout {
  int64_t n_jobs = 0;
  std::function<void(int thread, int64_t job)> run;
};

class StepRunner {
 public:
  // Activations, logits and hidden states of the largest step; not the KV cache.
  static uint64_t scratch_bytes(const models::Model& model, const models::StepLimits& limits);
  static Result<StepRunner> create(const RunnerSetup& setup);

  // batch.hidden is set here. The readout follows the logits.
  void run(layers::Batch& batch, const OnLogits& on_logits, const Readout& readout = {});

  const models::Model& model() const { return *model_; }
  const kernels::KernelTable& table() const { return *table_; }
  const models::StepLimits& limits() const { return limits_; }
  KvStore& kv() { return kv_; }
  // The hidden state of wanted row i of the step, [d_model]: for a Readout.
  std::span<float> hidden(int64_t i) {
    return {hidden_ + i * layers::round_up(model_->desc().d_model, 16), model_->desc().d_model};
  }
  const RunnerCounters& counters() const { return counters_; }
  device::Heartbeat& heartbeat() { return *heartbeat_; }

 private:
  explicit StepRunner(const RunnerSetup& setup) : model_(&setup.model), table_(&setup.table), pool_(&setup.pool) {}
  void run_thread(device::Team& team, const layers::Batch& batch, const OnLogits& on_logits, const Readout& readout);

  const models::Model* model_;
  const kernels::KernelTable* table_;
  device::ThreadPool* pool_;
  models::StepLimits limits_;
  KvStore kv_;
  models::ScratchBytes model_scratch_;
  device::Buffer scratch_;                    // shared, then own of each thread, then hidden, then logits
  float* hidden_ = nullptr;                   // [max_rows, round_up(d_model, 16)]
  float* logits_ = nullptr;                   // [max_logit_rows, round_up(n_vocab, 32)]
  std::vector<int64_t> thread_weight_bytes_;  // [n_threads]
  RunnerCounters counters_;
  std::unique_ptr<device::Heartbeat> heartbeat_;
};

}  // namespace millrace::runtime
