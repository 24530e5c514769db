#include "sim/cluster.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <queue>
#include <tuple>
#include <utility>

#include "base/macros.h"
#include "sim/crew.h"
#include "sim/virtual_clock.h"

namespace millrace::sim {
namespace {

constexpr uint64_t kArrivals = 0;  // sources of events, in the order of simultaneous ones
constexpr uint64_t kHandOvers = 1;
constexpr Tick kNever = INT64_MAX;

// What reaches replicas from outside.
struct Event {
  Tick at = 0;
  uint64_t source = 0;
  uint64_t number = 0;
  uint64_t subject = 0;  // its request

  auto key() const { return std::tie(at, source, number); }
  bool operator>(const Event& other) const { return key() > other.key(); }
};

Error usage(std::string message) { return {ErrorCode::kUsage, std::move(message), ""}; }

}  // namespace

struct Cluster::State {
  // An engine, what computes for it and what it tells.
  struct Replica final : flow::EventSink {
    Replica(State& state_in, uint32_t number_in, const ReplicaSpec& spec)
        : state(state_in),
          number(number_in),
          role(spec.role),
          depth(spec.engine.sched.depth),
          backend({.cost = spec.cost,
                   .max_live = spec.engine.sched.max_live,
                   .block_tokens = spec.engine.kv.block_tokens,
                   .kv_arrives = spec.role == ReplicaRole::kDecode,
                   .noise = spec.noise,
                   .seed = number_in + 1},
                  state.lengths_of(spec.role), clock, state.spec.watch),
          engine(spec.engine, backend, *this, clock) {}
    void deliver(std::span<flow::TokenEvent> events) override {
      for (flow::TokenEvent& event : events) state.on_event(*this, event);
    }

    State& state;
    uint32_t number;
    ReplicaRole role;
    uint32_t depth;
    VirtualClock clock;
    SimBackend backend;
    engine::Engine engine;
    Tick turn_at = kNever;        // of its next turn
    Tick link_free_at = 0;        // of its link to the decode replicas
    uint64_t n_open = 0;          // requests that it has
    std::vector<uint64_t> ended;  // requests that ended here since settle()
    Histogram ttft, tbt;
  };

  State(const ClusterSpec& spec_in, const Workload& workload_in)
      : spec(spec_in),
        workload(workload_in),
        entry_router(spec.router, 0),
        decode_router(spec.router, 0),
        crew(std::min<size_t>(spec.n_threads, spec.replicas.size())) {
    for (const SimRequest& request : workload.requests) {
      lengths.push_back(request.n_output);
      decode_lengths.push_back(request.n_output - 1);
    }
    first_lengths.assign(lengths.size(), 1);
    outcomes.resize(lengths.size());
    for (size_t i = 0; i < spec.replicas.size(); ++i) {
      replicas.push_back(std::make_unique<Replica>(*this, static_cast<uint32_t>(i), spec.replicas[i]));
      (spec.replicas[i].role == ReplicaRole::kDecode ? decoders : entries).push_back(static_cast<uint32_t>(i));
    }
    entry_router = Router(spec.router, static_cast<uint32_t>(entries.size()));
    decode_router = Router(spec.router, static_cast<uint32_t>(decoders.size()));
  }

  const std::vector<uint32_t>& lengths_of(ReplicaRole role) const {
    switch (role) {
      case ReplicaRole::kBoth:
        return lengths;
      case ReplicaRole::kPrefill:
        return first_lengths;
      case ReplicaRole::kDecode:
        break;
    }
    return decode_lengths;
  }

  void push(Tick at, uint64_t source, uint64_t subject) { heap.push({at, source, next_number++, subject}); }

  static void schedule_turn(Replica& replica, Tick at) { replica.turn_at = std::min(replica.turn_at, at); }

