#include "server/connection.h"

#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <chrono>
#include <utility>

#include "base/macros.h"
#include "base/out_of_memory.h"
#include "server/cors.h"
#include "server/generation.h"
#include "server/handlers.h"
#include "server/head_check.h"
#include "server/request_counts.h"
#include "server/slot_actions.h"
#include "server/text_routes.h"
#include "server/tokens.h"

namespace millrace::server {
namespace asio = boost::asio;
using std::chrono::seconds;
using std::chrono::steady_clock;
namespace {

constexpr size_t kReadAhead = 64 * 1024;  // bytes of further requests taken while one is answered
// High water of the socket: it takes no more while this much waits to leave. What is on its way does not count, unlike
// with a small SO_SNDBUF, which waits for delayed acks: 11 MB/s instead of 3000 over loopback (2 cores, 2026-11, 8 MiB
// written at once), with the same 43 KiB held for a client that never reads.
constexpr int kUnsentHighWater = 32 * 1024;
constexpr auto kLinger = std::chrono::seconds(2);
constexpr size_t kMinBodyRate = 1024;  // bytes per second, averaged after 10 s
constexpr auto kBodyRateGrace = std::chrono::seconds(10);

size_t count_heads(std::string_view bytes) {
  size_t n = 0;
  for (size_t at = bytes.find("\r\n\r\n"); at != std::string_view::npos; at = bytes.find("\r\n\r\n", at + 4)) ++n;
  return n;
}

}  // namespace

Connection::Connection(ServerContext& context, IoThread& io, Socket socket, std::string peer)
    : context_(&context), io_(&io), socket_(std::move(socket)), event_(socket_.get_executor()), peer_(std::move(peer)) {
  if (auto tls = context.hot.get()->tls) tls_ = tls->accept();
  boost::system::error_code ignored;
  constexpr int kOn = 1;
  ::setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_NODELAY, &kOn, sizeof(kOn));
  int over_tcp = ::setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &kUnsentHighWater,
                              sizeof(kUnsentHighWater));
  // A Unix socket holds in its send buffer what the reader has not taken; the kernel doubles the number.
  if (over_tcp != 0) socket_.set_option(asio::socket_base::send_buffer_size(kUnsentHighWater / 2), ignored);
  socket_.non_blocking(true, ignored);
  io_->add(*this);
}

Connection::~Connection() { io_->remove(*this); }

size_t Connection::read_ahead_limit() const {
  if (!handling_) return SIZE_MAX;
  return count_heads(in_) >= static_cast<size_t>(context_->options.limits[LimitId::kPipelined]) ? 0 : kReadAhead;
}

void Connection::listen() {
  if (reading_ || gone_ || in_.size() >= read_ahead_limit()) return;
  reading_ = true;
  socket_.async_wait(asio::socket_base::wait_read, [this](boost::system::error_code error) {
    reading_ = false;
    if (error) {
      gone_ = true;
    } else {
      try {
        on_readable();
      } catch (const std::bad_alloc&) {
        gone_ = true;
      }
    }
    event_.set();
  });
}

void Connection::on_readable() {
  auto& scratch = io_->scratch();
  boost::system::error_code error;
  size_t n = socket_.read_some(asio::buffer(scratch), error);
  if (error == asio::error::would_block || error == asio::error::try_again) return;
  if (error || n == 0) {
    gone_ = true;
    return;
  }
  if (tls_ == nullptr) {
    in_.append(scratch.data(), n);
    return;
  }
  std::string wire;
  bool goes_on = tls_->receive({scratch.data(), n}, in_, wire);
  send_raw(std::move(wire));
  if (!goes_on) gone_ = true;
}

void Connection::send(std::string bytes) {
  sample_.reply_bytes += bytes.size();
  if (record_) record_->n_bytes += bytes.size();
  if (tls_ == nullptr) {
    send_raw(std::move(bytes));
    return;
  }
  std::string wire;
  tls_->seal(bytes, wire);
  send_raw(std::move(wire));
}

void Connection::send_raw(std::string bytes) {
  if (out_.empty()) {
    out_ = std::move(bytes);
  } else {
    out_ += bytes;
  }
  if (writing_ || gone_ || out_.empty()) return;
  flight_.swap(out_);
  out_.clear();
  sent_ = 0;
  progress_ = steady_clock::now();
  writing_ = true;
  write_more();
}

