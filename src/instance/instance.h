// Instance: one loaded model with its engine: text side, engine thread, liveness. Made by load() from a model
// reference, or by make() from parts (tests give a fake Backend).
//  1. The engine thread is the backend's compute thread 0; it runs from make() to the destructor.
//  2. State goes loading -> ready -> draining -> dead, never back; kDead also when the watchdog fires.
// Thread: any.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "api/common.h"
#include "api/output.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/result.h"
#include "base/task_pool.h"
#include "engine/engine.h"
#include "engine/event_log.h"
#include "engine/sessions.h"
#include "flow/backend.h"
#include "grammar/compiler.h"
#include "instance/load_estimate.h"
#include "instance/router.h"
#include "instance/tenants.h"
#include "instance/text_side.h"
#include "store/hub.h"
#include "tensor/format_id.h"

namespace millrace::runtime {
class Turns;
}

namespace millrace::instance {

enum class InstanceState : uint8_t { kLoading, kReady, kDraining, kDead };

// What is told about the model; fixed after load.
struct InstanceFacts {
  std::vector<std::string> served_names;  // >= 1
  std::string root;                       // reference as given
  std::string file_name;                  // last part of the file's or folder's path
  std::string architecture;
  std::string vocab_type;  // "gpt2", "llama", ...
  std::string isa;         // kernels in use
  std::string device = "cpu";
  std::string weight_format;  // of most weights, "Q4_1"
  std::string kv_dtype = "bf16";
  std::string system_fingerprint;
  uint32_t n_threads = 1;  // that compute
  int64_t created = 0;     // unix seconds
  int64_t n_vocab = 0;
  int64_t max_len = 0;
  int64_t n_ctx_train = 0;
  int64_t d_model = 0;
  int64_t n_params = 0;
  int64_t file_bytes = 0;
  uint64_t weight_bytes = 0;  // in memory
  uint64_t kv_bytes = 0;
  uint64_t scratch_bytes = 0;
};

struct InstanceParts {
  InstanceFacts facts;
  TextParts text;
  engine::EngineOptions engine;
  std::string record_events;                    // file of engine/event_log.h; empty: none
  std::unique_ptr<engine::EventLog> event_log;  // made by make()
  std::shared_ptr<void> holds;                  // what the backend refers to; destroyed after it
  std::unique_ptr<flow::Backend> backend;
  std::string session_folder;              // for files of conversations; empty: none, and no engine.block_bytes
  flow::TierName session_layout = {};      // what the bytes in those files depend on
  std::unique_ptr<flow::TierStore> tier;   // of engine.tier; reads and writes the backend's blocks; may be null
  std::function<void()> on_engine_thread;  // first thing the engine thread does; may be empty
  std::function<uint64_t()> heartbeat;     // a count that moves while a step computes; may be empty
  size_t n_text_threads = 2;
  std::vector<TenantRule> tenants;
  std::shared_ptr<TenantTable> tenant_table;  // null: one by the rules above
};

struct LoadProgress {
  std::string_view stage;  // "download", "weights", "warm-up", ...
  double fraction = 0.0;   // 0..1
};
using ProgressFn = std::function<bool(const LoadProgress&)>;  // false: give up (kCancelled)

// 0 and empty = from the model, or all that fits.
struct InstanceOptions {
  std::string model;     // reference, see store/model_store.h
  std::string hub_file;  // of a hub model: this file
  store::HubSettings hub;
  std::vector<std::string> served_names;  // empty: the last part of the reference
  std::string chat_template;              // Jinja text that replaces the model's
  AnswerRules answers;
  uint32_t max_model_len = 0;
  uint32_t max_num_seqs = 256;
  uint32_t constraint_draft_tokens = 16;  // proposals of constraints per sequence and step; 0: none
  bool constraints_complete = true;       // constrained answers end inside their limit of tokens
  uint32_t max_num_batched_tokens = 0;
  uint64_t kv_cache_bytes = 0;
  uint64_t memory_limit_bytes = 0;       // 0: 90% of what the machine or its cgroup has
  std::optional<flow::Pooling> pooling;  // how embeddings are made; none: as the model says
  std::string kv_cache_dtype = "auto";
  std::string kv_disk_path;                    // folder of the disk tier; empty: none
  uint64_t kv_disk_bytes = uint64_t{8} << 30;  // most bytes in it
  std::string slot_save_path;                  // folder of saved conversations; empty: none
  bool kv_disk_all = false;                    // keep everything, not only what is likely to be used again
  std::optional<tensor::Format> quantization;  // of float weights, at load; none: the formats of the file
  std::string isa;                             // kernels to use; empty: the best the CPU has
  std::string packed_folder;                   // of images of packed weights, for quicker starts; empty: none
  uint32_t n_threads = 0;                      // 0: physical cores
  std::vector<TenantRule> tenants;
  std::shared_ptr<TenantTable> tenant_table;  // shared by the models of a process; null: one of its own, by the rules
  bool prefix_cache = true;
  bool pin_threads = true;  // compute threads stay on their cores
  sched::OrderKind order = sched::OrderKind::kDlpm;
  sched::AdmitKind admit = sched::AdmitKind::kPredictive;
  sched::BudgetKind budget = sched::BudgetKind::kSlack;
  uint32_t itl_target_ms = 0;             // time between two tokens of a stream; 0 = automatic
  uint32_t ttft_target_ms = 0;            // order edf; 0 = none
  bool async_scheduling = false;          // the next step is planned while one is computed
  std::shared_ptr<runtime::Turns> turns;  // shared by the models of a process: one computes at a time; null: alone
  bool check_tensors = false;
  bool warm_up = true;
  bool use_generation_config = true;
  std::string record_events;                                   // write the engine's inputs to this file
  std::function<void(std::span<flow::KvEvent>)> on_kv_events;  // see engine::EngineOptions; may be empty
  api::SamplingDefaults override_defaults;
  Limits limits;
};

// The name a model is served under when nobody gives it one: a hub's OWNER/NAME, else the last part of its path.
std::string served_name(const std::string& reference);

// A model that could be loaded.
struct ModelListing {
  std::string name;
  uint64_t file_bytes = 0;
  int64_t modified_s = 0;  // Unix time
};

// Bytes of memory that an instance takes: weights, KV cache and working space.
struct MemoryNeed {
  uint64_t least_bytes = 0;  // with the KV of one sequence
  uint64_t usual_bytes = 0;  // with all the KV it would like
};

// What the head of a model's files says.
struct ModelHead {
  std::string architecture;
  std::string weight_format;  // of most weights
  std::string chat_template;  // Jinja text; empty: none
  int64_t n_params = 0;
  int64_t n_ctx_train = 0;
  int64_t d_model = 0;
  bool generates = true;  // false: embeddings or scores only
};

// One action on a conversation. `name`: a session_id, or slot_name() of a number.
struct SessionCall {
  engine::SessionVerb verb = engine::SessionVerb::kSave;
  std::string name;
  std::string filename;  // in the folder; not with kErase
};
struct SessionReport {
  uint32_t n_tokens = 0;  // whose KV was saved, restored or forgotten
  uint64_t n_bytes = 0;   // of the file
  Tick took = 0;
};
// No session_id has a space.
std::string slot_name(int64_t id_slot);

class Instance {
 public:
  static Result<std::unique_ptr<Instance>> load(const InstanceOptions& options, const ProgressFn& progress);
  // What load() would take if memory were no matter, from the heads of the files; working space is estimated.
  static Result<MemoryNeed> memory_need(const InstanceOptions& options, const ProgressFn& progress = {});
  // What the files say of the model; nothing is fetched from a network.
  static Result<ModelHead> read_head(const InstanceOptions& options);
  static Result<std::unique_ptr<Instance>> make(InstanceParts parts);
  ~Instance();
  // Cancels everything and joins the threads: nothing is computed or delivered afterwards. The destructor does it too.
  void halt();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  // One prefill and one decode step; then the totals of stats() start from zero.
  Result<void> warm_up();

