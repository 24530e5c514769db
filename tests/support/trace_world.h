// Random traces for the real engine over FakeWorker: a Trace is configuration and events as plain data, run_trace()
// plays it and says what broke first, shrink_trace() removes what is not needed for that. After every event the books
// balance (Engine::check_integrity), the backend's contract holds, and the rules of sched_audit.h; at the end every
// text is that of the request alone.
#pragma once

#include <fmt/core.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "sched/policies.h"
#include "tests/support/collect_sink.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_worker.h"
#include "tests/support/sched_audit.h"

namespace millrace::support {

class Dice {
 public:
  explicit Dice(uint64_t seed) : engine_(seed) {}
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(engine_() % n); }
  uint32_t between(uint32_t low, uint32_t high) { return low + below(high - low + 1); }
  bool chance(uint32_t percent) { return below(100) < percent; }
  template <class Row>
  auto kind_of(std::span<const Row> rows) {
    return rows[below(static_cast<uint32_t>(rows.size()))].kind;
  }

 private:
  std::mt19937_64 engine_;
};

enum class TraceAct : uint8_t { kWait, kSubmit, kCancel, kCancelFork, kPark, kResume, kReset };

// What happens before one turn of the engine.
struct TraceEvent {
  TraceAct act = TraceAct::kWait;
  uint32_t request = 0;  // index into Trace::requests
  uint32_t fork = 0;
  Tick advance = kMillisecond;
};

struct Trace {
  uint64_t seed = 0;
  engine::EngineOptions options;
  FakeWorkerOptions worker;
  bool calm = false;  // no parks, failures or resets
  std::vector<flow::GenerateRequest> requests;
  std::vector<TraceEvent> events;
};

struct TraceResult {
  std::string fault;  // empty: none
  engine::EngineStats stats;
  uint64_t plans_hash = 0;
  uint64_t n_events = 0;  // acts and turns of the engine
};

inline flow::KvGeometry random_geometry(Dice& dice) {
  constexpr uint32_t kBlockTokens[] = {1, 4, 16, 32};
  flow::KvGeometry kv;
  kv.block_tokens = kBlockTokens[dice.below(4)];
  kv.block_bytes = 1;
  kv.max_len = dice.between(20, 160);
  uint32_t n_groups = dice.between(1, 3);
  for (uint32_t g = 0; g < n_groups; ++g) {
    flow::KvGroup group;
    if (dice.chance(40)) {
      group.kind = flow::KvGroupKind::kWindow;
      group.window_tokens = dice.between(2, 40);
      if (group.window_tokens % 3 == 0) group.kind = flow::KvGroupKind::kChunk;
    }
    kv.groups.push_back(group);
  }
  kv.n_blocks = dice.chance(50) ? dice.between(8, 40) : dice.between(8, 512);
  return kv;
}

inline void random_policies(Dice& dice, sched::SchedOptions& sched) {
  sched.order = dice.kind_of(sched::order_rows());
  sched.admit = dice.kind_of(sched::admit_rows());
  sched.budget = dice.kind_of(sched::budget_rows());
  sched.row_tile = dice.between(1, 6);
  sched.quantum = dice.between(1, 200);
  sched.n_candidates = dice.chance(30) ? dice.between(1, 4) : 128;
  sched.k_bypass = dice.between(1, 16);
  sched.k_preempt = dice.between(1, 3);
  sched.preempt_lower_bands = dice.chance(70);
  sched.itl_target = dice.chance(50) ? 0 : dice.between(1, 100) * kMicrosecond;
  sched.ttft_target = dice.chance(50) ? 0 : dice.between(1, 100) * kMillisecond;
}