void Connection::write_more() {
  socket_.async_write_some(asio::buffer(flight_.data() + sent_, flight_.size() - sent_),
                           [this](boost::system::error_code error, size_t n) {
                             sent_ += n;
                             progress_ = steady_clock::now();
                             if (error) gone_ = true;
                             if (!error && sent_ < flight_.size()) {
                               write_more();
                               return;
                             }
                             writing_ = false;
                             flight_.clear();
                             sent_ = 0;
                             if (!error && !out_.empty()) send_raw({});
                             event_.set();
                           });
}

TimePoint Connection::stall_deadline() const {
  return writing_ ? progress_ + seconds(context_->options.limits[LimitId::kSendStallSeconds]) : TimePoint::max();
}

bool Connection::stalled() const { return writing_ && steady_clock::now() >= stall_deadline(); }

Headers Connection::common_headers(const HttpRequest& request, const Headers& own) const {
  Headers headers;
  const std::string* id = request.header("x-request-id");
  bool has_id = std::any_of(own.begin(), own.end(), [](const auto& header) { return header.first == "X-Request-Id"; });
  if (id != nullptr && !has_id && is_visible_id(*id)) headers.emplace_back("X-Request-Id", *id);
  add_cors(context_->options, request, headers);
  headers.insert(headers.end(), own.begin(), own.end());
  return headers;
}

std::string Connection::begin_open_ended(const HttpRequest& request, std::string_view content_type,
                                         const Headers& headers) {
  if (!request.http_1_1 || !context_->serving()) keep_ = false;
  context_->metrics.add(MetricId::kHttpReplies, 1, 0);
  Headers all = common_headers(request, headers);
  note_reply(200, all);
  return open_ended_head(content_type, all, keep_, request.http_1_1);
}

void Connection::send_reply(const HttpRequest& request, HttpReply reply) {
  if (!context_->serving()) reply.close = true;
  if (reply.close) keep_ = false;
  reply.headers = common_headers(request, reply.headers);
  note_reply(reply.status, reply.headers);
  constexpr int kFirstServerError = 500;
  context_->metrics.add(MetricId::kHttpReplies, 1,
                        reply.status < 400                 ? 0u
                        : reply.status < kFirstServerError ? 1u
                                                           : 2u);
  std::string bytes = reply_head(reply, keep_, request.http_1_1);
  if (request.method != "HEAD") bytes += reply.body;
  send(std::move(bytes));
}

void Connection::begin_record(std::string method, std::string path) {
  record_.emplace();
  record_->begin = steady_clock::now();
  record_->method = std::move(method);
  record_->path = std::move(path);
}

void Connection::note_reply(int status, const Headers& headers) {
  sample_.status = status;
  if (!record_) return;
  record_->status = status;
  for (const auto& [name, value] : headers) {
    if (name == "X-Request-Id") record_->request_id = value;
  }
}

void Connection::end_record() {
  if (record_) log_access(*record_, peer_);
  record_.reset();
}

// The framing is broken: there is no request to answer to, and the connection cannot go on.
void Connection::refuse_bytes(const Error& error) {
  linger_ = true;
  if (!record_ && context_->options.access_log) begin_record("-", "-");
  HttpReply reply = context_->error_reply({error});
  reply.close = true;
  HttpRequest nobody;
  send_reply(nobody, std::move(reply));
}

// The size of the head at the start of in_; 0 = the connection ends.
asio::awaitable<size_t> Connection::read_head() {
  const Limits& limits = context_->options.limits;
  TimePoint begin = steady_clock::now();
  bool first = n_requests_ == 0;
  TimePoint idle_end = begin + seconds(limits[first ? LimitId::kHeaderSeconds : LimitId::kKeepaliveIdleSeconds]);
  TimePoint head_end = in_.empty() && !first ? TimePoint::max() : begin + seconds(limits[LimitId::kHeaderSeconds]);
  size_t looked_at = 0;
  while (true) {
    if (size_t n = empty_lines(in_); n > 0) {
      in_.erase(0, n);
      looked_at = 0;
    }
    Result<std::optional<size_t>> found = find_head(in_, looked_at, limits);
    if (!found.ok()) {
      refuse_bytes(found.error());
      co_return 0;
    }
    if (found->has_value()) co_return **found;
    looked_at = in_.size();
    if (gone_ || (in_.empty() && !context_->serving() && n_requests_ > 0)) co_return 0;
    if (context_->lifecycle.load() == Lifecycle::kStopping) co_return 0;
    TimePoint now = steady_clock::now();
    if (in_.empty() && now >= idle_end) co_return 0;
    if (!in_.empty() && now >= head_end) {
      refuse_bytes({ErrorCode::kRequestTimeout,
                    fmt::format("no complete request head after {} s", limits[LimitId::kHeaderSeconds]), ""});
      co_return 0;
    }
    listen();
    co_await event_.wait_until(in_.empty() ? idle_end : head_end);
    if (!in_.empty() && head_end == TimePoint::max())
      head_end = steady_clock::now() + seconds(limits[LimitId::kHeaderSeconds]);
  }
}

