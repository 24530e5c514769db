#include "server/http_server.h"

#include <fmt/core.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <csignal>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/macros.h"
#include "server/connection.h"
#include "server/context.h"
#include "server/descriptors.h"
#include "server/file_watch.h"
#include "server/io_thread.h"
#include "server/listener.h"

namespace millrace::server {
namespace asio = boost::asio;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
namespace {

constexpr auto kTick = milliseconds(20);              // how often the life cycle is looked at
constexpr auto kSecondSignal = milliseconds(1500);    // a second signal ends the process within 2 s
constexpr auto kLastBytes = std::chrono::seconds(1);  // for error events to leave at the end
constexpr int kExitDead = 5;

using WorkGuard = asio::executor_work_guard<asio::io_context::executor_type>;

bool is_loopback(const std::string& host) {
  boost::system::error_code error;
  auto address = asio::ip::make_address(host == "localhost" ? "127.0.0.1" : host, error);
  return !error && address.is_loopback();
}

struct LoadJob {
  std::thread thread;
  std::atomic<bool> done{false};
  std::atomic<bool> give_up{false};
  std::optional<Result<std::unique_ptr<instance::Instance>>> result;  // once done
};

}  // namespace

struct HttpServer::State {
  State(ServerOptions options, bool loopback, std::shared_ptr<const TlsContext> tls)
      : context(std::move(options), loopback, std::move(tls)), watch(context.options.watched_files) {}

  ServerContext context;
  std::vector<std::unique_ptr<IoThread>> io;
  std::vector<std::thread> threads;
  std::vector<WorkGuard> guards;
  std::optional<Listener> listener;
  std::optional<asio::signal_set> signals;
  std::unique_ptr<instance::Instance> instance;  // the one model
  std::unique_ptr<instance::ModelSet> models;    // or several
  std::vector<std::string> at_start;
  std::optional<asio::signal_set> hang_up;
  FileWatch watch;
  OptionsProvider reload;  // empty: options stay as they are
  LoadedHook on_loaded;    // empty: nothing is to be done
  std::atomic<int> n_signals{0};
  std::atomic<int> n_hang_ups{0};
  size_t next_io = 0;
  int64_t max_connections = 0;
  bool abandoned = false;  // a hung engine thread may still look at all of this

