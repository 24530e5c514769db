// Engine: takes requests in, plans, submits, commits, emits. Sole owner of all request and cache state; no compute
// behind it but flow::Backend. step() is five verbs: apply, plan, submit, retire, emit (docs/contracts/threads.md); in
// this order a step that submit() computed at once (depth 1) is retired and emitted by the same call.
//  1. After a successful submit() every fork 0 .. n-1 of the request ends with exactly one finishing TokenEvent.
//  2. Messages (submit, cancel, park, resume, reset, drain, stop) are applied at one point, the start of step().
//  3. The same messages at the same ticks and the same outputs give the same plans (StepPlan.state_hash).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "flow/backend.h"
#include "flow/generate_request.h"
#include "flow/kv_event.h"
#include "flow/kv_geometry.h"
#include "flow/tier_store.h"
#include "flow/token_event.h"
#include "sched/cost_model.h"
#include "sched/sched_options.h"

namespace millrace::cache {
class KvCache;
}
namespace millrace::sched {
class SeqTable;
}

namespace millrace::engine {

class EventLog;
struct SessionTask;

struct EngineOptions {
  flow::KvGeometry kv;
  sched::SchedOptions sched;
  uint32_t max_queued_requests = 512;      // client requests with a prompt not yet started; beyond: kQueueFull
  uint64_t max_queued_tokens = 1'000'000;  // prompt tokens of those; one alone may have more
  bool prefix_cache = true;                // false: nothing is matched
  Tick park_limit = 30 * kSecond;          // a reader parked this long ends with kError kSlowReader
  sched::CostModel cost_prior;             // what is known of the machine before the first step; empty: nothing
  uint64_t hash_secret = 0;                // of the prefix trie; per process; influences no decision
  unsigned trie_hash_bits = 64;            // tests force collisions with 8
  EventLog* event_log = nullptr;           // gets every input of the engine; outlives it
  flow::TierStore* tier = nullptr;         // blocks below the pool; outlives the engine; nullptr = none
  // [block_bytes] of a block of the backend's pool; empty: sessions are neither saved nor restored.
  std::function<std::span<uint8_t>(flow::BlockId)> block_bytes;
  // What the prefix cache gained and lost in a step, on the engine thread; must not block. Empty: nobody wants to know.
  std::function<void(std::span<flow::KvEvent>)> on_kv_events;
  // Errors in the books of KV blocks, bugs of ours, cost requests (engine/contain.cc). false: they abort.
  bool contain_accounting_errors = false;
  bool tier_saves_all = false;  // false: what was used twice, has a session, or is about to be evicted
};

// Numbers for /metrics and /health. Totals only grow. A consistent copy as of the end of a step.
struct EngineStats {
  // now
  uint32_t n_running = 0;        // sequences (forks) that hold a slot
  uint32_t n_waiting = 0;        // sequences submitted and without a slot (inbox, queue, preempted)
  uint32_t n_deferred = 0;       // of those, waiting for what lies below the pool
  uint32_t n_parked = 0;         // sequences whose reader is slow
  uint64_t queued_tokens = 0;    // prompt tokens of requests not started
  uint64_t pending_prefill = 0;  // prompt rows of running sequences still to compute
  Tick prefill_row = 0;          // predicted ns of a prompt row beside what decodes now; 0 = not known yet
  Tick decode_step = 0;          // predicted ns of a step of what decodes now; 0 = nothing does, or not known yet
  uint32_t kv_blocks_total = 0;
  uint32_t kv_blocks_free = 0;
  uint32_t kv_blocks_cached = 0;       // hold a published prefix, can be evicted at once
  uint32_t kv_blocks_active = 0;       // in use by running sequences
  uint32_t kv_blocks_cooling = 0;      // released, a step in flight may still touch them
  uint32_t kv_blocks_leased = 0;       // active ones that sessions hold
  uint32_t kv_blocks_quarantined = 0;  // their books were wrong: never used again
  // totals
  uint64_t n_requests = 0;              // accepted by submit()
  uint64_t n_refused = 0;               // refused by submit()
  uint64_t n_refused_requests = 0;      // of those, because too many requests waited
  uint64_t n_refused_tokens = 0;        // of those, because too many prompt tokens waited
  uint64_t n_requests_ended = 0;        // of those accepted, all forks ended
  uint64_t prompt_tokens = 0;           // of requests that started, once per request
  uint64_t prompt_tokens_computed = 0;  // prompt rows that went through a step (recomputation included)
  uint64_t generated_tokens = 0;
  uint64_t prefix_query_tokens = 0;  // prompt tokens looked up at admission
  uint64_t prefix_hit_tokens = 0;    // of those found
  uint64_t shared_hit_tokens = 0;    // found, and in use by another sequence at that moment
  uint64_t n_preemptions = 0;
  uint64_t recomputed_tokens = 0;  // rows computed again after a preemption or a failed step
  uint64_t n_evictions = 0;        // cached blocks taken for new content
  uint64_t tier_entries = 0;       // blocks of tokens that lie below the pool (now)
  uint64_t tier_saved_blocks = 0;  // blocks of tokens copied down
  uint64_t tier_loads = 0;         // loads begun
  uint64_t tier_failed_loads = 0;  // of those, ended with less than was asked for, or too late
  uint64_t tier_loaded_tokens = 0;
  flow::TierTraffic tier_traffic;
  uint64_t swapped_out_blocks = 0;  // of tokens, copied down as their sequence was preempted
  uint64_t swap_loads = 0;          // loads that a preempted sequence waited for
  uint64_t n_steps = 0;
  uint64_t n_rows = 0;  // tokens through the model
  uint64_t n_failed_steps = 0;
  uint64_t n_accounting_errors = 0;    // found in the books of KV blocks
  uint64_t draft_tokens = 0;           // proposals that went through a step
  uint64_t draft_tokens_accepted = 0;  // of those, what was sampled
  uint64_t constraints_completed = 0;  // constrained answers that ended for the sake of their limit of tokens
  uint64_t n_finished_eos = 0;         // finished forks by reason
  uint64_t n_finished_stop_token = 0;
  uint64_t n_finished_length = 0;
  uint64_t n_finished_cancelled = 0;
  uint64_t n_finished_error = 0;
  // liveness
  uint64_t heartbeat = 0;  // advances with every call of step()
  Tick last_step_at = 0;   // engine clock when the last output was retired (or the engine was made)
  bool has_work = false;   // requests are unfinished: with an old last_step_at this is a stall
  bool draining = false;
};

// What one retired step did; for histograms.
struct StepRecord {
  uint64_t step = 0;
  uint64_t state_hash = 0;  // of its plan
  uint32_t n_rows = 0;
  uint32_t n_prefill_rows = 0;
  uint32_t n_decode_rows = 0;      // one per decoding sequence
  uint32_t n_draft_rows = 0;       // proposals
  uint32_t n_recomputed_rows = 0;  // computed before, and lost by a preemption or a failed step
  uint32_t n_prefill_seqs = 0;
  uint32_t n_decode_seqs = 0;
  uint32_t n_tokens_out = 0;  // sampled tokens emitted
  bool ok = true;
  sched::StepShape shape;  // what decides its time
  Tick took = 0;           // of the backend, ns
  Tick predicted = 0;      // what the cost model said when the step was planned; 0 = it knew nothing yet
  Tick planned_at = 0;     // engine clock
  Tick retired_at = 0;

