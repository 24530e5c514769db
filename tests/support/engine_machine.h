// A tiny model with its compute threads, and an engine over real workers that runs a set of requests on a fake clock
// and keeps what must not depend on the batch: tokens, and the bits of their logprobs.
// Invariant: after run() the engine is empty, its integrity checked, and the workers did as many steps as it planned.
// Thread: one test thread plus the pool.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cache/geometry.h"
#include "engine/engine.h"
#include "kernels/ops.h"
#include "models/model.h"
#include "runtime/disk_store.h"
#include "runtime/own_thread.h"
#include "runtime/score.h"
#include "runtime/worker_group.h"
#include "tests/support/collect_sink.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_checkpoint.h"
#include "weights/model_file.h"

namespace millrace::support {

struct MachineSetting {
  const char* shape = "llama";
  tensor::Format format = tensor::Format::kQ4_1;
  kernels::KvDType kv = kernels::KvDType::kInt8;
  const kernels::KernelTable* table = nullptr;
  int n_threads = 1;
  TokenId overflows = kNoToken;  // sequences with this token give NaN, although all weights are finite; with kF32
};

// A loaded model; any number of engines run on it, one at a time.
class Machine {
 public:
  explicit Machine(const MachineSetting& setting) : setting_(setting), pool_(setting.n_threads, false) {
    testing::TinyShape shape = testing::load_tiny_shape(setting.shape);
    if (shape.type() == "mistral") {  // has no GGUF architecture of its own
      testing::write_tiny_safetensors(shape, folder_.path());
      file_ = std::make_unique<weights::ModelFile>(weights::ModelFile::open(folder_.path()).value());
    } else {
      bytes_ = testing::tiny_gguf(shape, {.format = setting.format, .overflows = setting.overflows});
      auto gguf = weights::GgufFile::parse(bytes_);
      CHECK(gguf.ok(), "{}", gguf.error().message);
      file_ = std::make_unique<weights::ModelFile>(weights::ModelFile::from_gguf(std::move(gguf).value()).value());
    }
    model_ = models::load_model(*file_, {*setting.table, pool_}).value();
  }

  const models::Model& model() const { return *model_; }
  runtime::Scorer scorer(uint32_t window_tokens, uint32_t sink_tokens, int64_t chunk_tokens) {
    return runtime::Scorer::create({.model = *model_,
                                    .table = *setting_.table,
                                    .pool = pool_,
                                    .kv_dtype = setting_.kv,
                                    .max_len = 256,
                                    .chunk_tokens = chunk_tokens,
                                    .window_tokens = window_tokens,
                                    .sink_tokens = sink_tokens})
        .value();
  }
  int n_threads() const { return setting_.n_threads; }
  flow::KvGeometry geometry(uint32_t n_blocks) const {
    flow::KvGeometry kv = runtime::build_kv_geometry(model_->kv_layers(), setting_.kv).value();
    kv.n_blocks = n_blocks;
    kv.max_len = 256;
    return kv;
  }
  // Blocks of the smallest pool that holds one sequence of n_tokens.
  uint32_t smallest_pool(uint32_t n_tokens, uint32_t chunk) const {
    uint32_t n_blocks = 1;
    while (cache::longest_sequence(geometry(n_blocks), chunk) < n_tokens) ++n_blocks;
    return n_blocks;
  }
  std::unique_ptr<runtime::WorkerGroup> workers(const engine::EngineOptions& options, const Clock& clock,
                                                uint32_t max_draft = 0, uint32_t mask_threads = 0,
                                                bool constraints_complete = true) {
    runtime::RunnerSetup setup{.model = *model_, .table = *setting_.table, .pool = pool_, .geometry = options.kv};
    setup.kv_dtype = setting_.kv;
    setup.max_rows = options.sched.tok_cap;
    setup.max_draft = max_draft;
    setup.mask_threads = mask_threads;
    setup.constraints_complete = constraints_complete;
    return runtime::WorkerGroup::create(setup, options.sched.max_live, clock).value();
  }

 private:
  MachineSetting setting_;
  device::ThreadPool pool_;
  testing::TempDir folder_;
  std::vector<uint8_t> bytes_;
  std::unique_ptr<weights::ModelFile> file_;
  std::unique_ptr<models::Model> model_;
};

// What one fork gave its client, bit by bit.
struct Trace {
  std::vector<TokenId> tokens;
  std::vector<uint32_t> bits;  // logprobs, their tokens and ranks; what was read out of a prompt
  flow::FinishReason finish = flow::FinishReason::kNone;
  bool operator==(const Trace&) const = default;