// A request of some tenant whose prompt begins as one of the stems; the caller gives it an id and a deadline.
inline flow::GenerateRequest random_request(Dice& dice, uint32_t longest, uint32_t n_tenants,
                                            const std::vector<TokenId> (&stems)[3]) {
  flow::GenerateRequest request;
  request.scope = dice.below(2);
  request.band = static_cast<int16_t>(dice.below(3));
  request.tenant = dice.below(n_tenants);
  request.weight = 1 + request.tenant % 3;
  if (dice.chance(30)) request.ttft_slo = dice.between(1, 50) * kMillisecond;
  if (dice.chance(30)) request.itl_slo = dice.between(1, 50) * kMicrosecond;
  const std::vector<TokenId>& stem = stems[dice.below(3)];
  request.prompt.assign(stem.begin(), stem.begin() + dice.between(1, longest - 1));
  for (uint32_t i = dice.below(6); i > 0; --i) request.prompt.push_back(static_cast<TokenId>(dice.between(1, 49)));
  flow::SamplingParams& sampling = request.sampling;
  sampling.seed = dice.below(3);
  sampling.max_tokens = dice.chance(10) ? 0 : dice.between(1, 30);
  sampling.eos_token_ids = {0};
  sampling.ignore_eos = dice.chance(20);
  sampling.min_tokens = dice.chance(20) ? dice.below(sampling.max_tokens + 1) : 0;
  if (dice.chance(30)) sampling.stop_token_ids = {static_cast<TokenId>(dice.between(1, 49))};
  sampling.n_logprobs = dice.chance(20) ? 0 : -1;
  sampling.n_prompt_logprobs = dice.chance(15) ? 0 : -1;
  request.n = dice.chance(30) ? dice.between(2, 3) : 1;
  request.use_prefix_cache = !dice.chance(10);
  return request;
}

inline TraceEvent random_event(Dice& dice, const Trace& trace) {
  TraceEvent event{.advance = dice.chance(2) && !trace.calm ? 10 * kSecond : kMillisecond};
  if (trace.requests.empty() || !dice.chance(12)) return event;
  event.request = dice.below(static_cast<uint32_t>(trace.requests.size()));
  event.fork = dice.below(3);
  constexpr TraceAct kCalm[] = {TraceAct::kCancel, TraceAct::kCancelFork};
  constexpr TraceAct kAll[] = {TraceAct::kCancel, TraceAct::kCancelFork, TraceAct::kPark,
                               TraceAct::kResume, TraceAct::kResume,     TraceAct::kReset};
  event.act = trace.calm ? kCalm[dice.below(2)] : kAll[dice.below(6)];
  if (event.act == TraceAct::kReset && !dice.chance(20)) event.act = TraceAct::kWait;
  return event;
}

inline Trace random_trace(uint64_t seed, uint32_t n_turns) {
  Dice dice(seed * 7919 + 1);
  Trace trace{.seed = seed};
  sched::SchedOptions& sched = trace.options.sched;
  do {
    trace.options.kv = random_geometry(dice);
    sched.max_live = dice.between(1, 8);
    sched.c_min = dice.between(1, 6);
    sched.tok_cap = sched.max_live + sched.c_min + dice.below(64);
    sched.budget_tokens = dice.between(1, sched.tok_cap);
  } while (!engine::Engine::validate(trace.options).ok());
  sched.depth = dice.between(1, 2);
  random_policies(dice, sched);
  trace.options.trie_hash_bits = dice.chance(30) ? 8 : 64;
  trace.options.prefix_cache = !dice.chance(10);
  trace.options.max_queued_requests = dice.between(4, 20);
  trace.calm = dice.chance(30);
  trace.worker = {.kv = trace.options.kv,
                  .tok_cap = sched.tok_cap,
                  .n_vocab = 50,
                  .eos = 0,
                  .eos_per_mille = dice.chance(50) ? 60u : 0u,
                  .delay = sched.depth == 1 ? 0 : dice.below(3),
                  .max_draft = dice.chance(50) ? 0 : dice.between(1, 5)};
  std::vector<TokenId> stems[3];
  for (auto& stem : stems) {
    for (uint32_t i = 0; i < trace.options.kv.max_len; ++i) stem.push_back(static_cast<TokenId>(dice.between(1, 49)));
  }
  uint32_t longest = cache::longest_sequence(trace.options.kv, sched::max_chunk(sched));
  for (uint32_t i = 0; i < n_turns; ++i) {
    if (dice.chance(25)) {
      flow::GenerateRequest& request = trace.requests.emplace_back(random_request(dice, longest, 4, stems));
      request.id = trace.requests.size();
      if (!trace.calm && dice.chance(10)) request.deadline = dice.below(200) * kMillisecond + 1;  // from its arrival
      auto index = static_cast<uint32_t>(trace.requests.size() - 1);
      trace.events.push_back({.act = TraceAct::kSubmit, .request = index, .advance = 0});
    }
    trace.events.push_back(random_event(dice, trace));
  }
  return trace;
}

