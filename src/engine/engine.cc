#include "engine/engine.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "base/macros.h"
#include "base/out_of_memory.h"
#include "engine/engine_state.h"
#include "engine/event_log.h"

namespace millrace::engine {
namespace {

EngineOptions with_pool_limit(EngineOptions options) {
  options.kv.max_len = cache::longest_sequence(options.kv, sched::max_chunk(options.sched));
  return options;
}

Error usage(std::string message) { return {ErrorCode::kUsage, std::move(message), ""}; }

}  // namespace

Result<void> Engine::validate(const EngineOptions& options) {
  const flow::KvGeometry& kv = options.kv;
  const sched::SchedOptions& sched = options.sched;
  if (kv.groups.empty() || kv.groups.size() > flow::kMaxKvGroups) {
    return usage(fmt::format("{} KV groups: want 1..{}", kv.groups.size(), flow::kMaxKvGroups));
  }
  for (const flow::KvGroup& group : kv.groups) {
    if (group.kind != flow::KvGroupKind::kFull && group.window_tokens == 0) return usage("a KV window of 0 tokens");
  }
  if (kv.block_tokens == 0) return usage("KV blocks of 0 tokens");
  if (kv.n_blocks > UINT32_MAX / 8) return usage(fmt::format("{} KV blocks: too many", kv.n_blocks));
  if (sched.max_live == 0 || sched.depth == 0 || sched.c_min == 0) {
    return usage(
        fmt::format("max_live {}, depth {}, c_min {}: want at least 1", sched.max_live, sched.depth, sched.c_min));
  }
  if (sched.tok_cap < sched.max_live || sched.tok_cap - sched.max_live < sched.c_min) {
    return usage(
        fmt::format("a step of {} rows: want at least {} sequences + {}", sched.tok_cap, sched.max_live, sched.c_min));
  }
  if (cache::longest_sequence(kv, sched::max_chunk(sched)) < 2) {
    return Error{
        ErrorCode::kResource,
        fmt::format("{} KV blocks of {} tokens cannot hold a sequence of 2 tokens", kv.n_blocks, kv.block_tokens), ""};
  }
  return {};
}

Engine::State::State(EngineOptions options_in, flow::Backend& backend_in, flow::EventSink& sink_in,
                     const Clock& clock_in, StepObserver* observer_in)
    : options(with_pool_limit(std::move(options_in))),
      backend(backend_in),
      sink(sink_in),
      clock(clock_in),
      observer(observer_in),
      inbox(options.max_queued_requests, options.max_queued_tokens),
      cache(options.kv, {.match_prefixes = options.prefix_cache,
                         .hash_secret = options.hash_secret,
                         .hash_bits = options.trie_hash_bits,
                         .contain_faults = options.contain_accounting_errors}),
      seqs(options.sched),
      scheduler(options.sched, options.kv),
      in_flight(options.sched.depth),
      last_step_at(clock.now()) {
  if (options.cost_prior.known()) scheduler.set_cost(options.cost_prior);
  events.reserve(options.sched.max_live);
  published.recent.reserve(kRecentSteps);
  if (options.on_kv_events) kv_events = std::make_unique<KvEvents>(cache, options.on_kv_events);
  if (options.block_bytes) sessions = std::make_unique<Sessions>(cache, options.block_bytes);
  if (options.tier == nullptr) return;
  if (options.event_log != nullptr) recorded_tier = std::make_unique<RecordedTier>(*options.tier, *options.event_log);
  flow::TierStore& tier = recorded_tier != nullptr ? *recorded_tier : *options.tier;
  tiers = std::make_unique<Tiers>(cache, tier, options.tier_saves_all, kv_events.get());
  scheduler.set_below(tiers.get());
  options.tier->start([this] { inbox.wake(); });
}

Engine::Engine(EngineOptions options, flow::Backend& backend, flow::EventSink& sink, const Clock& clock,
               StepObserver* observer) {
  Result<void> valid = validate(options);
  CHECK(valid.ok(), "{}", valid.error().message);
  state_ = std::make_unique<State>(std::move(options), backend, sink, clock, observer);
  if (state_->options.event_log != nullptr) state_->options.event_log->begin(state_->options);
  state_->publish_stats();
}

Engine::~Engine() = default;

namespace {

// A window that the request asks for.
Result<void> check_window(const flow::GenerateRequest& request, const flow::KvGeometry& kv) {
  if (request.window_tokens == 0 && request.sink_tokens == 0) return {};
  auto wrong = [](const char* field, uint32_t got, const char* bound, uint32_t limit) {
    std::string path = fmt::format("millrace.{}", field);
    return Error{ErrorCode::kInvalidValue, fmt::format("{}: {}, must be at {} {}", path, got, bound, limit), path};
  };
  if (request.window_tokens < kv.block_tokens) {
    return wrong("window_tokens", request.window_tokens, "least", kv.block_tokens);
  }
  if (request.sink_tokens > flow::kMaxSinkTokens) {
    return wrong("sink_tokens", request.sink_tokens, "most", flow::kMaxSinkTokens);
  }
  if (std::ranges::none_of(kv.groups, [](const auto& g) { return g.kind == flow::KvGroupKind::kFull; })) {
    return Error{ErrorCode::kUnsupportedParameter,
                 "millrace.window_tokens: every layer of this model has a window of its own", "millrace.window_tokens"};
  }
  return {};
}

}  // namespace

Result<void> Engine::submit(flow::GenerateRequest request) {
  return or_out_of_memory("taking a request", ErrorCode::kMemoryPressure, [&] {
    std::vector<flow::GenerateRequest> one;
    one.push_back(std::move(request));
    return submit(std::move(one));
  });
}

Result<void> Engine::submit(std::vector<flow::GenerateRequest> prompts) {
  for (flow::GenerateRequest& request : prompts) {
    Result<void> valid = state_->check(request);
    if (!valid.ok()) {
      state_->inbox.count_refusal();
      return valid;
    }
    if (request.arrival == 0) request.arrival = state_->clock.now();
  }
  return or_out_of_memory("taking a request", ErrorCode::kMemoryPressure,
                          [&] { return state_->inbox.push_requests(std::move(prompts)); });
}

Result<void> Engine::State::check(const flow::GenerateRequest& request) const {
  uint64_t n_prompt = request.prompt.size();
  uint32_t longest = options.kv.max_len;
  if (n_prompt == 0) return Error{ErrorCode::kEmptyPrompt, "the prompt has no tokens", "prompt"};
  if (request.n == 0) return Error{ErrorCode::kInvalidValue, "n is 0: want at least 1", "n"};
  if (n_prompt + (request.sampling.max_tokens > 0 ? 1 : 0) > longest) {
    return Error{ErrorCode::kContextLengthExceeded,
                 fmt::format("the prompt has {} tokens; prompt and output together can be at most {} tokens long",
                             n_prompt, longest),
                 "prompt"};
  }
  if (request.beam_width > 1) {
    uint32_t least = flow::beam_candidates(request.beam_width, 0);
    bool right = request.beam_width <= flow::kMaxBeams && request.n <= request.beam_width &&
                 request.sampling.n_logprobs >= static_cast<int32_t>(least) && request.sampling.max_tokens > 0;
    if (!right) {
      return Error{ErrorCode::kInvalidValue,
                   fmt::format("beam_width is {}, n {}: want n <= beam_width <= {} and at least one token",
                               request.beam_width, request.n, flow::kMaxBeams),
                   "beam_width"};
    }
  }
  return check_window(request, options.kv);
}

void Engine::session(std::shared_ptr<SessionTask> task) {
  state_->inbox.push({.kind = MessageKind::kSession, .session = std::move(task)});
}
void Engine::cancel(flow::RequestId id) { state_->inbox.push({.kind = MessageKind::kCancel, .id = id}); }
void Engine::cancel_fork(flow::RequestId id, uint32_t fork) {
  state_->inbox.push({.kind = MessageKind::kCancelFork, .id = id, .fork = fork});
}
void Engine::park(flow::RequestId id) { state_->inbox.push({.kind = MessageKind::kPark, .id = id}); }
void Engine::resume(flow::RequestId id) { state_->inbox.push({.kind = MessageKind::kResume, .id = id}); }
void Engine::reset_prefix_cache() { state_->inbox.push({.kind = MessageKind::kResetPrefixCache}); }
void Engine::begin_drain() { state_->inbox.push({.kind = MessageKind::kBeginDrain}); }
void Engine::stop() {
  while (true) {  // destructors call it: it waits for memory
    try {
      state_->inbox.push({.kind = MessageKind::kStop});
      return;
    } catch (const std::bad_alloc&) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
}
void Engine::wake() { state_->inbox.wake(); }
bool Engine::drained() const { return state_->published.drained.load(std::memory_order_acquire); }
bool Engine::stopped() const { return state_->published.stopped.load(std::memory_order_acquire); }
Tick Engine::next_timer() const { return state_->next_timer; }
sched::CostModel Engine::cost_model() const {
  std::lock_guard lock(state_->published.mutex);
  return state_->published.cost;
}
cache::KvCache& Engine::cache() { return state_->cache; }
const sched::SeqTable& Engine::sequences() const { return state_->seqs; }
uint32_t Engine::max_len() const { return state_->options.kv.max_len; }

bool Engine::step() {
  State& s = *state_;
  ++s.heartbeat;
  EventLog* log = s.options.event_log;
  Tick now = s.clock.now();
  if (log != nullptr) log->begin_step(now);
  bool busy = s.apply(now);
  bool plannable = !s.in_flight.full() && !(s.seqs.live().empty() && s.seqs.n_waiting() == 0);
  if (s.plan(now)) {
    busy = true;
    s.submit();
  }
  busy |= s.retire();
  busy |= s.contain(now);
  busy |= !s.events.empty();
  s.sweep();
  if (log != nullptr) log->end_step(busy || plannable || s.tiers != nullptr);
  if (s.kv_events != nullptr) s.kv_events->hand_over();
  s.publish_stats();  // before what it counts is seen: who has an answer finds it in the counts
  s.emit();
  return busy;
}

void Engine::wait_for_work() {
  State& s = *state_;
  constexpr Tick kPollBackend = kMillisecond;  // for a backend that computes aside and does not call wake()
  Tick timeout = s.in_flight.empty() ? -1 : kPollBackend;
  if (s.next_timer != 0) {
    Tick left = std::max<Tick>(s.next_timer - s.clock.now(), 0);
    timeout = timeout < 0 ? left : std::min(timeout, left);
  }
  s.inbox.wait(timeout);
}

void Engine::run() {
  while (!stopped()) {
    if (!step() && !stopped()) wait_for_work();
  }
}

bool Engine::State::plan(Tick now) {
  if (in_flight.full()) return false;
  bool pause = (sessions != nullptr && sessions->waits()) || (tiers != nullptr && tiers->waits_for_idle());
  if (pause && !in_flight.empty()) return false;  // bytes move into the pool between steps
  sched::PlanRecord& record = in_flight.next();
  bool planned = scheduler.plan(seqs, cache, now, record);
  for (sched::SeqId id : seqs.aside()) note_timer(seqs.at(id).load_until);
  if (!planned) return false;
  for (size_t i = 0; i < record.first_admitted.size(); ++i) {
    sched::Seq& seq = seqs.at(record.first_admitted[i]);
    Request& request = request_of(seq);
    Fork& fork = request.forks[seq.fork];
    fork.first_scheduled = now;
    fork.n_cached = record.n_matched[i];
    seq.outputs.reserve(std::min(seq.request->sampling.max_tokens, options.kv.max_len - seq.n_prompt()));
    if (request.queued) {
      leave_queue(request);
      totals.prompt_tokens += seq.n_prompt();
      bool looked_up = options.prefix_cache && request.ask.use_prefix_cache && !seq.wants_prompt_logprobs();
      if (looked_up) totals.prefix_query_tokens += seq.n_prompt();
      totals.prefix_hit_tokens += record.n_matched[i];
    }
  }
  if (has_faults()) {
    drop_plan(record);
    return false;
  }
  for (sched::SeqId id : record.seqs) {
    sched::Seq& seq = seqs.at(id);
    bool last_one = seq.request->n == 1 || seq.request->sampling.max_tokens == 0;  // or all end with this one
    if (seq.fork == 0 && !last_one && seq.progress.computed >= seq.n_prompt()) spawn_forks(request_of(seq), now);
  }
  totals.n_preemptions += record.n_preempted;
  totals.recomputed_tokens += record.n_recomputed_rows;
  totals.prompt_tokens_computed += record.n_prompt_rows;
  return true;
}

void Engine::State::submit() {
  sched::PlanRecord& record = in_flight.next();
  in_flight.push();
  if (options.event_log != nullptr) options.event_log->set_plan(record.plan.state_hash);
  backend.submit(record.plan);
}

void Engine::State::emit() {
  if (events.empty()) return;
  sink.deliver(events);
  events.clear();
}

EngineStats Engine::stats() const {
  InboxCounts counts = state_->inbox.counts();
  EngineStats stats;
  {
    std::lock_guard lock(state_->published.mutex);
    stats = state_->published.stats;
  }
  stats.n_waiting += static_cast<uint32_t>(counts.n_forks_pending);
  stats.queued_tokens = counts.n_tokens;
  stats.n_requests = counts.n_accepted;
  stats.n_refused = counts.n_refused;
  stats.n_refused_requests = counts.n_too_many;
  stats.n_refused_tokens = counts.n_too_long;
  stats.draining = counts.draining;
  // counts were read first: a request that the engine is just taking in is still missing from the ended ones
  stats.has_work = counts.n_accepted > stats.n_requests_ended;
  return stats;
}

std::vector<StepRecord> Engine::recent_steps() const {
  const Published& published = state_->published;
  std::lock_guard lock(published.mutex);
  std::vector<StepRecord> out(published.recent);
  if (out.size() == kRecentSteps) {
    std::rotate(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(published.next_recent), out.end());
  }
  return out;
}

std::string Engine::check_integrity() const {
  const State& s = *state_;
  std::vector<const cache::SeqBlocks*> holders;
  for (sched::SeqId id : s.seqs.live()) holders.push_back(&s.seqs.at(id).kv);
  if (s.tiers != nullptr) s.tiers->holders(holders);
  if (s.sessions != nullptr) s.sessions->holders(holders);
  if (std::string fault = s.cache.check_integrity(holders); !fault.empty()) return fault;
  auto empty_handed = [&](sched::SeqId id) {
    const sched::Seq& seq = s.seqs.at(id);
    return seq.state == sched::SeqState::kWaiting && seq.kv.table[0].empty() && seq.kv.slot == cache::kNoSlot;
  };
  std::vector<sched::SeqId> waiting = s.seqs.resumed();
  waiting.insert(waiting.end(), s.seqs.aside().begin(), s.seqs.aside().end());
  for (const sched::Waiter& waiter : s.seqs.fresh()) waiting.push_back(waiter.id);
  for (sched::SeqId id : waiting) {
    if (!empty_handed(id)) return fmt::format("waiting sequence {} holds memory", id);
    const sched::Seq& seq = s.seqs.at(id);
    if (seq.load_until != 0 && !s.tiers->waits({.request = seq.request->id, .seq = id})) {
      return fmt::format("sequence {} waits for a load that is not there", id);
    }
  }
  for (sched::SeqId id : s.seqs.live()) {
    const sched::Seq& seq = s.seqs.at(id);
    uint32_t n_blocks = cache::ceil_div(seq.progress.computed, s.options.kv.block_tokens);
    for (size_t g = 0; g < s.options.kv.groups.size(); ++g) {
      if (seq.kv.table[g].size() != n_blocks) {
        return fmt::format("sequence {}: {} entries for {} computed tokens", id, seq.kv.table[g].size(),
                           seq.progress.computed);
      }
      uint32_t live = n_blocks - std::min(n_blocks, seq.kv.first_live[g]);
      flow::KvGroup group = s.options.kv.groups[g];
      if (group.kind == flow::KvGroupKind::kFull && seq.kv.window_tokens > 0) {
        group = {.kind = flow::KvGroupKind::kWindow, .window_tokens = seq.kv.window_tokens, .layers = {}};
      }
      uint32_t most = cache::max_blocks_of_group(group, s.options.kv.block_tokens, seq.progress.computed,
                                                 sched::max_chunk(s.options.sched));
      if (live > most) {
        return fmt::format("sequence {}: {} blocks of KvGroup {}, at most {} are visible", id, live, g, most);
      }
    }
    if (seq.progress.computed > seq.n_known() + seq.progress.placeholders + seq.progress.n_drafted) {
      return fmt::format("sequence {}: {} tokens computed, {} known", id, seq.progress.computed, seq.n_known());
    }
  }
  for (const Request* request : s.in_order) {
    const Fork& first = request->forks[0];
    bool loading = request->load_until != 0;
    if (loading && !s.tiers->waits({.request = request->ask.id})) {
      return fmt::format("request {} waits for a load that is not there", request->ask.id);
    }
    if (!first.ended && (first.seq == sched::kNoSeq) != loading) {
      return fmt::format("request {} neither runs nor waits", request->ask.id);
    }
  }
  if (s.seqs.live().size() + s.seqs.n_free_slots() != s.options.sched.max_live) return "slots were lost";
  return {};
}

}  // namespace millrace::engine
