// What an Engine holds. Engine thread only, except Inbox and what Published guards.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "cache/kv_cache.h"
#include "engine/beam_search.h"
#include "engine/engine.h"
#include "engine/inbox.h"
#include "engine/kv_events.h"
#include "engine/recorded_tier.h"
#include "engine/sessions.h"
#include "engine/tiers.h"
#include "sched/scheduler.h"

namespace millrace::engine {

constexpr uint32_t kMaxStepFailures = 2;  // failed steps in a row that one sequence survives

// One fork: its sequence while there is one, and what its events report.
struct Fork {
  sched::SeqId seq = sched::kNoSeq;  // none before its parent's prompt is computed, and after its end
  bool ended = false;
  uint32_t n_cached = 0;
  uint32_t n_step_failures = 0;  // in a row
  TokenId sampled = kNoToken;    // of a beam: what the backend took for its next token
  Tick first_scheduled = 0;
  Tick first_token = 0;
};

// A request and its forks. `ask` never moves: plans and sequences point into it.
struct Request {
  flow::GenerateRequest ask;
  std::vector<Fork> forks;                              // [ask.n], or [ask.beam_width]
  std::unique_ptr<BeamSearch> beams;                    // or nullptr
  std::vector<uint32_t> beam_forks;                     // of the running beams, in their order
  std::vector<flow::PositionLogprobs> prompt_logprobs;  // of fork 0, until delivered
  std::vector<float> pooled;                            // until delivered
  uint64_t number = 0;                                  // order of submission
  uint32_t n_ended = 0;
  uint32_t n_seqs = 0;    // sequences not yet destroyed
  Tick parked_until = 0;  // 0 = not parked
  Tick load_until = 0;    // waits for its prefix to be loaded, without a sequence; 0 = does not
  Tick predicted_at = 0;  // first token, as seen when it took its place in the list; 0 = not known
  bool queued = true;     // holds a place in the bounded queue
  bool spawned = false;   // forks 1 .. n-1 have sequences, or will never need one
};

struct Totals {
  uint64_t prompt_tokens = 0;
  uint64_t prompt_tokens_computed = 0;
  uint64_t generated_tokens = 0;
  uint64_t prefix_query_tokens = 0;
  uint64_t prefix_hit_tokens = 0;
  uint64_t n_preemptions = 0;
  uint64_t recomputed_tokens = 0;
  uint64_t n_steps = 0;
  uint64_t n_rows = 0;
  uint64_t n_failed_steps = 0;
  uint64_t n_drafted = 0;    // rows of proposals computed
  uint64_t n_accepted = 0;   // of them right
  uint64_t n_completed = 0;  // constrained answers that ended for the sake of their limit
  uint64_t n_requests_ended = 0;
  uint64_t n_finished[6] = {};  // by FinishReason
};

// The steps in flight, oldest first, in a ring of reused records.
class InFlight {
 public:
  explicit InFlight(uint32_t depth) : records_(depth) {}
  bool full() const { return size_ == records_.size(); }
  bool empty() const { return size_ == 0; }
  uint32_t size() const { return size_; }
  sched::PlanRecord& next() { return at(size_); }  // the record to plan into
  void push() { ++size_; }
  sched::PlanRecord& at(uint32_t i) { return records_[(first_ + i) % records_.size()]; }
  void pop() {
    first_ = (first_ + 1) % static_cast<uint32_t>(records_.size());
    --size_;
  }

 private:
  std::vector<sched::PlanRecord> records_;
  uint32_t first_ = 0;
  uint32_t size_ = 0;
};

struct Published {
  mutable std::mutex mutex;
  EngineStats stats;               // guarded by mutex
  std::vector<StepRecord> recent;  // ring [kRecentSteps], guarded by mutex
  size_t next_recent = 0;          // guarded by mutex
  sched::CostModel cost;           // guarded by mutex
  std::atomic<bool> drained{false};
  std::atomic<bool> stopped{false};
};

struct Engine::State {
  State(EngineOptions options_in, flow::Backend& backend, flow::EventSink& sink, const Clock& clock,
        StepObserver* observer);

  // The five verbs; each returns whether it did anything.
  bool apply(Tick now);
  bool plan(Tick now);
  void submit();
  bool retire();
  void emit();

  // What is wrong with a request, whatever else waits. Thread: any.
  Result<void> check(const flow::GenerateRequest& request) const;

