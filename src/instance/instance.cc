#include "instance/instance.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/macros.h"
#include "instance/blocking_notifier.h"
#include "instance/session.h"

namespace millrace::instance {
namespace {

constexpr size_t kTextQueue = 4096;        // requests that may wait for a text worker; queued_bytes bounds their size
constexpr size_t kBulkBytes = 256 * 1024;  // from here a job is large: tens of ms of tokenising
constexpr int kBulkNiceness = 10;          // a tenth of a core's share against a compute thread on the same core
constexpr int kWarmUpPolls = 1000;
constexpr auto kWatchInterval = std::chrono::milliseconds(100);
constexpr Tick kLateLook = 2 * kSecond;  // of a watch that looks every 0.1 s: more than a busy machine delays a thread
constexpr uint64_t kMaxEventLogBytes = uint64_t{1} << 30;

void subtract(engine::EngineStats& stats, const engine::EngineStats& base) {
  stats.n_requests -= base.n_requests;
  stats.n_refused -= base.n_refused;
  stats.prompt_tokens -= base.prompt_tokens;
  stats.prompt_tokens_computed -= base.prompt_tokens_computed;
  stats.generated_tokens -= base.generated_tokens;
  stats.prefix_query_tokens -= base.prefix_query_tokens;
  stats.prefix_hit_tokens -= base.prefix_hit_tokens;
  stats.n_preemptions -= base.n_preemptions;
  stats.recomputed_tokens -= base.recomputed_tokens;
  stats.n_evictions -= base.n_evictions;
  stats.n_steps -= base.n_steps;
  stats.n_rows -= base.n_rows;
  stats.n_failed_steps -= base.n_failed_steps;
  stats.n_accounting_errors -= base.n_accounting_errors;
  stats.draft_tokens -= base.draft_tokens;
  stats.draft_tokens_accepted -= base.draft_tokens_accepted;
  stats.constraints_completed -= base.constraints_completed;
  stats.n_finished_eos -= base.n_finished_eos;
  stats.n_finished_stop_token -= base.n_finished_stop_token;
  stats.n_finished_length -= base.n_finished_length;
  stats.n_finished_cancelled -= base.n_finished_cancelled;
  stats.n_finished_error -= base.n_finished_error;
}

// What the last steps did, oldest first: the end of a post-mortem.
void log_recent_steps(const engine::Engine& engine) {
  for (const engine::StepRecord& step : engine.recent_steps()) {
    LOG(LogLevel::kError, "step {}: plan {:016x}, {} prefill and {} decode rows, {} us, {}", step.step, step.state_hash,
        step.n_prefill_rows, step.n_decode_rows, step.took / kMicrosecond, step.ok ? "ok" : "failed");
  }
}

}  // namespace

// What the engine tells of each step: to the estimate, and to an observer once one is set.
class Instance::Tap final : public engine::StepObserver {
 public:
  explicit Tap(Instance& instance) : instance_(&instance) {}
  void on_step(const engine::StepRecord& record) override {
    instance_->estimate_.on_step(record);
    if (record.hung()) {
      LOG(LogLevel::kWarning, "step {} took {} ms, {} ms were predicted: {} prefill and {} decode rows", record.step,
          record.took / kMillisecond, record.predicted / kMillisecond, record.n_prefill_rows, record.n_decode_rows);
    }
    engine::StepObserver* observer = instance_->observer_.load(std::memory_order_acquire);
    if (observer != nullptr) observer->on_step(record);
  }