  void add(const flow::TokenLogprob& entry) {
    bits.push_back(static_cast<uint32_t>(entry.token));
    bits.push_back(std::bit_cast<uint32_t>(entry.logprob));
    bits.push_back(static_cast<uint32_t>(entry.rank));
  }
  void add(const flow::PositionLogprobs& position) {
    add(position.chosen);
    for (const flow::TokenLogprob& top : position.top) add(top);
  }
};

using Traces = std::map<std::pair<flow::RequestId, uint32_t>, Trace>;  // by request (as asked) and fork

struct RigOptions {
  uint32_t budget = 64;
  uint32_t n_blocks = 256;
  sched::OrderKind order = sched::OrderKind::kFcfs;
  sched::AdmitKind admit = sched::AdmitKind::kMaxUtil;
  sched::BudgetKind split = sched::BudgetKind::kStatic;
  bool prefix_cache = true;
  uint64_t failing_step = 0;   // computed, then reported as failed: every sequence in it starts again
  uint32_t steps_between = 2;  // of arrivals
  uint32_t depth = 1;          // 2: the workers compute on a thread of their own
  std::string disk_folder;     // of a disk tier that keeps everything; empty = none
  uint32_t max_draft = 0;      // rows that check what a constraint proposes
  uint32_t mask_threads = 0;   // that fill masks beside the steps
  bool cuts = false;           // constrained answers are cut off at their limit of tokens
  bool errors = false;         // requests may end with one
  bool keep_windows = false;   // KV below the windows is kept: every KvGroup is treated as Full
};

// The real workers, but for one step whose output is lost.
class LosingBackend final : public flow::Backend {
 public:
  LosingBackend(runtime::WorkerGroup& group, uint64_t failing_step) : group_(group), failing_step_(failing_step) {}
  void submit(const flow::StepPlan& plan) override { group_.submit(plan); }
  bool done(uint64_t step) override { return group_.done(step); }
  flow::StepOutput take_output(uint64_t step) override {
    flow::StepOutput output = group_.take_output(step);
    if (step != failing_step_) return output;
    return {.step = step, .ok = false, .error = {ErrorCode::kInternal, "lost", ""}};
  }

 private:
  runtime::WorkerGroup& group_;
  uint64_t failing_step_;
};

class EngineRig {
 public:
  EngineRig(Machine& machine, const RigOptions& options)
      : options_(options),
        engine_options_(engine_options(machine, options)),
        group_(machine.workers(engine_options_, clock_, options.max_draft, options.mask_threads, !options.cuts)),
        backend_(*group_, options.failing_step),
        disk_(make_disk()),
        aside_(options.depth > 1 ? std::make_unique<runtime::OwnThread>(backend_) : nullptr),
        engine_(engine_options_, aside_ ? static_cast<flow::Backend&>(*aside_) : backend_, sink_, clock_) {
    if (aside_) aside_->set_on_done([this] { engine_.wake(); });
  }
  ~EngineRig() {
    aside_.reset();  // it wakes the engine
    for (const std::string& text : sink_.violations()) ADD_FAILURE() << text;
  }
  EngineRig(const EngineRig&) = delete;
  EngineRig& operator=(const EngineRig&) = delete;

  // The requests arrive one after the other, `late` before step `late_at`; returns when all have ended.
  Traces run(const std::vector<flow::GenerateRequest>& requests, const flow::GenerateRequest* late = nullptr,
             uint64_t late_at = 0) {
    constexpr uint64_t kMostSteps = 20'000;
    flow::RequestId base = next_base_;
    next_base_ += 1000;
    uint64_t n_submitted = 0;
    for (uint64_t step = 1;; ++step) {
      for (; n_submitted < requests.size() && n_submitted * options_.steps_between < step; ++n_submitted) {
        submit(requests[n_submitted], base);
      }
      if (late != nullptr && step == late_at) submit(*late, base);
      clock_.advance(kMillisecond);
      uint64_t n_preemptions = engine_.stats().n_preemptions;
      bool busy = engine_.step();
      if (engine_.stats().n_preemptions > n_preemptions) preempted_at_.insert(step);
      most_active_ = std::max(most_active_, engine_.stats().kv_blocks_active);
      std::string fault = engine_.check_integrity();
      EXPECT_EQ(fault, "") << "step " << step;
      if (!fault.empty() || step == kMostSteps) break;
      if (busy || n_submitted < requests.size()) continue;
      if (!engine_.stats().has_work) break;
      engine_.wait_for_work();  // for the thread that computes, or a load
    }
    Traces traces;
    for (const flow::GenerateRequest& request : requests) collect(request, base, traces);
    if (late != nullptr) collect(*late, base, traces);
    for (int quiet = 0; disk_ != nullptr && quiet < 2; ++quiet) {
      disk_->drain();
      while (engine_.step()) disk_->drain();
    }
    check_idle();
    return traces;
  }