  asio::awaitable<void> accept_loop();
  asio::awaitable<void> accept_one();
  void spawn_connection(Socket socket, std::string address);
  void start_connection(Socket socket, const std::string& address);
  void wait_for_signal();
  void wait_for_hang_up();
  void reload_if_asked();
  void start_threads();
  void stop_threads();
  void wake_all();
  Result<void> load(const InstanceProvider& provider);
  Result<void> load_several();
  bool any_dead();
  bool drained();
  void log_status(engine::EngineStats& last);
  int serve_until_done();
  bool drain(steady_clock::time_point deadline);
};

namespace {

asio::awaitable<void> run_connection(ServerContext& context, IoThread& io, Socket socket, std::string address) {
  try {
    Connection connection(context, io, std::move(socket), address);
    co_await connection.run();
  } catch (const std::bad_alloc&) {  // there is no connection yet to say so on
  }
  context.leave_address(address);
  context.n_connections.fetch_sub(1);
  context.metrics.add(MetricId::kConnectionsOpen, -1);
}

// One write without waiting, for connections that are refused at once.
void refuse_socket(ServerContext& context, Socket socket, const Error& error) {
  HttpReply reply = context.error_reply({error});
  std::string bytes = reply_head(reply, false, true) + reply.body;
  boost::system::error_code ignored;
  socket.non_blocking(true, ignored);
  if (context.hot.get()->tls == nullptr) socket.write_some(asio::buffer(bytes), ignored);
  socket.shutdown(asio::socket_base::shutdown_both, ignored);
}

}  // namespace

void HttpServer::State::start_connection(Socket socket, const std::string& address) {
  const Limits& limits = context.options.limits;
  if (context.n_connections.load() >= max_connections) {
    refuse_socket(context, std::move(socket), {ErrorCode::kQueueFull, "too many connections", ""});
    return;
  }
  if (!context.enter_address(address)) {
    refuse_socket(context, std::move(socket),
                  {ErrorCode::kRateLimitExceeded,
                   fmt::format("more than {} connections from one address", limits[LimitId::kConnectionsPerIp]), ""});
    return;
  }
  context.n_connections.fetch_add(1);
  context.metrics.add(MetricId::kConnectionsOpen, 1);
  try {
    spawn_connection(std::move(socket), address);
  } catch (const std::bad_alloc&) {
    context.leave_address(address);
    context.n_connections.fetch_sub(1);
    context.metrics.add(MetricId::kConnectionsOpen, -1);
  }
}

void HttpServer::State::spawn_connection(Socket socket, std::string address) {
  IoThread& thread = *io[next_io++ % io.size()];
  if (&thread.context() == &io.front()->context()) {
    asio::co_spawn(thread.context(), run_connection(context, thread, std::move(socket), std::move(address)),
                   asio::detached);
    return;
  }
  // Another loop takes it over, so that all of its handlers run there.
  auto protocol = socket.local_endpoint().protocol();
  Socket moved(thread.context(), protocol, socket.release());
  asio::co_spawn(thread.context(), run_connection(context, thread, std::move(moved), std::move(address)),
                 asio::detached);
}

asio::awaitable<void> HttpServer::State::accept_loop() {
  while (listener->acceptor().is_open()) {
    try {
      co_await accept_one();
    } catch (const std::bad_alloc&) {  // that client is turned away
    }
  }
}

asio::awaitable<void> HttpServer::State::accept_one() {
  auto [error, socket] = co_await listener->acceptor().async_accept(asio::as_tuple(asio::use_awaitable));
  if (error == asio::error::operation_aborted) co_return;  // it is closed
  if (error) {
    // Out of descriptors: what is open goes on, and closes some.
    asio::steady_timer pause(io.front()->context(), milliseconds(50));
    co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
    co_return;
  }
  boost::system::error_code gone;
  auto peer = socket.remote_endpoint(gone);
  if (!gone) start_connection(std::move(socket), peer_address(peer));
}

void HttpServer::State::wait_for_signal() {
  signals->async_wait([this](boost::system::error_code error, int) {
    if (error) return;
    n_signals.fetch_add(1);
    wait_for_signal();
  });
}

void HttpServer::State::wait_for_hang_up() {
  hang_up->async_wait([this](boost::system::error_code error, int) {
    if (error) return;
    n_hang_ups.fetch_add(1);
    wait_for_hang_up();
  });
}

// On the thread of run(): files are read here, not where requests are.
void HttpServer::State::reload_if_asked() {
  bool asked = n_hang_ups.exchange(0) > 0;
  if (watch.changed(steady_clock::now())) asked = true;
  if (!asked || !reload) return;
  Result<ServerOptions> next = reload();
  Result<void> done = next.ok() ? context.reload(*next) : Result<void>(next.error());
  if (done.ok()) {
    LOG(LogLevel::kInfo, "reloaded: {} keys, {} admin keys", next->api_keys.size(), next->admin_keys.size());
  } else {
    LOG(LogLevel::kError, "not reloaded: {}", done.error().message);
  }
}

void HttpServer::State::start_threads() {
  asio::co_spawn(io.front()->context(), accept_loop(), asio::detached);
  for (auto& one : io) {
    guards.emplace_back(one->context().get_executor());
    threads.emplace_back([&loop = one->context()] {
      while (!loop.stopped()) {
        try {
          loop.run();
        } catch (const std::bad_alloc&) {  // of one handler; the others go on
        }
      }
    });
  }
}

void HttpServer::State::wake_all() {
  for (auto& one : io) asio::post(one->context(), [thread = one.get()] { thread->wake_all(); });
}

// Ends every connection, then the loops.
void HttpServer::State::stop_threads() {
  context.lifecycle.store(Lifecycle::kStopping);
  asio::post(io.front()->context(), [this] {
    boost::system::error_code ignored;
    listener->acceptor().close(ignored);
    if (signals) signals->cancel(ignored);
    if (hang_up) hang_up->cancel(ignored);
  });
  auto deadline = steady_clock::now() + kLastBytes;
  while (context.n_connections.load() > 0 && steady_clock::now() < deadline) {
    wake_all();
    std::this_thread::sleep_for(kTick);
  }
  guards.clear();
  for (auto& one : io) one->context().stop();
  for (std::thread& thread : threads) thread.join();
  threads.clear();
}

// Waits for the load, or for a signal that ends it.
Result<void> HttpServer::State::load(const InstanceProvider& provider) {
  auto job = std::make_shared<LoadJob>();
  job->thread = std::thread([this, job, provider] {
    job->result = provider([this, &job](const instance::LoadProgress& progress) {
      context.load_fraction.store(progress.fraction);
      return !job->give_up.load();
    });
    job->done.store(true);
  });
  while (!job->done.load() && n_signals.load() == 0) std::this_thread::sleep_for(kTick);
  if (!job->done.load()) {
    job->give_up.store(true);
    context.lifecycle.store(Lifecycle::kDraining);
    auto deadline = steady_clock::now() + kSecondSignal;
    while (!job->done.load() && steady_clock::now() < deadline) std::this_thread::sleep_for(kTick);
  }
  if (!job->done.load()) {
    job->thread.detach();  // stuck in a system call; the process ends now anyway
    return Error{ErrorCode::kCancelled, "interrupted while loading", ""};
  }
  job->thread.join();
  if (!job->result->ok()) return job->result->error();
  instance = std::move(**job->result);
  instance->set_step_observer(&context.metrics);
  context.instance.store(instance.get(), std::memory_order_release);
  return {};
}

// Waits for the models of the start, or for a signal.
Result<void> HttpServer::State::load_several() {
  for (const std::string& name : at_start) {
    Result<void> asked = models->load(name);  // also where requests load nothing by themselves
    if (!asked.ok() && asked.error().code != ErrorCode::kInvalidValue) return asked.error();  // given twice: on its way
    instance::ModelUse use = TRY(models->use(name));
    while (use.instance() == nullptr && n_signals.load() == 0) {
      if (std::optional<Error> error = use.failure()) return *error;
      std::this_thread::sleep_for(kTick);
    }
    if (n_signals.load() > 0) return Error{ErrorCode::kCancelled, "interrupted while loading", ""};
  }
  context.models_ready.store(true);
  return {};
}

bool HttpServer::State::any_dead() {
  for (const instance::ModelUse& use : context.loaded_models()) {
    if (use.instance()->state() == instance::InstanceState::kDead) return true;
  }
  return false;
}

bool HttpServer::State::drained() {
  for (const instance::ModelUse& use : context.loaded_models()) {
    if (!use.instance()->engine().drained()) return false;
  }
  return context.n_calls.load() == 0;
}

// True when everything accepted has been answered before the deadline or a further signal.
bool HttpServer::State::drain(steady_clock::time_point deadline) {
  int n_before = n_signals.load();
  while (steady_clock::now() < deadline && n_signals.load() == n_before) {
    if (drained()) return true;
    if (any_dead()) return false;
    std::this_thread::sleep_for(kTick);
  }
  return false;
}

// The line of every few seconds: of all models together.
void HttpServer::State::log_status(engine::EngineStats& last) {
  engine::EngineStats now;
  double kv = 0;
  for (const instance::ModelUse& use : context.loaded_models()) {
    engine::EngineStats one = use.instance()->stats();
    now.n_steps += one.n_steps;
    now.prompt_tokens += one.prompt_tokens;
    now.generated_tokens += one.generated_tokens;
    now.prefix_query_tokens += one.prefix_query_tokens;
    now.prefix_hit_tokens += one.prefix_hit_tokens;
    now.n_running += one.n_running;
    now.n_waiting += one.n_waiting;
    if (one.kv_blocks_total > 0) kv = std::max(kv, 100.0 * one.kv_blocks_active / one.kv_blocks_total);
  }
  if (now.n_steps == last.n_steps) return;
  auto rate = [&](uint64_t to, uint64_t from) {  // from: of models that may have gone since
    return static_cast<double>(to - std::min(from, to)) / context.options.status_line_s;
  };
  double hits = now.prefix_query_tokens == 0
                    ? 0.0
                    : 100.0 * static_cast<double>(now.prefix_hit_tokens) / static_cast<double>(now.prefix_query_tokens);
  LOG(LogLevel::kInfo,
      "prompt {:.1f} tok/s, generation {:.1f} tok/s, running {}, waiting {}, KV {:.1f}%, prefix hits {:.1f}%",
      rate(now.prompt_tokens, last.prompt_tokens), rate(now.generated_tokens, last.generated_tokens), now.n_running,
      now.n_waiting, kv, hits);
  last = now;
}

int HttpServer::State::serve_until_done() {
  auto status_every = std::chrono::seconds(context.options.status_line_s);
  auto next_status = steady_clock::now() + status_every;
  engine::EngineStats last;
  while (n_signals.load() == 0) {
    std::this_thread::sleep_for(kTick);
    try {
      reload_if_asked();
      if (any_dead()) return kExitDead;
      if (context.options.status_line_s == 0 || steady_clock::now() < next_status) continue;
      next_status += status_every;
      log_status(last);
    } catch (const std::bad_alloc&) {  // the next look has memory, or the one after it
    }
  }
  context.lifecycle.store(Lifecycle::kDraining);
  LOG(LogLevel::kInfo, "draining: running requests may take {} s", context.options.limits[LimitId::kDrainSeconds]);
  for (const instance::ModelUse& use : context.loaded_models()) use.instance()->begin_drain();
  wake_all();
  bool all = n_signals.load() == 1 &&
             drain(steady_clock::now() + std::chrono::seconds(context.options.limits[LimitId::kDrainSeconds]));
  if (!all) {
    for (const instance::ModelUse& use : context.loaded_models()) use.instance()->engine().stop();
    drain(steady_clock::now() + kSecondSignal / 2);
  }
  return any_dead() ? kExitDead : 0;
}

Result<std::unique_ptr<HttpServer>> HttpServer::bind(ServerOptions options) {
  bool loopback = !options.uds.empty() || is_loopback(options.host);
  bool open = !loopback && options.api_keys.empty() && !options.allow_open;
  if (open && options.open_bind_warns) {
    LOG(LogLevel::kWarning, "--host {} is open to the network and no key is set", quote_for_message(options.host));
  } else if (open) {
    return Error{ErrorCode::kUsage,
                 fmt::format("--host {} is open to the network and no key is set: give --api-key, or --allow-open",
                             quote_for_message(options.host)),
                 "--host"};
  }
  std::shared_ptr<const TlsContext> tls;
  if (!options.tls.certfile.empty()) tls = TRY(TlsContext::load(options.tls));
  auto state = std::make_unique<State>(std::move(options), loopback, std::move(tls));
  const ServerOptions& all = state->context.options;
  for (uint32_t i = 0; i < std::max(1u, all.n_io_threads); ++i) state->io.push_back(std::make_unique<IoThread>());
  state->max_connections = TRY(connection_cap(all.limits[LimitId::kConnections], raise_descriptor_limit()));
  state->listener.emplace(TRY(Listener::bind(state->io.front()->context(), all)));
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(state)));
}

