// One step on all compute threads.
#include "runtime/step_runner.h"

#include <algorithm>
#include <numeric>

#include "base/macros.h"

namespace millrace::runtime {

using layers::round_up;

namespace {

struct ScratchLayout {
  models::ScratchBytes model;  // rounded to pages of 4 KiB so that threads do not share lines
  int64_t hidden_bytes = 0;
  int64_t logits_bytes = 0;
  int64_t logits_stride = 0;
  int64_t total() const { return model.shared + hidden_bytes + logits_bytes; }
};

ScratchLayout layout_of(const models::Model& model, const models::StepLimits& limits) {
  constexpr int64_t kPage = 4096;
  ScratchLayout layout;
  layout.model = model.scratch_bytes(limits);
  layout.model.shared = round_up(layout.model.shared, kPage);
  layout.model.own = round_up(layout.model.own, kPage);
  const weights::ModelDesc& desc = model.desc();
  layout.hidden_bytes = round_up(limits.max_rows * round_up(desc.d_model, 16) * 4, kPage);
  layout.logits_stride = round_up(desc.n_vocab, kernels::kPanelRows);
  layout.logits_bytes = round_up(limits.max_logit_rows * layout.logits_stride * 4, kPage);
  return layout;
}

}  // namespace

uint64_t StepRunner::scratch_bytes(const models::Model& model, const models::StepLimits& limits) {
  ScratchLayout layout = layout_of(model, limits);
  return static_cast<uint64_t>(layout.total() + limits.n_threads * layout.model.own);
}

Result<StepRunner> StepRunner::create(const RunnerSetup& setup) {
  StepRunner runner(setup);
  runner.limits_ = {setup.max_rows, static_cast<int64_t>(setup.geometry.max_len), setup.max_logit_rows,
                    setup.pool.n_threads()};
  ScratchLayout layout = layout_of(setup.model, runner.limits_);
  runner.model_scratch_ = layout.model;
  runner.scratch_ = TRY(device::Buffer::allocate(scratch_bytes(setup.model, runner.limits_), "activations"));
  uint8_t* behind_model = runner.scratch_.data() + layout.model.shared + runner.limits_.n_threads * layout.model.own;
  runner.hidden_ = reinterpret_cast<float*>(behind_model);
  runner.logits_ = reinterpret_cast<float*>(behind_model + layout.hidden_bytes);
  runner.thread_weight_bytes_.resize(static_cast<size_t>(runner.limits_.n_threads));
  std::vector<tensor::KvLayerSpec> layers = setup.model.kv_layers();
  runner.kv_ = TRY(KvStore::allocate(setup.geometry, layers, setup.kv_dtype));
  runner.heartbeat_ = std::make_unique<device::Heartbeat>();
  return runner;
}

void StepRunner::run_thread(device::Team& team, const layers::Batch& batch, const OnLogits& on_logits,
                            const Readout& readout) {
  uint8_t* own = scratch_.data() + model_scratch_.shared + team.thread * model_scratch_.own;
  layers::Ctx ctx{.k = *table_,
                  .team = team,
                  .shared = {scratch_.data(), static_cast<size_t>(model_scratch_.shared)},
                  .own = {own, static_cast<size_t>(model_scratch_.own)},
                  .heartbeat = heartbeat_.get()};
  layers::KvView kv = kv_.view();
  model_->forward(ctx, {limits_, batch, kv});
  const weights::ModelDesc& desc = model_->desc();
  int64_t hidden_stride = round_up(desc.d_model, 16);
  int64_t stride = round_up(desc.n_vocab, kernels::kPanelRows);
  for (int64_t begin = 0; begin < batch.n_logits; begin += limits_.max_logit_rows) {
    int64_t n = std::min(limits_.max_logit_rows, batch.n_logits - begin);
    model_->logits(ctx, {batch.hidden + begin * hidden_stride, n, logits_, stride});
    for (int64_t i = team.take_next(); i < n; i = team.take_next()) {
      on_logits(team.thread, begin + i, {logits_ + i * stride, desc.n_vocab});
    }
    team.sync();
  }
  for (int64_t job = readout.n_jobs > 0 ? team.take_next() : 0; job < readout.n_jobs; job = team.take_next()) {
    readout.run(team.thread, job);
  }
  if (readout.n_jobs > 0) team.sync();
  thread_weight_bytes_[static_cast<size_t>(team.thread)] = ctx.weight_bytes;
}

void StepRunner::run(layers::Batch& batch, const OnLogits& on_logits, const Readout& readout) {
  bool fits = batch.n_rows <= limits_.max_rows && batch.n_wanted <= batch.n_rows && batch.n_logits <= batch.n_wanted;
  CHECK(fits, "{} rows, {} wanted, {} for logits, room for {}", batch.n_rows, batch.n_wanted, batch.n_logits,
        limits_.max_rows);
  batch.hidden = hidden_;
  pool_->run([&](device::Team& team) { run_thread(team, batch, on_logits, readout); });
  ++counters_.steps;
  counters_.rows += batch.n_rows;
  counters_.barriers += pool_->n_syncs();
  counters_.weight_bytes += std::accumulate(thread_weight_bytes_.begin(), thread_weight_bytes_.end(), int64_t{0});
}

}  // namespace millrace::runtime