// True when the body is complete.
asio::awaitable<bool> Connection::read_body(HttpParser& parser, const HttpRequest& head) {
  const Limits& limits = context_->options.limits;
  TimePoint begin = steady_clock::now();
  TimePoint last = begin;
  size_t total = 0;
  BodyBytes share(*context_);
  if (head.expects_continue && in_.empty() && !parser.done()) send("HTTP/1.1 100 Continue\r\n\r\n");
  while (!parser.done()) {
    Result<size_t> used = parser.put_body(in_);
    if (!used.ok()) {
      refuse_bytes(used.error());
      co_return false;
    }
    in_.erase(0, *used);
    total += *used;
    if (!share.add(*used)) {
      Error error{ErrorCode::kQueueFull, "the bodies of requests being received hold too much memory", ""};
      context_->metrics.on_text_queue_full();
      refuse_bytes(error);
      co_return false;
    }
    TimePoint now = steady_clock::now();
    if (*used > 0) last = now;
    if (parser.done()) break;
    if (gone_) co_return false;
    TimePoint idle_end = last + seconds(limits[LimitId::kBodyIdleSeconds]);
    auto elapsed = std::chrono::duration_cast<seconds>(now - begin);
    bool too_slow = elapsed >= kBodyRateGrace && total / static_cast<size_t>(elapsed.count()) < kMinBodyRate;
    if (now >= idle_end || too_slow) {
      refuse_bytes({ErrorCode::kRequestTimeout, fmt::format("the request body stopped after {} bytes", total), ""});
      co_return false;
    }
    if (context_->lifecycle.load() == Lifecycle::kStopping) co_return false;
    listen();
    TimePoint rate_end = elapsed < kBodyRateGrace ? begin + kBodyRateGrace : now + seconds(1);
    co_await event_.wait_until(std::min(idle_end, rate_end));
  }
  co_return true;
}

// What can be said from the head alone.
std::optional<HttpReply> Connection::refuse(const HttpRequest& request, const Route*& route, Principal& who) {
  std::string_view path = request.path;
  const std::string& root = context_->options.root_path;
  if (!root.empty() && path.starts_with(root)) path.remove_prefix(root.size());
  route = find_route(path, request.method);
  bool never = request.method == "CONNECT" || request.method == "TRACE";  // 405 whatever they name
  if (route == nullptr && !never) {
    return context_->error_reply({Error{ErrorCode::kRouteNotFound, "no such route: " + quote_for_message(path), ""}});
  }
  bool preflight = request.method == "OPTIONS" && !context_->options.allowed_origins.empty();
  if (preflight) return preflight_reply(context_->options, request);
  if (never || !allows(*route, request.method)) {
    HttpReply reply = context_->error_reply(
        {Error{ErrorCode::kMethodNotAllowed,
               fmt::format("{} is not a method of this route", quote_for_message(request.method)), ""}},
        route == nullptr ? std::nullopt : route->errors);
    reply.headers.emplace_back("Allow", route == nullptr ? "GET, HEAD, POST, OPTIONS" : allowed_methods(*route));
    if (request.method == "CONNECT") reply.close = true;  // what follows may be meant for a tunnel
    return reply;
  }
  Result<Principal> checked = context_->hot.get()->keys.check(request, route->auth);
  if (!checked.ok()) return context_->error_reply({checked.error()}, route->errors);
  who = *checked;
  std::optional<HttpReply> refusal = check_body_headers(*context_, request, *route);
  if (refusal || !route->has_body) return refusal;
  Result<void> entered = context_->enter_key(who.tenant);
  if (entered.ok()) return std::nullopt;
  context_->metrics.count_refusal(entered.error().code);
  return context_->error_reply({entered.error()}, route->errors);
}