HttpServer::HttpServer(std::unique_ptr<State> state) : state_(std::move(state)) {}
HttpServer::~HttpServer() {
  if (state_->abandoned) (void)state_.release();
}

uint16_t HttpServer::port() const { return state_->listener->port(); }

std::string HttpServer::url() const {
  const ServerOptions& options = state_->context.options;
  std::string_view scheme = options.tls.certfile.empty() ? "http" : "https";
  return options.uds.empty() ? fmt::format("{}://{}:{}", scheme, options.host, port()) : "unix:" + options.uds;
}

ServerContext& HttpServer::context() { return state_->context; }

void HttpServer::set_reload(OptionsProvider reload) { state_->reload = std::move(reload); }

void HttpServer::set_on_loaded(LoadedHook hook) { state_->on_loaded = std::move(hook); }

void HttpServer::hang_up() { state_->n_hang_ups.fetch_add(1); }

void HttpServer::shut_down() { state_->n_signals.fetch_add(1); }

void HttpServer::serve_several(SeveralModels several) {
  State& state = *state_;
  several.options.on_change = [&state] { state.wake_all(); };
  several.options.on_load = [&state](const std::string&, instance::Instance& instance) {
    Metrics& metrics = state.context.metrics_of(instance);
    metrics.begin_instance();
    instance.set_step_observer(&metrics);
  };
  several.options.on_unload = [&state](const std::string&, instance::Instance& instance) {
    state.context.metrics_of(instance).end_instance(instance);
  };
  state.at_start = std::move(several.at_start);
  state.models = std::make_unique<instance::ModelSet>(std::move(several.source), std::move(several.options));
  state.context.models = state.models.get();
}