  // apply.cc
  void handle(Message& message, Tick now);
  void add_request(flow::GenerateRequest&& ask, Tick now);
  void open_sequence(Request& request, Tick now);
  void predict(Request& request, Tick now);
  bool turn_tiers(Tick now);
  void begin_session(std::shared_ptr<SessionTask> task);
  void note_timer(Tick at);
  void park(Request& request, Tick now);
  void resume(Request& request);
  void reset_prefix_cache();
  void end_queued(Tick now);
  bool run_timers(Tick now);
  void find_next_timer();
  void spawn_forks(Request& request, Tick now);

  // retire.cc
  void retire_share(sched::PlanRecord& record, size_t index, flow::ShareResult& result, Tick now);
  void take_back_drafts(sched::Seq& seq, const flow::Share& share, const flow::ShareResult& result);
  void collect_prompt_logprobs(Request& request, sched::Seq& seq, const flow::Share& share, flow::ShareResult& result);
  void accept_token(Request& request, sched::Seq& seq, flow::ShareResult& result, Tick now);
  flow::FinishReason reason_to_stop(const sched::Seq& seq, TokenId token) const;
  void step_failed(const sched::PlanRecord& record, const Error& error, Tick now);
  void heal_all();
  void observe(const sched::PlanRecord& record, const flow::StepOutput& output, Tick now);
  void remember(const StepRecord& step);

  // beams.cc
  void begin_beams(Request& request);
  void take_beam_answer(Request& request, sched::Seq& seq, uint32_t n_tokens, flow::ShareResult& result, Tick now);
  void advance_beams(Request& request, Tick now);
  void add_beam(Request& request, uint32_t fork, uint32_t parent, Tick now);
  void drop_beam(Request& request, uint32_t fork);
  void end_beams(Request& request, Tick now);

  // contain.cc
  bool has_faults() const { return cache.n_faults() != n_contained; }
  bool is_stuck(Tick now) const;
  bool contain(Tick now);
  void drop_plan(const sched::PlanRecord& record);

  // ends.cc: the one place that turns an outcome into a finishing event
  void end_fork(Request& request, uint32_t fork, flow::FinishReason reason, Error error, Tick now);
  void end_fork(Request& request, uint32_t fork, flow::TokenEvent&& event, Tick now);
  void keep_prefix(const Request& request, sched::Seq& seq, Tick now);
  void end_failed(Request& request, uint32_t fork, const Error& error, Tick now);
  void end_request(Request& request, flow::FinishReason reason, const Error& error, Tick now);
  void destroy_if_idle(sched::Seq& seq);
  void sweep();
  void leave_queue(Request& request);
  void publish_stats();

  Request* find(flow::RequestId id);
  sched::Seq& new_sequence(Request& request, uint32_t fork, Tick now);
  sched::Seq& own(sched::Seq& seq, Request& request);
  Request& request_of(const sched::Seq& seq);

  EngineOptions options;
  flow::Backend& backend;
  flow::EventSink& sink;
  const Clock& clock;
  StepObserver* observer;
  Inbox inbox;
  cache::KvCache cache;
  std::unique_ptr<RecordedTier> recorded_tier;  // with an event log and a tier, or nullptr
  std::unique_ptr<Tiers> tiers;                 // or nullptr
  std::unique_ptr<Sessions> sessions;           // or nullptr
  std::unique_ptr<KvEvents> kv_events;          // or nullptr
  sched::SeqTable seqs;
  sched::Scheduler scheduler;
  InFlight in_flight;
  std::unordered_map<flow::RequestId, std::unique_ptr<Request>> requests;  // looked up only, never walked for order
  std::vector<Request*> in_order;                                          // all requests, by number
  std::vector<Request*> owners;                                            // by SeqId, of sequences that exist
  std::vector<Message> messages;                                           // scratch of apply
  std::vector<flow::TokenEvent> events;
  std::vector<LoadWaiter> loaded;  // scratch of turn_tiers
  std::vector<uint8_t> of_beams;   // scratch of retire: [shares], for the event log
  Tick row_time = 0;               // ns of a step per row, average over steps with a prefill; 0 = not known
  Totals totals;
  Published published;
  uint64_t next_number = 1;
  uint64_t n_contained = 0;  // of the cache's faults
  uint64_t heartbeat = 0;
  uint32_t n_parked_requests = 0;
  uint32_t n_unspawned = 0;   // requests whose further forks have no sequence yet
  uint32_t n_tokens_out = 0;  // of the step being retired
  Tick last_step_at = 0;
  Tick next_timer = 0;    // 0 = none
  bool any_done = false;  // some request can be forgotten
  bool stopping = false;
};

}  // namespace millrace::engine