  flow::GenerateRequest ask_of(uint64_t index, ReplicaRole role) {
    const SimRequest& request = workload.requests[index];
    flow::GenerateRequest ask;
    ask.id = index + 1;
    ask.tenant = request.tenant;
    ask.weight = request.weight;
    ask.band = request.band;
    ask.arrival = std::max<Tick>(clock.now(), 1);
    ask.deadline = request.deadline > 0 ? outcomes[index].arrival + request.deadline : 0;
    write_prompt(request, ask.prompt);
    ask.sampling.seed = index;
    ask.sampling.max_tokens = request.max_tokens == 0 ? request.n_output : request.max_tokens;
    ask.sampling.eos_token_ids = {kEndToken};
    if (role == ReplicaRole::kPrefill) ask.sampling.max_tokens = 1;
    if (role == ReplicaRole::kDecode) {
      ask.prompt.push_back(first_answer(index));
      --ask.sampling.max_tokens;
    }
    return ask;
  }

  // A replica acts at once when it can plan; one with all its steps in flight looks again when one is done.
  void submit(uint64_t index, Replica& replica) {
    replica.clock.advance_to(clock.now());
    ++replica.n_open;
    Result<void> taken = replica.engine.submit(ask_of(index, replica.role));
    outcomes[index].replica = replica.number;
    if (!taken.ok()) {
      outcomes[index].refused = true;
      replica.ended.push_back(index);
      settle(replica);
      return;
    }
    if (replica.backend.n_in_flight() < replica.depth) schedule_turn(replica, clock.now());
  }

  void arrive(uint64_t index) {
    outcomes[index].arrival = clock.now();
    outcomes[index].n_prompt = workload.requests[index].n_prompt();
    outcomes[index].tenant = workload.requests[index].tenant;
    uint32_t place = entry_router.choose(workload.requests[index]);
    submit(index, *replicas[entries[place]]);
  }

  void hand_over(uint64_t index) {
    uint32_t place = decode_router.choose(workload.requests[index]);
    submit(index, *replicas[decoders[place]]);
  }

  // The request is over on this replica; whether it is over at all is the caller's affair.
  void leave(uint64_t index, const Replica& replica) {
    bool decode = replica.role == ReplicaRole::kDecode;
    const std::vector<uint32_t>& group = decode ? decoders : entries;
    auto place = static_cast<uint32_t>(std::ranges::find(group, replica.number) - group.begin());
    (decode ? decode_router : entry_router).ended(place, workload.requests[index]);
  }

  // What its turns mean for others.
  void settle(Replica& replica) {
    for (uint64_t index : replica.ended) {
      leave(index, replica);
      --replica.n_open;
      if (goes_on(index, replica)) {
        send(index, replica);
      } else {
        --n_open;
        if (workload.n_clients > 0) next_arrival();
      }
    }
    replica.ended.clear();
  }

  // A decode replica has it next.
  bool goes_on(uint64_t index, const Replica& replica) const {
    bool whole = replica.role == ReplicaRole::kPrefill && outcomes[index].finished;
    return whole && workload.requests[index].n_output > 1;
  }

  void send(uint64_t index, Replica& from) {
    outcomes[index].finished = false;
    const LinkSpec& link = spec.link;
    double bytes = static_cast<double>(link.bytes_per_token) * outcomes[index].n_prompt;
    double ns = link.bytes_per_second > 0 ? bytes / link.bytes_per_second * 1e9 : 0;
    from.link_free_at = std::max(from.link_free_at, from.clock.now()) + static_cast<Tick>(std::llround(ns));
    push(from.link_free_at + link.latency, kHandOvers, index);
  }

  void on_event(Replica& replica, const flow::TokenEvent& event) {
    uint64_t index = event.request - 1;
    Outcome& out = outcomes[index];
    if (event.token != kNoToken) count_token(replica, out, event.when);
    if (event.finish == flow::FinishReason::kNone) return;
    bool entry = replica.role != ReplicaRole::kDecode;
    if (entry) {
      out.first_scheduled = event.times.first_scheduled;
      out.predicted = event.times.predicted_first_token;
      out.n_cached = event.n_cached;
    }
    out.n_preempted += event.n_preempted;
    out.refused = event.error.code == ErrorCode::kDeadlineUnreachable && event.finish == flow::FinishReason::kError;
    out.finished = event.finish != flow::FinishReason::kError && event.finish != flow::FinishReason::kCancelled;
    replica.ended.push_back(index);
  }