  const InstanceFacts& facts() const { return parts_.facts; }
  const Limits& limits() const { return text_->parts().limits; }
  uint32_t block_tokens() const { return parts_.engine.kv.block_tokens; }
  uint32_t max_seqs() const { return parts_.engine.sched.max_live; }
  bool prefix_cache() const { return parts_.engine.prefix_cache; }
  Tick itl_target() const { return parts_.engine.sched.itl_target; }  // 0: none was set
  const api::SamplingDefaults& defaults() const { return text_->parts().defaults; }
  api::ParseContext parse_context() const;
  std::vector<api::ModelCard> model_cards() const;
  TextSide& text() { return *text_; }
  const TextSide& text() const { return *text_; }
  const TextParts& text_parts() const { return text_->parts(); }
  engine::Engine& engine() { return *engine_; }
  grammar::Compiler& constraints() { return *constraints_; }
  TenantTable& tenants() { return *tenants_; }
  Router& router() { return router_; }
  const LoadEstimate& estimate() const { return estimate_; }
  const Clock& clock() const { return clock_; }
  // Runs `work` on a text worker: jobs of few bytes and large ones have workers of their own, so a large one delays no
  // small one. kQueueFull when the jobs that wait hold more than the limit queued_bytes, or are too many.
  Result<void> post_text_work(size_t n_bytes, std::function<void()> work);

  // Saves, restores or forgets a conversation, and waits for that. kInvalidValue names what is wrong with the file or
  // the name. Thread: a text worker.
  Result<SessionReport> session(const SessionCall& call);

  InstanceState state() const { return state_.load(std::memory_order_acquire); }
  // Totals since warm-up.
  engine::EngineStats stats() const;
  // Time since the last sign of life while work is pending; 0 when idle.
  Tick stall_age() const;
  void begin_drain();
  void set_step_observer(engine::StepObserver* observer) { observer_.store(observer, std::memory_order_release); }
  // The notifier of generate_blocking().
  class BlockingNotifier;
  BlockingNotifier& blocking_notifier() { return *blocking_; }

 private:
  class Tap;
  explicit Instance(InstanceParts parts);
  void watch();
  bool has_work() const;

  SystemClock clock_;
  InstanceParts parts_;
  Router router_;
  LoadEstimate estimate_;
  std::unique_ptr<BlockingNotifier> blocking_;
  std::unique_ptr<Tap> tap_;
  std::unique_ptr<TextSide> text_;
  std::shared_ptr<TenantTable> tenants_;
  std::unique_ptr<grammar::Compiler> constraints_;  // its threads end in halt()
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<TaskPool> text_workers_;
  std::unique_ptr<TaskPool> bulk_worker_;
  std::atomic<engine::StepObserver*> observer_{nullptr};
  std::atomic<InstanceState> state_{InstanceState::kLoading};
  std::atomic<int64_t> queued_bytes_{0};  // of text work that waits or runs
  std::mutex watch_mutex_;
  std::condition_variable watch_stop_;
  bool stopping_ = false;          // guarded by watch_mutex_
  std::atomic<Tick> alive_at_{0};  // when the watch last saw an idle engine or a moving heartbeat
  engine::EngineStats baseline_;   // totals at the end of the warm-up
  std::thread engine_thread_;
  std::thread watchdog_thread_;
};

}  // namespace millrace::instance