Result<int> HttpServer::run(const InstanceProvider& provider) {
  state_->start_threads();
  Result<void> loaded = state_->models != nullptr ? state_->load_several() : state_->load(provider);
  if (loaded.ok() && state_->on_loaded) loaded = state_->on_loaded();
  Result<int> exit_code = 0;
  if (loaded.ok()) {
    LOG(LogLevel::kInfo, "ready: {}", url());
    exit_code = state_->serve_until_done();
  } else if (loaded.error().code != ErrorCode::kCancelled) {
    exit_code = loaded.take_error();
  }
  bool dead = state_->any_dead();
  state_->stop_threads();
  dead = dead || state_->any_dead();
  state_->context.instance.store(nullptr);
  if (dead) {
    state_->abandoned = true;
    (void)state_->instance.release();  // its engine thread hangs: it cannot be joined, the process ends now
    return exit_code;
  }
  // What connections are left hold sessions: they go before the instance, and after everything that could wake them.
  if (state_->instance != nullptr) state_->instance->halt();
  if (state_->models != nullptr) state_->models->halt();
  state_->listener.reset();
  state_->signals.reset();
  state_->hang_up.reset();
  state_->io.clear();
  state_->instance.reset();
  state_->models.reset();
  return exit_code;
}

Result<int> HttpServer::run_with_signals(const InstanceProvider& provider) {
  state_->signals.emplace(state_->io.front()->context(), SIGTERM, SIGINT);
  state_->wait_for_signal();
  state_->hang_up.emplace(state_->io.front()->context(), SIGHUP);
  state_->wait_for_hang_up();
  std::signal(SIGPIPE, SIG_IGN);
  return run(provider);
}

Result<int> run_server(ServerOptions options, ServerParts parts) {
  std::unique_ptr<HttpServer> server = TRY(HttpServer::bind(std::move(options)));
  server->set_reload(std::move(parts.reload));
  server->set_on_loaded(std::move(parts.on_loaded));
  if (parts.several) server->serve_several(std::move(*parts.several));
  return server->run_with_signals(parts.load);
}

}  // namespace millrace::server