  void count_token(Replica& replica, Outcome& out, Tick when) {
    if (out.n_output == 0) {
      out.first_token = when;
      replica.ttft.add(out.ttft());
    } else {
      Tick gap = when - out.last_token;
      replica.tbt.add(gap);
      out.largest_gap = std::max(out.largest_gap, gap);
    }
    out.last_token = when;
    ++out.n_output;
  }

  // Lets the engine act until it waits for the backend, a message or a timer.
  void turn(Replica& replica) {
    VirtualClock& clock = replica.clock;
    clock.advance_to(std::exchange(replica.turn_at, kNever));
    SimBackend& backend = replica.backend;
    auto waits = [&] { return backend.n_in_flight() == replica.depth && backend.next_done() > clock.now(); };
    while (replica.engine.step() && !waits()) {
    }
    if (backend.n_in_flight() > 0) schedule_turn(replica, backend.next_done());
    if (Tick timer = replica.engine.next_timer(); timer != 0) schedule_turn(replica, std::max(timer, clock.now() + 1));
  }

  void handle(const Event& event) {
    clock.advance_to(event.at);
    if (event.source == kArrivals) {
      if (workload.n_clients == 0) next_arrival();
      arrive(event.subject);
    } else {
      hand_over(event.subject);
    }
  }

  // It acts before `until`; when nothing more comes, as long as it has requests.
  static bool is_due(const Replica& replica, Tick until) {
    return replica.turn_at < until && (until != kNever || replica.n_open > replica.ended.size());
  }

  // Between two arrivals replicas know nothing of each other, unless requests go from one to the other, or the next
  // request comes when one ends, or somebody watches every step.
  bool are_independent() const { return decoders.empty() && workload.n_clients == 0 && spec.watch == nullptr; }

  // Turns before `until`; false when there is none.
  bool advance_one(Tick until) {
    auto first = std::ranges::min_element(replicas, {}, [](const auto& replica) { return replica->turn_at; });
    if ((*first)->turn_at >= until) return false;
    clock.advance_to((*first)->turn_at);
    turn(**first);
    settle(**first);
    return true;
  }

  bool advance_all(Tick until) {
    if (std::ranges::none_of(replicas, [&](const auto& replica) { return is_due(*replica, until); })) return false;
    crew.run([&](size_t worker) {
      for (size_t i = worker; i < replicas.size(); i += crew.size()) {
        while (is_due(*replicas[i], until)) turn(*replicas[i]);
      }
    });
    for (const auto& replica : replicas) settle(*replica);
    return true;
  }

  void next_arrival() {
    if (n_sent == workload.requests.size()) return;
    Tick arrival = workload.n_clients > 0 ? 0 : workload.requests[n_sent].arrival;
    push(std::max(arrival, clock.now()), kArrivals, n_sent++);
  }

  Report report() const;