class TraceWorld {
 public:
  explicit TraceWorld(const Trace& trace)
      : trace_(trace),
        worker_(trace.worker),
        engine_(trace.options, worker_, sink_, clock_),
        audit_(trace.options, engine_),
        taken_(trace.requests.size(), false) {
    worker_.fail_step = [this](const flow::StepPlan& plan) {
      audit_.on_plan(plan);
      return unlucky(plan.step, 3, 100);
    };
    worker_.fail_share = [this](const flow::Share& share) {
      return unlucky(fake_hash(worker_.n_steps(), share.slot), 1, 400);
    };
  }

  TraceResult run() {
    for (const TraceEvent& event : trace_.events) {
      if (!fault_.empty()) break;
      play(event);
    }
    failures_on_ = false;
    for (const flow::GenerateRequest& request : trace_.requests) engine_.resume(request.id);
    uint32_t limit = 200 + 40 * static_cast<uint32_t>(trace_.requests.size()) * trace_.options.kv.max_len;
    while (fault_.empty() && (turn() || engine_.stats().has_work)) {
      if (--limit == 0) note("no progress");
    }
    if (fault_.empty()) check_end();
    return {.fault = fault_, .stats = stats_, .plans_hash = worker_.plans_hash(), .n_events = n_events_};
  }

 private:
  // The same dice for the same step, whatever came before: shrinking keeps failures.
  bool unlucky(uint64_t what, uint64_t part, uint64_t of) const {
    return failures_on_ && !trace_.calm && fake_hash(trace_.seed, what) % of < part;
  }
  void note(std::string fault) {
    if (fault_.empty() && !fault.empty()) fault_ = std::move(fault);
  }

  void play(const TraceEvent& event) {
    ++n_events_;
    flow::RequestId id = trace_.requests.empty() ? 0 : trace_.requests[event.request].id;
    switch (event.act) {
      case TraceAct::kWait:
        break;
      case TraceAct::kSubmit:
        submit(event.request);
        return;
      case TraceAct::kCancel:
        engine_.cancel(id);
        if (taken_[event.request]) audit_.on_cancel(id);
        break;
      case TraceAct::kCancelFork:
        engine_.cancel_fork(id, event.fork);
        break;
      case TraceAct::kPark:
        engine_.park(id);
        break;
      case TraceAct::kResume:
        engine_.resume(id);
        break;
      case TraceAct::kReset:
        engine_.reset_prefix_cache();
        break;
    }
    clock_.advance(event.advance);
    turn();
  }

  void submit(uint32_t index) {
    flow::GenerateRequest request = trace_.requests[index];
    if (request.deadline != 0) request.deadline += clock_.now();
    bool fits = request.prompt.size() < engine_.max_len();
    Result<void> taken = engine_.submit(std::move(request));
    taken_[index] = taken.ok();
    if (!taken.ok() && fits && taken.error().code != ErrorCode::kQueueFull) note(taken.error().message);
  }

  bool turn() {
    ++n_events_;
    bool busy = engine_.step();
    note(engine_.check_integrity());
    for (const std::string& text : worker_.violations()) note(text);
    for (const std::string& text : sink_.violations()) note(text);
    note(audit_.after_turn(worker_.idle()));
    return busy;
  }

  void check_end() {
    for (size_t i = 0; i < trace_.requests.size(); ++i) {
      if (!taken_[i]) continue;
      for (uint32_t k = 0; k < trace_.requests[i].n; ++k) note(check_text(trace_.requests[i], k));
    }
    stats_ = engine_.stats();
    if (stats_.has_work || stats_.n_running + stats_.n_waiting + stats_.n_parked > 0) note("sequences are left");
    if (stats_.queued_tokens != 0) note("tokens are left in the queue");
    if (stats_.kv_blocks_active + stats_.kv_blocks_cooling != 0) note("blocks are left");
    bool reserved = !sched::row_of(trace_.options.sched.admit).preempts;
    if (trace_.calm && reserved && stats_.n_preemptions > 0) note("S4: a reserved sequence was preempted");
    engine_.reset_prefix_cache();
    turn();
    if (engine_.stats().kv_blocks_free != stats_.kv_blocks_total) note("M5: blocks are left after a reset");
    engine_.begin_drain();
    turn();
    if (!engine_.drained()) note("not drained");
  }