  engine::EngineStats stats() const { return engine_.stats(); }
  const runtime::WorkerGroup& group() const { return *group_; }
  const std::set<uint64_t>& preempted_at() const { return preempted_at_; }
  uint32_t most_active() const { return most_active_; }  // KV blocks in use after any step

 private:
  static engine::EngineOptions engine_options(const Machine& machine, const RigOptions& options) {
    engine::EngineOptions out;
    out.kv = machine.geometry(options.n_blocks);
    for (flow::KvGroup& group : out.kv.groups) {
      if (options.keep_windows) group = {.layers = group.layers};
    }
    out.sched.order = options.order;
    out.sched.admit = options.admit;
    out.sched.budget = options.split;
    out.sched.depth = options.depth;
    out.sched.max_live = 24;
    out.sched.tok_cap = 24 + std::max(options.budget, 6u);
    out.sched.budget_tokens = options.budget;
    out.sched.c_min = std::min(options.budget, 6u);
    out.prefix_cache = options.prefix_cache;
    return out;
  }
  std::unique_ptr<runtime::DiskStore> make_disk() {
    if (options_.disk_folder.empty()) return nullptr;
    const flow::KvGeometry& kv = engine_options_.kv;
    runtime::DiskOptions disk{.folder = options_.disk_folder, .max_bytes = uint64_t{1} << 30};
    disk.layout = {.block_tokens = kv.block_tokens, .block_bytes = kv.block_bytes};
    auto store = runtime::DiskStore::open(disk, [this](flow::BlockId id) { return group_->kv().block(id); });
    CHECK(store.ok(), "{}", store.error().message);
    engine_options_.tier = store->get();
    engine_options_.tier_saves_all = true;
    return std::move(store).value();
  }
  void submit(flow::GenerateRequest request, flow::RequestId base) {
    request.id += base;
    Result<void> taken = engine_.submit(std::move(request));
    ASSERT_TRUE(taken.ok()) << taken.error().message;
  }
  void collect(const flow::GenerateRequest& request, flow::RequestId base, Traces& traces) {
    for (uint32_t fork = 0; fork < request.n; ++fork) {
      const ForkText& text = sink_.text(base + request.id, fork);
      Trace& trace = traces[{request.id, fork}];
      trace.tokens = text.tokens;
      trace.finish = text.finish;
      for (const flow::TokenEvent& event : text.events) {
        if (!options_.errors) {
          EXPECT_NE(event.finish, flow::FinishReason::kError) << event.error.message;
        }
        for (const flow::PositionLogprobs& position : event.prompt_logprobs) trace.add(position);
        for (float value : event.pooled) trace.bits.push_back(std::bit_cast<uint32_t>(value));
        if (event.token == kNoToken) continue;
        ASSERT_NE(event.logprobs, nullptr);
        trace.add(*event.logprobs);
      }
    }
  }
  void check_idle() {
    engine::EngineStats stats = engine_.stats();
    EXPECT_EQ(stats.kv_blocks_active + stats.kv_blocks_cooling, 0u);
    EXPECT_EQ(stats.n_running + stats.n_waiting, 0u);
    EXPECT_FALSE(stats.has_work);
    if (!options_.errors) {
      EXPECT_EQ(stats.n_finished_error, 0u);
    }
    EXPECT_EQ(static_cast<uint64_t>(group_->counters().steps), stats.n_steps);
    EXPECT_EQ(static_cast<uint64_t>(group_->counters().rows), stats.n_rows);
  }

  RigOptions options_;
  FakeClock clock_;
  CollectSink sink_;
  engine::EngineOptions engine_options_;
  std::unique_ptr<runtime::WorkerGroup> group_;
  LosingBackend backend_;
  std::unique_ptr<runtime::DiskStore> disk_;
  std::unique_ptr<runtime::OwnThread> aside_;  // depth 2
  engine::Engine engine_;
  flow::RequestId next_base_ = 0;
  std::set<uint64_t> preempted_at_;
  uint32_t most_active_ = 0;
};

// What each request gives by itself.
inline Traces run_each_alone(Machine& machine, const std::vector<flow::GenerateRequest>& requests) {
  Traces traces;
  for (const flow::GenerateRequest& request : requests)
    traces.merge(EngineRig(machine, {.budget = 256}).run({request}));
  return traces;
}

inline void expect_same(const Traces& got, const Traces& want, const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (const auto& [key, trace] : want) {
    const Trace& other = got.at(key);
    EXPECT_EQ(other.tokens, trace.tokens) << what << ": request " << key.first << " fork " << key.second;
    EXPECT_TRUE(other == trace) << what << ": request " << key.first << " fork " << key.second << ", bits";
  }
}

}  // namespace millrace::support