  ClusterSpec spec;
  const Workload& workload;
  VirtualClock clock;
  std::vector<uint32_t> lengths, first_lengths, decode_lengths;  // [requests] answers by role
  std::vector<std::unique_ptr<Replica>> replicas;
  std::vector<uint32_t> entries, decoders;  // replica numbers
  Router entry_router, decode_router;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> heap;
  uint64_t next_number = 0;
  std::vector<Outcome> outcomes;
  Crew crew;
  uint64_t n_open = 0;
  uint64_t n_sent = 0;  // requests whose arrival is known
};

Report Cluster::State::report() const {
  Report out;
  out.outcomes = outcomes;
  out.slo = spec.slo;
  out.n_replicas = static_cast<uint32_t>(replicas.size());
  out.began = outcomes.front().arrival;
  for (const Outcome& outcome : outcomes) {
    out.n_refused += outcome.refused ? 1u : 0u;
    if (!outcome.finished) continue;
    ++out.n_finished;
    out.n_good += outcome.meets(spec.slo) ? 1u : 0u;
    out.ended = std::max(out.ended, outcome.last_token);
    out.e2e.add(outcome.last_token - outcome.arrival);
    if (outcome.n_output > 1) out.tpot.add(outcome.tpot());
  }
  for (const auto& replica : replicas) {
    out.ttft.add(replica->ttft);
    out.tbt.add(replica->tbt);
    const BackendTotals& backend = replica->backend.totals();
    BackendTotals& sum = out.totals.backend;
    sum.n_steps += backend.n_steps;
    sum.n_shares += backend.n_shares;
    sum.n_decode_shares += backend.n_decode_shares;
    sum.used_tokens += backend.used_tokens;
    sum.held_tokens += backend.held_tokens;
    sum.busy += backend.busy;
    out.plans_hash = out.plans_hash * 31 + backend.plans_hash;
    engine::EngineStats stats = replica->engine.stats();
    out.totals.prefix_query_tokens += stats.prefix_query_tokens;
    out.totals.prefix_hit_tokens += stats.prefix_hit_tokens;
    out.totals.prompt_tokens += stats.prompt_tokens;
    out.totals.prompt_tokens_computed += stats.prompt_tokens_computed;
    out.totals.generated_tokens += stats.generated_tokens;
    out.totals.recomputed_tokens += stats.recomputed_tokens;
    out.totals.n_preemptions += stats.n_preemptions;
    out.totals.n_evictions += stats.n_evictions;
  }
  return out;
}

Cluster::Cluster(std::unique_ptr<State> state) : state_(std::move(state)) {}
Cluster::~Cluster() = default;

Result<std::unique_ptr<Cluster>> Cluster::create(const ClusterSpec& spec, const Workload& workload) {
  uint32_t n_prefill = 0;
  uint32_t n_decode = 0;
  for (const ReplicaSpec& replica : spec.replicas) {
    TRY(engine::Engine::validate(replica.engine));
    n_prefill += replica.role == ReplicaRole::kPrefill ? 1 : 0;
    n_decode += replica.role == ReplicaRole::kDecode ? 1 : 0;
  }
  if (spec.replicas.empty()) return usage("0 replicas: want at least 1");
  if ((n_prefill == 0) != (n_decode == 0)) {
    return usage(fmt::format("{} prefill and {} decode replicas: want both or neither", n_prefill, n_decode));
  }
  if (workload.requests.empty()) return usage("the workload has no requests");
  for (const SimRequest& request : workload.requests) {
    bool sane = request.n_output > 0 && request.n_prompt() > 0;
    if (!sane) return usage("a request without a prompt or without an answer");
  }
  return std::unique_ptr<Cluster>(new Cluster(std::make_unique<State>(spec, workload)));
}

Result<Report> Cluster::run() {
  State& s = *state_;
  s.n_open = s.workload.requests.size();
  for (uint32_t i = 0; i < std::max(1u, s.workload.n_clients); ++i) s.next_arrival();
  while (s.n_open > 0) {
    Tick next = s.heap.empty() ? kNever : s.heap.top().at;
    if (s.are_independent() ? s.advance_all(next) : s.advance_one(next)) continue;
    if (s.heap.empty()) break;
    Event event = s.heap.top();
    s.heap.pop();
    s.handle(event);
  }
  if (s.n_open > 0) {
    std::string text = fmt::format("{} requests never ended:", s.n_open);
    for (const auto& replica : s.replicas) {
      engine::EngineStats stats = replica->engine.stats();
      text += fmt::format(" replica {}: running {}, waiting {}, kv free {} of {};", replica->number, stats.n_running,
                          stats.n_waiting, stats.kv_blocks_free, stats.kv_blocks_total);
    }
    return Error{ErrorCode::kInternal, text, ""};
  }
  return s.report();
}

}  // namespace millrace::sim
