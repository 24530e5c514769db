// The first verb: messages of other threads and timers change the state, at one point of the loop.
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/macros.h"
#include "engine/engine_state.h"
#include "engine/event_log.h"

namespace millrace::engine {
namespace {

constexpr size_t kCheapQueue = 64;  // waiting sequences up to which every request gets a prediction

}  // namespace

bool Engine::State::apply(Tick now) {
  bool busy = tiers != nullptr && turn_tiers(now);  // before requests look for what lies below
  if (sessions != nullptr) busy |= sessions->turn(in_flight.empty());
  inbox.drain(messages);
  for (Message& message : messages) {
    if (options.event_log != nullptr) options.event_log->add_message(message);
    handle(message, now);
  }
  busy |= !messages.empty();
  messages.clear();
  return run_timers(now) || busy;
}

bool Engine::State::turn_tiers(Tick now) {
  loaded.clear();
  bool busy = tiers->turn(now, row_time, in_flight.empty(), loaded);
  for (const LoadWaiter& waiter : loaded) {
    Request* request = find(waiter.request);
    CHECK(request != nullptr, "request {} ended and still waits for a load", waiter.request);
    if (waiter.seq == sched::kNoSeq) {
      open_sequence(*request, now);
    } else {
      seqs.set_load_until(seqs.at(waiter.seq), 0);
    }
  }
  return busy;
}

void Engine::State::note_timer(Tick at) {
  if (at != 0 && (next_timer == 0 || at < next_timer)) next_timer = at;
}

void Engine::State::handle(Message& message, Tick now) {
  Request* request = message.id == 0 ? nullptr : find(message.id);
  switch (message.kind) {
    case MessageKind::kSubmit:
      add_request(std::move(*message.request), now);
      return;
    case MessageKind::kCancel:
      if (request != nullptr) end_request(*request, flow::FinishReason::kCancelled, {}, now);
      return;
    case MessageKind::kCancelFork:
      if (request != nullptr && request->beams == nullptr && message.fork < request->forks.size() &&
          !request->forks[message.fork].ended) {
        end_fork(*request, message.fork, flow::FinishReason::kCancelled, {}, now);
      }
      return;
    case MessageKind::kPark:
      if (request != nullptr) park(*request, now);
      return;
    case MessageKind::kResume:
      if (request != nullptr) resume(*request);
      return;
    case MessageKind::kResetPrefixCache:
      cache.reset();
      heal_all();
      if (tiers != nullptr) tiers->reset();
      if (kv_events != nullptr) kv_events->clear();
      return;
    case MessageKind::kSession:
      begin_session(std::move(message.session));
      return;
    case MessageKind::kBeginDrain:
      end_queued(now);
      return;
    case MessageKind::kStop:
      stopping = true;
      if (sessions != nullptr) sessions->fail_all({ErrorCode::kDraining, "the server stopped", ""});
      for (Request* each : in_order) {
        end_request(*each, flow::FinishReason::kError, {ErrorCode::kDraining, "the server stopped", ""}, now);
      }
      return;
  }
}

void Engine::State::begin_session(std::shared_ptr<SessionTask> task) {
  if (sessions == nullptr) {
    task->finish(Error{ErrorCode::kNotSupported, "sessions are not saved here", ""});
  } else if (stopping) {
    task->finish(Error{ErrorCode::kDraining, "the server stopped", ""});
  } else {
    bool restore = task->verb == SessionVerb::kRestore;
    if (restore && kv_events != nullptr) kv_events->open_scope(task->scope, task->copy.cache_salt);
    sessions->add(std::move(task));
  }
}

void Engine::State::add_request(flow::GenerateRequest&& ask, Tick now) {
  flow::RequestId id = ask.id;
  auto owned = std::make_unique<Request>();
  Request& request = *owned;
  request.ask = std::move(ask);
  request.forks.resize(request.ask.n);
  request.number = next_number++;
  request.spawned = request.ask.n == 1 || request.ask.beam_width > 1;
  if (request.ask.beam_width > 1) begin_beams(request);
  n_unspawned += request.spawned ? 0u : 1u;
  if (kv_events != nullptr) kv_events->open_scope(request.ask.scope, request.ask.cache_salt);
  bool is_new = requests.emplace(id, std::move(owned)).second;
  CHECK(id != 0 && is_new, "request id {} is 0 or in use", id);
  in_order.push_back(&request);
  request.load_until = tiers == nullptr ? 0 : tiers->begin_load(request.ask);
  if (request.load_until == 0) open_sequence(request, now);
  note_timer(request.load_until);
  note_timer(request.ask.deadline);
}

// Fork 0 takes its place in the list.
void Engine::State::open_sequence(Request& request, Tick now) {
  if (std::exchange(request.load_until, 0) != 0) tiers->forget({.request = request.ask.id});
  sched::Seq& seq = new_sequence(request, 0, now);
  seq.lagged = request.parked_until != 0;
  seqs.set_parked(seq, seq.lagged);
  request.forks[0].seq = seq.id;
  ++request.n_seqs;
  predict(request, now);
}

// A request whose deadline cannot be met is refused at once: it only would make others late.
void Engine::State::predict(Request& request, Tick now) {
  Tick deadline = request.ask.deadline;
  bool cheap = seqs.n_waiting() <= kCheapQueue;  // else the list is walked only for those who need it
  if (request.parked_until != 0 || (deadline == 0 && !cheap)) return;
  request.predicted_at = scheduler.first_token_at(seqs, cache, request.forks[0].seq, now);
  if (deadline == 0 || request.predicted_at <= deadline) return;
  auto in_ms = [&](Tick at) { return (at - request.ask.arrival) / kMillisecond; };
  Error error{ErrorCode::kDeadlineUnreachable,
              fmt::format("the first token is predicted after {} ms, the deadline is {} ms",
                          in_ms(request.predicted_at), in_ms(deadline)),
              "timeout"};
  end_request(request, flow::FinishReason::kError, error, now);
}

// Forks share the prompt's KV: they start when fork 0 has computed it, or without it when fork 0 is gone.
void Engine::State::spawn_forks(Request& request, Tick now) {
  if (request.spawned) return;
  request.spawned = true;
  --n_unspawned;
  for (uint32_t k = 1; k < request.forks.size(); ++k) {
    if (request.forks[k].ended) continue;
    sched::Seq& seq = new_sequence(request, k, now);
    seq.source = request.forks[0].seq;
    seq.lagged = request.parked_until != 0;
    seqs.set_parked(seq, seq.lagged);
    request.forks[k].seq = seq.id;
    ++request.n_seqs;
  }
}

void Engine::State::park(Request& request, Tick now) {
  if (request.parked_until != 0) return;
  request.parked_until = now + options.park_limit;
  ++n_parked_requests;
  note_timer(request.parked_until);
  for (const Fork& fork : request.forks) {
    if (fork.seq == sched::kNoSeq) continue;
    seqs.at(fork.seq).lagged = true;
    seqs.set_parked(seqs.at(fork.seq), true);
  }
}

void Engine::State::resume(Request& request) {
  if (request.parked_until != 0) --n_parked_requests;
  request.parked_until = 0;
  for (const Fork& fork : request.forks) {
    if (fork.seq != sched::kNoSeq) seqs.set_parked(seqs.at(fork.seq), false);
  }
}

void Engine::State::end_queued(Tick now) {
  for (Request* request : in_order) {
    if (!request->queued) continue;
    end_request(*request, flow::FinishReason::kError,
                {ErrorCode::kDraining, "the server is shutting down; the request had not started", ""}, now);
  }
}

bool Engine::State::run_timers(Tick now) {
  if (next_timer == 0 || now < next_timer) return false;
  cache.expire_leases(now);
  for (Request* request : in_order) {
    if (request->ask.deadline != 0 && now >= request->ask.deadline) {
      end_request(*request, flow::FinishReason::kError,
                  {ErrorCode::kDeadlineExceeded, "the request passed its deadline", ""}, now);
    } else if (request->parked_until != 0 && now >= request->parked_until) {
      end_request(*request, flow::FinishReason::kError,
                  {ErrorCode::kSlowReader, "the client did not read its stream for too long", ""}, now);
    } else if (request->load_until != 0 && now >= request->load_until) {
      open_sequence(*request, now);
    }
    for (const Fork& fork : request->forks) {
      if (fork.seq == sched::kNoSeq) continue;
      sched::Seq& seq = seqs.at(fork.seq);
      if (seq.load_until == 0 || now < seq.load_until) continue;
      tiers->forget({.request = request->ask.id, .seq = seq.id});
      seqs.set_load_until(seq, 0);
    }
  }
  find_next_timer();
  return true;
}

void Engine::State::find_next_timer() {
  next_timer = cache.next_lease_expiry();
  for (const Request* request : in_order) {
    if (request->n_ended == request->forks.size()) continue;
    for (Tick at : {request->ask.deadline, request->parked_until, request->load_until}) note_timer(at);
    for (const Fork& fork : request->forks) {
      if (fork.seq != sched::kNoSeq) note_timer(seqs.at(fork.seq).load_until);
    }
  }
}

Request* Engine::State::find(flow::RequestId id) {
  auto found = requests.find(id);
  return found == requests.end() ? nullptr : found->second.get();
}

sched::Seq& Engine::State::new_sequence(Request& request, uint32_t fork, Tick now) {
  return own(seqs.create(request.ask, fork, request.number, now), request);
}

sched::Seq& Engine::State::own(sched::Seq& seq, Request& request) {
  if (seq.id >= owners.size()) owners.resize(seq.id + 1);
  owners[seq.id] = &request;
  return seq;
}

Request& Engine::State::request_of(const sched::Seq& seq) { return *owners[seq.id]; }

}  // namespace millrace::engine