asio::awaitable<bool> Connection::serve_one() {
  handling_ = false;
  size_t head_size = co_await read_head();
  if (head_size == 0) end_record();
  if (head_size == 0) co_return false;
  ++n_requests_;
  HttpParser parser(context_->options.limits);
  std::string head = in_.substr(0, head_size);
  in_.erase(0, head_size);
  Result<void> accepted = check_head(head, context_->options.limits);
  if (accepted.ok()) accepted = parser.put_head(head);
  if (!accepted.ok()) {
    refuse_bytes(accepted.error());
    end_record();
    co_return false;
  }
  const HttpRequest& request = parser.request();
  if (is_logged(context_->options, request)) begin_record(request.method, request.path);
  keep_ = request.keep_alive;
  const Route* route = nullptr;
  Principal who;
  sample_ = {.begin = steady_clock::now(), .handler = "none", .method = HttpMetrics::method_name(request.method)};
  CountedRequest counted(*context_, sample_);
  std::optional<HttpReply> refusal = refuse(request, route, who);
  if (route != nullptr) sample_.handler = route->path;
  if (refusal) {
    bool body_pending = !parser.done();
    if (body_pending) {
      refusal->close = true;
      linger_ = true;
    }
    send_reply(request, std::move(*refusal));
    end_record();
    handling_ = true;  // bounds what is read ahead
    co_await wait_for_reader();
    handling_ = false;
    co_return keep_ && !gone_;
  }
  KeyPlace place{*context_, route->has_body ? who.tenant : 0};
  if (record_) record_->tenant = who.tenant;
  bool complete = co_await read_body(parser, request);
  if (!complete) end_record();
  if (!complete) co_return false;
  HttpRequest whole = parser.take();
  sample_.request_bytes = whole.body.size();
  handling_ = true;
  CallCount count(*context_);
  co_await handle(std::move(whole), *route, who);
  end_record();
  co_await wait_for_reader();
  handling_ = false;
  co_return keep_ && !gone_;
}

asio::awaitable<void> Connection::handle(HttpRequest request, const Route& route, Principal who) {
  switch (route.kind) {
    case RouteKind::kAnswer:
      break;
    case RouteKind::kGeneration:
      co_await serve_generation(*this, std::move(request), route, who);
      co_return;
    case RouteKind::kTokens:
      co_await serve_tokens(*this, std::move(request), route);
      co_return;
    case RouteKind::kText:
      co_await serve_text(*this, std::move(request), route);
      co_return;
    case RouteKind::kSlotAction:
      co_await serve_slot_action(*this, std::move(request), route);
      co_return;
  }
  HttpReply reply = answer(*context_, request, route, who);
  add_load_header(*context_, request, reply.headers);
  send_reply(request, std::move(reply));
}

// A client that does not read its replies is not read from either, and in the end let go: else every pipelined request
// would add a reply to what waits.
asio::awaitable<void> Connection::wait_for_reader() {
  while (unsent() > kReadAhead && !gone_ && !stalled()) {
    listen();
    co_await event_.wait_until(stall_deadline());
  }
  if (stalled()) gone_ = true;
}

asio::awaitable<void> Connection::finish() {
  if (tls_ != nullptr && !gone_) {
    std::string wire;
    tls_->close(wire);
    send_raw(std::move(wire));
  }
  while (unsent() > 0 && !gone_ && !stalled()) {
    if (!linger_) listen();
    co_await event_.wait_until(stall_deadline());
  }
  boost::system::error_code ignored;
  socket_.shutdown(asio::socket_base::shutdown_send, ignored);
  TimePoint linger_end = steady_clock::now() + kLinger;
  while (linger_ && !gone_ && steady_clock::now() < linger_end) {
    in_.clear();
    listen();
    co_await event_.wait_until(linger_end);
  }
  gone_ = true;
  socket_.close(ignored);
  while (reading_ || writing_) co_await event_.wait_until(TimePoint::max());
}

// Where memory runs out the request ends, and with it its connection: with a 503 when nothing of an answer has left.
asio::awaitable<void> Connection::run() {
  bool more = true;
  while (more) {
    bool failed = false;
    try {
      more = co_await serve_one();
    } catch (const std::bad_alloc&) {
      failed = true;
    }
    if (!failed) continue;
    more = handling_ = keep_ = false;
    try {
      LOG(LogLevel::kWarning, "out of memory: a request was given up");
      if (sample_.status == 0 && !gone_) refuse_bytes(out_of_memory("handling the request"));
      end_record();
    } catch (const std::bad_alloc&) {
      gone_ = true;
    }
  }
  bool finished = false;
  while (!finished) {  // what is on its way names this connection: it must have ended
    try {
      co_await finish();
      finished = true;
    } catch (const std::bad_alloc&) {
      gone_ = true;
    }
  }
}

}  // namespace millrace::server
