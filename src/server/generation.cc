#include "server/generation.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <utility>

#include "api/output.h"
#include "api/reply_format.h"
#include "server/connection.h"
#include "server/generation_request.h"
#include "server/handlers.h"
#include "server/model_choice.h"
#include "server/ollama_models.h"
#include "server/request_trace.h"
#include "server/stream_writer.h"
#include "server/tenant.h"
#include "server/text_work.h"

namespace millrace::server {
namespace asio = boost::asio;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
namespace {

constexpr auto kSlowReaderGrace = milliseconds(500);  // for the error event to leave

uint64_t random_word() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

// gen_ai.operation.name of the traces.
std::string_view operation_of(const instance::Job& job) {
  if (job.params().sampling.pooling != flow::Pooling::kNone) return "embeddings";
  return job.is_chat() ? "chat" : "text_completion";
}

// Place in the labels of kUnknownFields.
size_t dialect_of(const Route& route, const api::ReplyFormat& format) {
  constexpr size_t kSglang = 5;
  if (!route.errors) return route.id == RouteId::kSglangEncode ? kSglang : 0;
  switch (*route.errors) {
    case api::ErrorStyle::kOpenAi:
    case api::ErrorStyle::kVllm:
      return 0;
    case api::ErrorStyle::kLlama:
      return 1;
    case api::ErrorStyle::kAnthropic:
      return 2;
    case api::ErrorStyle::kOllama:
      return 3;
    case api::ErrorStyle::kTgi:  // one route serves both
      return format.error_style() == api::ErrorStyle::kTgi ? 4 : kSglang;
    case api::ErrorStyle::kKserve:
      return 6;
  }
  return 0;
}

bool is_over(const instance::Session& session) {
  return session.phase() == instance::SessionPhase::kDone || session.phase() == instance::SessionPhase::kFailed;
}

// A request on its way: what both kinds of answer need.
struct Call {
  Connection& connection;
  const HttpRequest& request;
  instance::Instance& instance;
  Metrics& metrics;  // of the model
  RequestTrace trace;
  instance::Session session;
  std::unique_ptr<api::ReplyFormat> format;
  api::ReplyHead head;
  Headers headers;
  size_t dialect = 0;  // place in the labels of kUnknownFields
  OpenRequest open;
  std::deque<OpenRequest> open_prompts;                      // of prompts with ids of their own
  std::vector<std::unique_ptr<OpenRequests::Place>> places;  // of `open`: by its id, and by that of the reply; of these

