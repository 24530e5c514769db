// Model: one loaded architecture. kModels is the list of what this build can run; load_model() picks the row.
// A model knows tokens, positions and KV blocks; it never sees a request.
//  1. forward() and logits() run SPMD: every compute thread calls them with its own Ctx and the same arguments.
//  2. The final hidden state of a row is a function of the tokens of its sequence only: batch, chunking, prefix hits
//     and the number of threads change no bit.
//  3. Scratch is planned: scratch_bytes() is enough for any step within the limits.
// Thread: loading: one; forward(), logits(): all compute threads at once.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "device/thread_pool.h"
#include "kernels/ops.h"
#include "layers/ctx.h"
#include "layers/weight_packer.h"
#include "weights/model_file.h"

namespace millrace::models {

// The largest step a scratch plan must hold.
struct StepLimits {
  int64_t max_rows = 512;
  int64_t max_len = 2048;       // tokens of a sequence
  int64_t max_logit_rows = 64;  // rows of one logits() call
  int n_threads = 1;
};

struct ScratchBytes {
  int64_t shared = 0;
  int64_t own = 0;  // for each thread
};

struct Step {
  const StepLimits& limits;
  const layers::Batch& batch;
  const layers::KvView& kv;
};

class Model {
 public:
  virtual ~Model() = default;
  virtual const weights::ModelDesc& desc() const = 0;
  // Packed bytes of all matrices: what a step reads once.
  virtual int64_t weight_bytes() const = 0;
  virtual ScratchBytes scratch_bytes(const StepLimits& limits) const = 0;
  // Runs all rows; writes the hidden state of the wanted ones to batch.hidden. Ends with a barrier.
  virtual void forward(layers::Ctx& ctx, const Step& step) const = 0;
  // out [n_rows, out_stride] = logits of hidden [n_rows, round_up(d_model, 16)]. Ends with a barrier.
  struct LogitRows {
    float* hidden = nullptr;
    int64_t n_rows = 0;  // at most StepLimits::max_logit_rows
    float* out = nullptr;
    int64_t out_stride = 0;  // >= n_vocab, multiple of 16
  };
  virtual void logits(layers::Ctx& ctx, const LogitRows& rows) const = 0;
  // What clients call the last hidden state: the output norm, in place, of one row of Batch::hidden [d_model]. Thread:
  // any.
  virtual void finish_hidden(const kernels::KernelTable& table, float* row) const = 0;
  // What the head makes of a pooled state [d_model]: [desc().n_labels]. Only where desc().n_labels > 0. Thread: any.
  virtual std::vector<float> score(std::span<const float> /*pooled*/) const { return {}; }

  std::vector<tensor::KvLayerSpec> kv_layers() const;
};

struct LoadOptions {
  const kernels::KernelTable& table;
  device::ThreadPool& pool;
  layers::PackProgress progress = {};
  weights::ImagePlace image = {};  // of the packed weights, kept for the next start
};

struct ModelRow {
  weights::Architecture architecture;
  // The file must outlive the model.
  Result<std::unique_ptr<Model>> (*load)(const weights::ModelFile& file, const LoadOptions& options);
};

std::span<const ModelRow> model_table();
Result<std::unique_ptr<Model>> load_model(const weights::ModelFile& file, const LoadOptions& options);

}  // namespace millrace::models