 private:
  Instance* instance_;
};

Instance::Instance(InstanceParts parts) : parts_(std::move(parts)) {
  blocking_ = std::make_unique<BlockingNotifier>();
  tap_ = std::make_unique<Tap>(*this);
  parts_.text.n_vocab = parts_.facts.n_vocab;
  text_ = std::make_unique<TextSide>(std::move(parts_.text));
  tenants_ = std::move(parts_.tenant_table);
  if (tenants_ == nullptr) tenants_ = std::make_shared<TenantTable>(std::move(parts_.tenants));
  engine_ = std::make_unique<engine::Engine>(parts_.engine, *parts_.backend, router_, clock_, tap_.get());
  const text::Tokenizer& tokenizer = text_->tokenizer();
  size_t n_vocab = std::max(tokenizer.n_vocab(), static_cast<size_t>(parts_.facts.n_vocab));
  grammar::Vocabulary vocabulary = grammar::vocabulary_of(tokenizer, text_->parts().eos_token_ids, n_vocab);
  std::erase_if(vocabulary.specials, [&](TokenId token) {  // tags of calls are text of a constraint
    return std::ranges::binary_search(text_->answers().tag_tokens(), token);
  });
  constraints_ = std::make_unique<grammar::Compiler>(std::move(vocabulary), text_->parts().limits);
  text_workers_ = std::make_unique<TaskPool>(parts_.n_text_threads, kTextQueue);
  bulk_worker_ = std::make_unique<TaskPool>(1, kTextQueue, kBulkNiceness);
}

Result<std::unique_ptr<Instance>> Instance::make(InstanceParts parts) {
  CHECK(parts.backend != nullptr);
  CHECK(!parts.facts.served_names.empty());
  TRY(engine::Engine::validate(parts.engine));
  if (!parts.record_events.empty()) {
    parts.event_log = TRY(engine::EventLog::create(parts.record_events, kMaxEventLogBytes));
    parts.engine.event_log = parts.event_log.get();
  }
  std::unique_ptr<Instance> instance(new Instance(std::move(parts)));
  instance->state_.store(InstanceState::kReady, std::memory_order_release);
  instance->alive_at_.store(instance->clock_.now());
  instance->engine_thread_ = std::thread([self = instance.get()] {
    if (self->parts_.on_engine_thread) self->parts_.on_engine_thread();
    try {
      self->engine_->run();
    } catch (const std::bad_alloc&) {  // its books may be half changed: it cannot go on
      LOG(LogLevel::kError, "out of memory in the engine: the server ends");
      self->state_.store(InstanceState::kDead, std::memory_order_release);
    }
  });
  instance->watchdog_thread_ = std::thread([self = instance.get()] { self->watch(); });
  return instance;
}

Instance::~Instance() {
  halt();
  parts_.backend.reset();  // a thread of its own still wakes the engine
  engine_.reset();
  parts_.event_log.reset();
  parts_.tier.reset();
}

void Instance::halt() {
  {
    std::lock_guard lock(watch_mutex_);
    stopping_ = true;
  }
  watch_stop_.notify_all();
  text_workers_.reset();
  bulk_worker_.reset();
  constraints_.reset();
  engine_->stop();
  engine_->wake();
  if (engine_thread_.joinable()) engine_thread_.join();
  if (watchdog_thread_.joinable()) watchdog_thread_.join();
}

Result<void> Instance::post_text_work(size_t n_bytes, std::function<void()> work) {
  constexpr int64_t kJobBytes = 4096;  // of any job
  int64_t bytes = static_cast<int64_t>(n_bytes) + kJobBytes;
  int64_t limit = limits()[LimitId::kQueuedBytes];
  if (queued_bytes_.fetch_add(bytes) + bytes > limit) {
    queued_bytes_.fetch_sub(bytes);
    return Error{ErrorCode::kQueueFull, fmt::format("queued requests hold more than {} bytes", limit), ""};
  }
  TaskPool& pool = n_bytes >= kBulkBytes ? *bulk_worker_ : *text_workers_;
  bool posted = pool.try_post([this, bytes, work = std::move(work)] {
    work();
    queued_bytes_.fetch_sub(bytes);
  });
  if (posted) return {};
  queued_bytes_.fetch_sub(bytes);
  return Error{ErrorCode::kQueueFull, "too many requests wait to be tokenised", ""};
}

bool Instance::has_work() const { return router_.n_open() > 0 || engine_->stats().has_work; }

// An engine with work is woken at each look: a live one answers with a further turn of its loop, a computing one moves
// the backend's heartbeat. Neither for watchdog_s: the engine thread hangs and cannot be trusted any more. A look that
// comes seconds late means that the whole process stood still (stopped, frozen, its machine asleep): time begins anew.
void Instance::watch() {
  Tick limit = limits()[LimitId::kWatchdogSeconds] * kSecond;
  uint64_t last_beat = 0;
  Tick looked_at = clock_.now();
  std::unique_lock lock(watch_mutex_);
  while (!watch_stop_.wait_for(lock, kWatchInterval, [&] { return stopping_; })) {
    uint64_t beat = engine_->stats().heartbeat + (parts_.heartbeat ? parts_.heartbeat() : 0);
    bool busy = has_work();
    Tick now = clock_.now();
    bool stood_still = now - looked_at > kLateLook;
    looked_at = now;
    if (beat != last_beat || !busy || stood_still) alive_at_.store(now);
    last_beat = beat;
    if (busy) engine_->wake();
    Tick age = stall_age();
    if (age < limit || state() == InstanceState::kDead) continue;
    state_.store(InstanceState::kDead, std::memory_order_release);
    engine::EngineStats stats = engine_->stats();
    LOG(LogLevel::kError,
        "watchdog: no step for {} s; steps {}, running {}, waiting {}, parked {}, kv free {} of {} blocks",
        age / kSecond, stats.n_steps, stats.n_running, stats.n_waiting, stats.n_parked, stats.kv_blocks_free,
        stats.kv_blocks_total);
    log_recent_steps(*engine_);
  }
}

Result<void> Instance::warm_up() {
  Job job;
  api::CompletionRequest request;
  request.prompts.emplace_back(std::vector<TokenId>(2, 0));
  request.common.sampling.temperature = 0.0f;
  request.common.sampling.ignore_eos = true;
  const api::PoolingFacts& facts = text_->parts().pooling;
  request.common.max_tokens = facts.generates ? 2 : 0;
  if (!facts.generates) request.common.sampling.pooling = facts.pooling;
  request.common.prompt.cache_prompt = false;
  job.body = std::move(request);
  job.arrival = clock_.now();
  auto answer = generate_blocking(*this, std::move(job), {});
  if (!answer.ok()) return answer.take_error();
  // The last event is emitted just before its step is counted.
  for (int i = 0; i < kWarmUpPolls && engine_->stats().has_work; ++i) std::this_thread::sleep_for(kWatchInterval / 100);
  baseline_ = engine_->stats();
  return {};
}

api::ParseContext Instance::parse_context() const {
  return {.limits = limits(),
          .served_names = facts().served_names,
          .model = {.n_vocab = facts().n_vocab, .max_len = facts().max_len, .pooling = text_->parts().pooling},
          .defaults = text_->parts().defaults};
}

std::vector<api::ModelCard> Instance::model_cards() const {
  std::vector<api::ModelCard> cards;
  for (const std::string& name : facts().served_names) {
    api::ModelCard card;
    card.id = name;
    card.root = facts().root;
    card.created = facts().created;
    card.max_model_len = facts().max_len;
    card.vocab_type = facts().vocab_type;
    card.n_vocab = facts().n_vocab;
    card.n_ctx_train = facts().n_ctx_train;
    card.n_embd = facts().d_model;
    card.n_params = facts().n_params;
    card.size_bytes = facts().file_bytes;
    card.aliases = facts().served_names;
    cards.push_back(std::move(card));
  }
  return cards;
}

engine::EngineStats Instance::stats() const {
  engine::EngineStats stats = engine_->stats();
  subtract(stats, baseline_);
  return stats;
}

Tick Instance::stall_age() const {
  if (!has_work()) return 0;
  return std::max<Tick>(0, clock_.now() - alive_at_.load());
}

void Instance::begin_drain() {
  InstanceState ready = InstanceState::kReady;
  state_.compare_exchange_strong(ready, InstanceState::kDraining);
  engine_->begin_drain();
}

}  // namespace millrace::instance