  Call(Connection& on, const HttpRequest& from, instance::Instance& with, GenerationRequest asked)
      : connection(on),
        request(from),
        instance(with),
        metrics(on.context().metrics_of(with)),
        trace(on.context(), metrics, from, operation_of(asked.job)),
        session(with, on.io(), std::move(asked.job), &trace),
        format(std::move(asked.format)) {
    connection.io().add_waiter(session.key(), connection.event());
    connection.context().n_generations.fetch_add(1);
  }
  ~Call() {
    connection.io().remove_waiter(session.key(), connection.event());
    connection.context().n_generations.fetch_sub(1);
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  const api::CommonParams& params() const { return session.job().params(); }
  // What POST /abort_request asked for.
  void abort_when_told(std::vector<instance::ChoiceDelta>& deltas) {
    if (open.aborted.load() && !is_over(session)) session.abort(format->tells_abort(), deltas);
    if (session.phase() != instance::SessionPhase::kRunning) return;
    uint32_t i = 0;
    for (OpenRequest& prompt : open_prompts) {
      if (prompt.aborted.exchange(false)) session.abort_prompt(i, deltas);
      ++i;
    }
  }
};

void fill_head(Call& call) {
  ServerContext& context = call.connection.context();
  std::string prefix(call.format->id_prefix());
  const std::string& wanted = call.params().caller.request_id;
  call.head.id = wanted.empty() ? api::make_reply_id(prefix, random_word(), random_word()) : prefix + wanted;
  call.head.created = static_cast<int64_t>(std::time(nullptr));
  call.head.model = call.params().model;
  call.head.system_fingerprint = api::compat_profile(context.options.compat).fingerprint_prefix;
  call.head.system_fingerprint += call.instance.facts().system_fingerprint;
  call.headers.emplace_back("X-Request-Id", wanted.empty() ? call.head.id.substr(prefix.size()) : wanted);
  const api::IgnoredFields& ignored = call.params().ignored;
  if (ignored.count > 0) {
    call.metrics.add(MetricId::kUnknownFields, static_cast<double>(ignored.count), call.dialect);
    std::string names;
    for (const std::string& name : ignored.names) {
      if (!is_visible_id(name)) continue;  // cannot stand in a header
      names += names.empty() ? name : "," + name;
    }
    call.headers.emplace_back("X-Millrace-Ignored-Fields", names);
  }
  add_load_header(context, call.request, call.headers);
}

// The id stands in the reply's id behind a prefix, if there is one.
void make_abortable(Call& call, const Principal& who) {
  OpenRequests& all = call.connection.context().open_requests;
  auto fill = [&](OpenRequest& open) {
    open.notifier = &call.connection.io();
    open.key = call.session.key();
    open.tenant = who.tenant;
  };
  fill(call.open);
  for (const std::string& id : call.params().caller.prompt_ids) {
    fill(call.open_prompts.emplace_back());
    call.places.push_back(std::make_unique<OpenRequests::Place>(all, id, call.open_prompts.back()));
  }
  std::string bare = call.head.id.substr(call.format->id_prefix().size());
  if (bare != call.head.id) call.places.push_back(std::make_unique<OpenRequests::Place>(all, bare, call.open));
  call.places.push_back(std::make_unique<OpenRequests::Place>(all, call.head.id, call.open));
}

void reply_error(Call& call, const api::ApiError& error) {
  ServerContext& context = call.connection.context();
  call.metrics.count_refusal(error.error.code);
  HttpReply reply = context.error_reply(error, call.format->error_style());
  reply.headers.insert(reply.headers.end(), call.headers.begin(), call.headers.end());
  if (error.error.code == ErrorCode::kDeadlineUnreachable) {
    reply.headers.emplace_back("X-Millrace-Predicted-TTFT-Ms", fmt::format("{}", call.session.predicted_ttft_ms()));
  }
  if (error.error.code == ErrorCode::kDeadlineExceeded) call.metrics.add(MetricId::kDeadlineMissed, 1, 0);
  call.connection.send_reply(call.request, std::move(reply));
}

void count_disconnect(Call& call) {
  bool running = call.session.usage().completion_tokens > 0;
  call.metrics.add(MetricId::kDisconnects, 1, running ? 1u : 0u);
}

size_t n_values(const std::vector<api::PositionText>& positions) {
  size_t n = 0;
  for (const api::PositionText& position : positions) n += 1 + position.top.size();
  return n;
}

// Values of the vectors in the reply, which cost a microsecond for some ten of them, and what its log probabilities
// cost as much as.
size_t n_values(const instance::Session& session, const std::vector<api::ChoiceOutput>& choices) {
  size_t n = 0;
  for (const api::PromptOutput& prompt : session.prompts()) n += prompt.pooled.size() + n_values(prompt.logprobs);
  for (const api::ChoiceOutput& choice : choices) n += n_values(choice.logprobs);
  return n;
}
constexpr size_t kInlineValues = 8192;

// Large replies are written on a text worker.
asio::awaitable<void> reply_whole(Call& call, std::vector<api::ChoiceOutput>& choices) {
  api::Timings timings = call.session.timings();
  api::ReplyParts parts{.head = call.head,
                        .params = call.params(),
                        .prompts = call.session.prompts(),
                        .choices = choices,
                        .usage = call.session.usage(),
                        .timings = call.connection.context().options.timings ? &timings : nullptr,
                        .prepare_ms = call.session.prepare_ms()};
  std::string body;
  size_t values = n_values(call.session, choices);
  if (values <= kInlineValues) {
    body = call.format->whole(parts);
  } else {
    Result<void> done = co_await run_on_text_worker(call.connection, call.instance, values * sizeof(float),
                                                    [&] { body = call.format->whole(parts); });
    if (!done.ok() && done.error().code == ErrorCode::kCancelled) co_return;
    if (!done.ok()) {
      reply_error(call, {done.take_error()});
      co_return;
    }
  }
  HttpReply reply = json_reply(std::move(body));
  api::ReplyHeaders own = call.format->whole_headers();
  reply.content_type = own.content_type;
  reply.headers = call.headers;
  reply.headers.insert(reply.headers.end(), own.more.begin(), own.more.end());
  call.connection.send_reply(call.request, std::move(reply));
}

asio::awaitable<void> answer_whole(Call& call) {
  Connection& connection = call.connection;
  std::vector<instance::ChoiceDelta> deltas;
  std::vector<api::ChoiceOutput> choices;
  while (true) {
    call.session.pump(deltas);
    call.abort_when_told(deltas);
    instance::collect(call.session, deltas, choices);
    if (is_over(call.session)) break;
    if (connection.gone()) {
      count_disconnect(call);
      co_return;  // the session's destructor cancels
    }
    connection.listen();
    co_await connection.event().wait_until(TimePoint::max());
  }
  if (call.session.phase() == instance::SessionPhase::kFailed) {
    reply_error(call, call.session.error());
  } else {
    co_await reply_whole(call, choices);
  }
  while (connection.unsent() > 0 && !connection.gone() && !connection.stalled()) {
    connection.listen();
    co_await connection.event().wait_until(connection.stall_deadline());
  }
}

// The stream of one call: when its head goes out, how its events are framed, and what a slow reader causes.
class Stream {
 public:
  explicit Stream(Call& call)
      : call_(call),
        options_(call.connection.context().options),
        writer_(call.session, call.head, *call.format, options_.stream_interval),
        head_deadline_(steady_clock::now() + milliseconds(options_.sse_header_delay_ms)),
        last_bytes_(steady_clock::now()) {
    call_.metrics.add(MetricId::kStreamsOpen, 1);
  }
  ~Stream() {
    set_parked(false);
    call_.metrics.add(MetricId::kStreamsOpen, -1);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  asio::awaitable<void> run();

 private:
  void pump();
  void send_events();
  std::string take_head();
  void check_clocks(TimePoint now);
  void set_parked(bool parked);
  milliseconds keep_alive() const;  // 0: none
  bool over() const { return ended_ && writer_.n_bytes() == 0 && call_.connection.unsent() == 0; }
  size_t ring_bytes() const { return writer_.n_bytes() + call_.connection.unsent(); }
  TimePoint next_deadline() const;

  Call& call_;
  const ServerOptions& options_;
  StreamWriter writer_;
  std::vector<instance::ChoiceDelta> deltas_;
  TimePoint head_deadline_;
  TimePoint last_bytes_;
  TimePoint parked_since_;
  TimePoint give_up_ = TimePoint::max();
  uint32_t tokens_in_flight_ = 0;
  bool head_sent_ = false;
  bool ended_ = false;
  bool parked_ = false;
  bool refused_ = false;  // answered with a status of its own: no stream
};

void Stream::set_parked(bool parked) {
  if (parked == parked_) return;
  parked_ = parked;
  parked_since_ = steady_clock::now();
  call_.metrics.add(MetricId::kStreamsParked, parked ? 1 : -1);
  if (parked) {
    call_.session.park();
  } else {
    call_.session.resume();
  }
}

// Reads the session's mail unless the reader is behind; then the engine is told to leave this request out.
void Stream::pump() {
  if (call_.connection.unsent() == 0) tokens_in_flight_ = 0;
  auto ring_limit = static_cast<size_t>(options_.limits[LimitId::kSseRingBytes]);
  auto credits = static_cast<uint32_t>(options_.limits[LimitId::kStreamCredits]);
  uint32_t tokens = tokens_in_flight_ + writer_.n_tokens();
  bool full = ring_bytes() >= ring_limit || (tokens >= credits && call_.connection.unsent() > 0);
  bool half_empty = ring_bytes() <= ring_limit / 2 && tokens <= credits / 2;
  if (full) set_parked(true);
  if (parked_ && half_empty) set_parked(false);
  const bool aborted = call_.open.aborted.load();
  if (ended_ || (parked_ && !aborted)) return;
  call_.session.pump(deltas_);
  call_.abort_when_told(deltas_);
  if (aborted) set_parked(false);  // only now: resumed before, it would go on for some steps
  writer_.write(deltas_);
  deltas_.clear();
  if (call_.session.phase() == instance::SessionPhase::kDone) {
    writer_.finish();
    ended_ = true;
  } else if (call_.session.phase() == instance::SessionPhase::kFailed) {
    ended_ = true;
    if (!head_sent_ && writer_.n_bytes() == 0) {
      refused_ = true;
      reply_error(call_, call_.session.error());
    } else {
      call_.metrics.count_refusal(call_.session.error().error.code);
      if (call_.session.error().error.code == ErrorCode::kDeadlineExceeded) {
        call_.metrics.add(MetricId::kDeadlineMissed, 1, 1);
      }
      writer_.fail(call_.session.error());
    }
  }
}

std::string Stream::take_head() {
  head_sent_ = true;
  Headers headers = call_.headers;
  add_stream_headers(headers);
  api::ReplyHeaders own = call_.format->stream_headers();
  headers.insert(headers.end(), own.more.begin(), own.more.end());
  return call_.connection.begin_open_ended(call_.request, own.content_type, headers);
}

// What is buffered leaves as one chunk, once the previous one has left.
void Stream::send_events() {
  Connection& connection = call_.connection;
  if (refused_ || connection.gone()) return;
  std::string bytes;
  bool due = writer_.n_bytes() > 0 || steady_clock::now() >= head_deadline_;
  if (!head_sent_ && due) {
    bytes = take_head();
    last_bytes_ = steady_clock::now();
  }
  if (writer_.n_bytes() > 0 && (connection.unsent() == 0 || give_up_ != TimePoint::max())) {
    tokens_in_flight_ = writer_.n_tokens();
    std::string events = writer_.take();
    last_bytes_ = steady_clock::now();
    append_chunk(bytes, events, ended_, call_.request.http_1_1);
  }
  if (!bytes.empty()) connection.send(std::move(bytes));
}

void Stream::check_clocks(TimePoint now) {
  auto park_limit = std::chrono::seconds(options_.limits[LimitId::kParkSeconds]);
  if (parked_ && !ended_ && now >= parked_since_ + park_limit) {
    call_.metrics.add(MetricId::kSlowReaderCancels, 1);
    Error error{ErrorCode::kSlowReader, fmt::format("the stream was not read for {} s", park_limit.count()), ""};
    writer_.fail({error});
    call_.session.cancel();
    ended_ = true;
    call_.connection.close_after_this();
    give_up_ = now + kSlowReaderGrace;
  }
  bool silent = head_sent_ && !ended_ && ring_bytes() == 0 && keep_alive() > milliseconds(0);
  if (silent && now >= last_bytes_ + keep_alive()) writer_.keep_alive();
}

// The request's own, or the server's.
milliseconds Stream::keep_alive() const {
  const std::optional<int64_t>& wanted = call_.params().stream.keep_alive_s;
  return wanted ? std::chrono::seconds(std::max<int64_t>(*wanted, 0)) : milliseconds(options_.sse_keep_alive_ms);
}

TimePoint Stream::next_deadline() const {
  TimePoint deadline = std::min(give_up_, call_.connection.stall_deadline());
  if (!head_sent_) deadline = std::min(deadline, head_deadline_);
  if (parked_)
    deadline = std::min(deadline, parked_since_ + std::chrono::seconds(options_.limits[LimitId::kParkSeconds]));
  if (head_sent_ && !ended_ && keep_alive() > milliseconds(0) && ring_bytes() == 0) {
    deadline = std::min(deadline, last_bytes_ + keep_alive());
  }
  return deadline;
}

asio::awaitable<void> Stream::run() {
  Connection& connection = call_.connection;
  while (true) {
    pump();
    check_clocks(steady_clock::now());
    send_events();
    if (over()) co_return;
    bool dead = connection.gone() || steady_clock::now() >= give_up_ || (connection.stalled() && (ended_ || !parked_));
    if (dead) {
      if (!ended_) count_disconnect(call_);
      connection.close_after_this();
      co_return;  // the session's destructor cancels
    }
    connection.listen();
    co_await connection.event().wait_until(next_deadline());
  }
}

// A full queue answers before the body is read: under overload refusals are most of the work, and it is taken from that
// of the engine.
bool refuse_unread(Connection& connection, instance::Instance& instance, const HttpRequest& request,
                   const Route& route) {
  Result<void> room = instance.engine().submit(std::vector<flow::GenerateRequest>());
  if (room.ok()) return false;
  ServerContext& context = connection.context();
  context.metrics_of(instance).count_refusal(room.error().code);
  HttpReply reply = context.error_reply({room.take_error()}, route.errors);
  if (request.header("x-request-id") == nullptr) {
    reply.headers.emplace_back("X-Request-Id", api::make_reply_id("", random_word(), random_word()));
  }
  connection.send_reply(request, std::move(reply));
  return true;
}

}  // namespace

asio::awaitable<void> serve_generation(Connection& connection, HttpRequest request, const Route& route, Principal who) {
  ServerContext& context = connection.context();
  if (std::optional<std::string> unloaded = reply_of_unload(context, request, route)) {
    connection.send_reply(request, json_reply(std::move(*unloaded)));
    co_return;
  }
  Result<instance::ModelUse> use = co_await model_for(connection, request, route);
  if (!use.ok()) {
    context.metrics.count_refusal(use.error().code);
    if (use.error().code == ErrorCode::kQueueFull) context.metrics.add(MetricId::kRequestsShed, 1, 0);
    refuse_model(connection, request, route, use.error());
    co_return;
  }
  instance::Instance& instance = *use->instance();
  if (refuse_unread(connection, instance, request, route)) co_return;
  Result<GenerationRequest> asked = co_await read_request(connection, instance, request, route);
  if (!asked.ok() && asked.error().code == ErrorCode::kCancelled) {
    connection.close_after_this();
    co_return;
  }
  if (!asked.ok()) {
    connection.send_reply(request, context.error_reply({asked.error()}, route.errors));
    co_return;
  }
  if (!asked->instant.empty()) {
    connection.send_reply(request, json_reply(std::move(asked->instant)));
    co_return;
  }
  const std::string& named = asked->job.params().extensions.tenant;
  instance::Tenant tenant = instance.tenants().intern(tenant_name(request, who, named));
  asked->job.tenant = tenant.id;
  asked->job.tenant_weight = tenant.weight;
  bool stream = asked->job.params().stream.stream;
  Call call(connection, request, instance, std::move(asked).value());
  call.dialect = dialect_of(route, *call.format);
  fill_head(call);
  make_abortable(call, who);
  call.session.start();
  if (stream) {
    Stream run(call);
    co_await run.run();
  } else {
    co_await answer_whole(call);
  }
  call.trace.finish(call.session, call.head.id);
}

}  // namespace millrace::server