  // It took so much longer than predicted that something else than its work held it up.
  bool hung() const {
    constexpr Tick kTimes = 10;
    return predicted > 0 && took > kTimes * predicted && took > kSecond;
  }
};

constexpr size_t kRecentSteps = 64;

// Called once per retired step, on the engine thread; must not block.
class StepObserver {
 public:
  virtual ~StepObserver() = default;
  virtual void on_step(const StepRecord& record) = 0;
};

class Engine {
 public:
  // Nothing wrong with the options, or kUsage / kResource with what, got and wanted. Call before constructing.
  static Result<void> validate(const EngineOptions& options);

  // `backend`, `sink` and `clock` outlive the engine. `observer` may be null.
  Engine(EngineOptions options, flow::Backend& backend, flow::EventSink& sink, const Clock& clock,
         StepObserver* observer = nullptr);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Thread: any. Accepts the request (its events go to the sink) or refuses it: kQueueFull, kDraining,
  // kContextLengthExceeded (prompt + 1 beyond max_len, or one fork can never fit the pool: message with the numbers),
  // kEmptyPrompt, kInvalidValue (n = 0). The id must be new in this process. `arrival` 0 is replaced by the clock's
  // now.
  Result<void> submit(flow::GenerateRequest request);
  // The same for all prompts of one client request: all take one place of the queue, or none does. No prompt: it asks.
  Result<void> submit(std::vector<flow::GenerateRequest> prompts);
  // Thread: any. Saves, restores or forgets a named conversation (engine/sessions.h); its `done` is called on the
  // engine thread, unless the engine stops before: see stopped().
  void session(std::shared_ptr<SessionTask> task);
  // Thread: any. All forks end with kCancelled; unknown or finished ids are ignored.
  void cancel(flow::RequestId id);
  // Thread: any. One fork ends with kCancelled (a stop string was found in it).
  void cancel_fork(flow::RequestId id, uint32_t fork);
  // Thread: any. A parked request is left out of plans until resume(); it keeps its blocks at most park_limit.
  void park(flow::RequestId id);
  void resume(flow::RequestId id);
  // Thread: any. Forgets every cached prefix that no running sequence uses; running ones keep theirs unshared.
  void reset_prefix_cache();
  // Thread: any. New requests are refused, queued ones that never ran end with kError kDraining, the rest goes on.
  void begin_drain();
  // Thread: any. Draining, and every accepted request has ended.
  bool drained() const;
  // Thread: any. The next step() ends everything left with kError kDraining; then stopped() is true.
  void stop();
  bool stopped() const;

  // Thread: engine. One turn of the loop; false when there was nothing to do.
  bool step();
  // Thread: engine, after step() returned false. Sleeps until a message, wake() or the next deadline.
  void wait_for_work();
  // Thread: engine. while (!stopped()) { if (!step()) wait_for_work(); }
  void run();
  // Thread: any. For a backend that computes aside (depth >= 2): its output is ready.
  void wake();

  // Thread: any. Short lock.
  EngineStats stats() const;
  // Thread: any. The last steps retired, oldest first, at most kRecentSteps: what a post-mortem shows.
  std::vector<StepRecord> recent_steps() const;
  // Thread: any. Short lock. What was learned of the machine.
  sched::CostModel cost_model() const;
  // Thread: any. Longest sequence, prompt and output: kv.max_len, or less when the pool is too small for that.
  uint32_t max_len() const;

  // Thread: engine. When step() has something to do without a message or an output (a deadline); 0 = never.
  Tick next_timer() const;

  // Thread: engine; tests. Empty, or what is wrong with the accounting of blocks and sequences.
  std::string check_integrity() const;
  // Thread: engine; tests. The KV cache, whose books are to be broken.
  cache::KvCache& cache();
  // Thread: engine; tests. What the scheduler sees.
  const sched::SeqTable& sequences() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace millrace::engine