  std::string check_text(const flow::GenerateRequest& request, uint32_t k) {
    const ForkText& text = sink_.text(request.id, k);
    std::string who = fmt::format("request {} fork {}: ", request.id, k);
    if (text.finish == flow::FinishReason::kNone) return who + "did not end";
    FakeText alone = reference_text(trace_.worker, request, k, engine_.max_len());
    bool cut = text.finish == flow::FinishReason::kCancelled || text.finish == flow::FinishReason::kError;
    if (cut && text.tokens.size() > alone.tokens.size()) return who + "too long";
    if (cut) alone.tokens.resize(text.tokens.size());
    if (!cut && text.finish != alone.finish) return who + "ended for another reason than alone";
    if (text.tokens != alone.tokens) return who + "other tokens than alone";
    const flow::TokenEvent& last = text.events.back();
    if (last.n_output != text.tokens.size() || last.n_prompt != request.prompt.size()) return who + "wrong counts";
    if (request.sampling.n_prompt_logprobs >= 0 && k == 0 && !cut) {
      const auto& logprobs = text.events.front().prompt_logprobs;
      if (logprobs.size() != request.prompt.size() - 1) return who + "prompt logprobs are missing";
      for (size_t i = 0; i < logprobs.size(); ++i) {
        if (logprobs[i].chosen.token != request.prompt[i + 1]) return who + "prompt logprobs of another token";
      }
    }
    for (const flow::TokenEvent& event : text.events) {
      bool wanted = request.sampling.n_logprobs >= 0 && event.token != kNoToken;
      if (wanted != (event.logprobs != nullptr)) return who + "logprobs where none belong, or none";
    }
    return {};
  }

  const Trace& trace_;
  FakeClock clock_;
  FakeWorker worker_;
  CollectSink sink_;
  engine::Engine engine_;
  SchedAudit audit_;
  std::vector<bool> taken_;
  engine::EngineStats stats_;
  std::string fault_;
  uint64_t n_events_ = 0;
  bool failures_on_ = true;
};

inline TraceResult run_trace(const Trace& trace) { return TraceWorld(trace).run(); }

// A trace with the same first words of fault and as few events as removing ever smaller runs of them gives.
inline Trace shrink_trace(Trace trace) {
  auto kind_of = [](const std::string& fault) { return fault.substr(0, fault.find_first_of("0123456789")); };
  std::string kind = kind_of(run_trace(trace).fault);
  for (size_t n = trace.events.size() / 2; n > 0; n /= 2) {
    for (size_t at = 0; at + n <= trace.events.size();) {
      Trace shorter = trace;
      auto begin = shorter.events.begin() + static_cast<std::ptrdiff_t>(at);
      shorter.events.erase(begin, begin + static_cast<std::ptrdiff_t>(n));
      if (kind_of(run_trace(shorter).fault) == kind) {
        trace = std::move(shorter);
      } else {
        at += n;
      }
    }
  }
  return trace;
}

inline std::string describe(const Trace& trace) {
  const sched::SchedOptions& sched = trace.options.sched;
  std::string text =
      fmt::format("seed {}: {} {} {}, B {} blocks {} max_len {} live {} cap {} budget {} depth {} groups", trace.seed,
                  sched::row_of(sched.order).name, sched::row_of(sched.admit).name, sched::row_of(sched.budget).name,
                  trace.options.kv.block_tokens, trace.options.kv.n_blocks, trace.options.kv.max_len, sched.max_live,
                  sched.tok_cap, sched.budget_tokens, sched.depth);
  for (const flow::KvGroup& group : trace.options.kv.groups) text += fmt::format(" {}", group.window_tokens);
  constexpr const char* kNames[] = {"wait", "submit", "cancel", "cancel fork", "park", "resume", "reset"};
  for (const TraceEvent& event : trace.events) {
    text += fmt::format("\n  {} {}", kNames[static_cast<size_t>(event.act)], event.request + 1);
    if (event.act != TraceAct::kSubmit) continue;
    const flow::GenerateRequest& r = trace.requests[event.request];
    text += fmt::format(" prompt {} max {} n {} band {} tenant {}", r.prompt.size(), r.sampling.max_tokens, r.n, r.band,
                        r.tenant);
  }
  return text;
}

}  // namespace millrace::support
