#include "app/bench_client.h"

#include <fmt/core.h>

#include <algorithm>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <deque>
#include <memory>

#include "base/json.h"

namespace millrace::app {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using Seconds = std::chrono::duration<double>;
using SteadyClock = std::chrono::steady_clock;

constexpr auto kRequestTimeout = std::chrono::seconds(3600);

// At most n holders (n <= 0: no limit); waiters go in order of arrival.
class Slots {
 public:
  Slots(asio::io_context& io, int64_t n) : io_(io), n_(n > 0 ? n : INT64_MAX) {}

  asio::awaitable<void> acquire() {
    if (running_ < n_) {
      most_ = std::max(most_, ++running_);
      co_return;
    }
    // release() hands its place over, so the count stays as it is
    auto timer = std::make_shared<asio::steady_timer>(io_, SteadyClock::time_point::max());
    waiting_.push_back(timer);
    beast::error_code ignored;
    co_await timer->async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  void release() {
    if (waiting_.empty()) {
      --running_;
    } else {
      waiting_.front()->cancel();
      waiting_.pop_front();
    }
  }
  int64_t most() const { return most_; }

 private:
  asio::io_context& io_;
  const int64_t n_;
  int64_t running_ = 0;
  int64_t most_ = 0;
  std::deque<std::shared_ptr<asio::steady_timer>> waiting_;
};

// What one SSE data line says: does it carry text, an error, or usage.
struct ChunkFacts {
  bool has_text = false;
  std::string error;
};

ChunkFacts read_chunk(std::string_view data, BenchResult& result) {
  ChunkFacts facts;
  auto json = parse_json(data);
  if (!json.ok()) {
    facts.error = "chunk is " + json.error().message;
    return facts;
  }
  if (const Json* error = json->get("error")) {
    facts.error = error->dump();
    return facts;
  }
  auto non_empty = [](const Json* text) { return text != nullptr && text->is_string() && !text->as_string().empty(); };
  if (const Json* choices = json->get("choices"); choices != nullptr && choices->is_array()) {
    for (const Json& choice : choices->as_array()) {
      facts.has_text = facts.has_text || non_empty(choice.get("text"));
      if (const Json* delta = choice.get("delta")) {
        facts.has_text =
            facts.has_text || non_empty(delta->get("content")) || non_empty(delta->get("reasoning_content"));
      }
    }
  }
  if (const Json* usage = json->get("usage"); usage != nullptr && usage->is_object()) {
    if (const Json* n = usage->get("prompt_tokens"); n != nullptr && n->is_int()) result.prompt_tokens = n->as_int();
    if (const Json* n = usage->get("completion_tokens"); n != nullptr && n->is_int())
      result.output_tokens = n->as_int();
  }
  return facts;
}

// Cuts a byte stream into SSE events and keeps the times of those with text.
class EventTimes {
 public:
  EventTimes(BenchResult& result, SteadyClock::time_point sent) : result_(result), sent_(sent) {}

  // False at [DONE] or an error.
  bool feed(std::string_view bytes) {
    double now = Seconds(SteadyClock::now() - sent_).count();
    pending_ += bytes;
    size_t begin = 0;
    bool more = true;
    for (size_t end; more && (end = pending_.find('\n', begin)) != std::string::npos; begin = end + 1) {
      more = line(std::string_view(pending_).substr(begin, end - begin), now);
    }
    pending_.erase(0, begin);
    return more;
  }
  bool done() const { return done_; }
  int64_t n_chunks() const { return n_chunks_; }

 private:
  bool line(std::string_view text, double now) {
    if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
    if (text.substr(0, 5) != "data:") return true;
    text.remove_prefix(text.substr(0, 6) == "data: " ? 6 : 5);
    if (text == "[DONE]") {
      done_ = true;
      return false;
    }
    ChunkFacts facts = read_chunk(text, result_);
    if (!facts.error.empty()) {
      result_.error = facts.error;
      return false;
    }
    if (facts.has_text) {
      if (n_chunks_++ == 0) {
        result_.ttft_s = now;
      } else {
        result_.itl_s.push_back(now - result_.e2e_s);
      }
      result_.e2e_s = now;
    }
    return true;
  }

  BenchResult& result_;
  SteadyClock::time_point sent_;
  std::string pending_;
  bool done_ = false;
  int64_t n_chunks_ = 0;
};

http::request<http::string_body> post_of(const BenchTarget& target, const std::string& body) {
  http::request<http::string_body> out(http::verb::post, target.path, 11);
  out.set(http::field::host, target.host + ":" + target.port);
  out.set(http::field::content_type, "application/json");
  for (const auto& [name, value] : target.headers) out.set(name, value);
  out.body() = body;
  out.prepare_payload();
  return out;
}

asio::awaitable<void> exchange(const BenchTarget& target, const tcp::resolver::results_type& where,
                               const std::string& body, BenchResult& result, SteadyClock::time_point sent) {
  beast::tcp_stream stream(co_await asio::this_coro::executor);
  stream.expires_after(kRequestTimeout);
  co_await stream.async_connect(where, asio::use_awaitable);
  stream.socket().set_option(tcp::no_delay(true));
  http::request<http::string_body> request = post_of(target, body);
  co_await http::async_write(stream, request, asio::use_awaitable);

  beast::flat_buffer buffer;
  http::response_parser<http::buffer_body> parser;
  parser.body_limit(boost::none);
  co_await http::async_read_header(stream, buffer, parser, asio::use_awaitable);
  bool good = parser.get().result() == http::status::ok;
  EventTimes events(result, sent);
  std::string failure;
  char piece[16384];
  bool more = true;
  while (more && !parser.is_done()) {
    parser.get().body().data = piece;
    parser.get().body().size = sizeof piece;
    beast::error_code error;
    co_await http::async_read_some(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
    if (error && error != http::error::need_buffer) {
      result.error = "connection: " + error.message();
      co_return;
    }
    std::string_view got(piece, sizeof piece - parser.get().body().size);
    if (good) {
      more = events.feed(got);
    } else if (failure.size() < 500) {
      failure += got;
    }
  }
  if (!good) result.error = fmt::format("HTTP {}: {}", parser.get().result_int(), failure.substr(0, 500));
  if (result.error.empty() && !events.done()) result.error = "the stream ended without [DONE]";
  if (result.error.empty() && events.n_chunks() == 0) result.error = "the stream carried no text";
  if (result.output_tokens == 0) result.output_tokens = events.n_chunks();
}

}  // namespace

Result<BenchTarget> parse_bench_url(const std::string& base_url, const std::string& endpoint) {
  constexpr std::string_view kScheme = "http://";
  if (base_url.rfind(kScheme, 0) != 0) {
    return Error{ErrorCode::kUsage, fmt::format("--base-url {}: want http://HOST:PORT", quote_for_message(base_url)),
                 "--base-url"};
  }
  std::string rest = base_url.substr(kScheme.size());
  size_t slash = std::min(rest.find('/'), rest.size());
  std::string base = rest.substr(slash);
  while (!base.empty() && base.back() == '/') base.pop_back();
  std::string authority = rest.substr(0, slash);
  size_t colon = authority.rfind(':');
  BenchTarget out;
  out.host = authority.substr(0, colon);
  out.port = colon == std::string::npos ? "80" : authority.substr(colon + 1);
  out.path = base + endpoint;
  return out;
}

BenchRun run_bench(const BenchTarget& target, const std::vector<BenchRequest>& requests, int64_t max_concurrency,
                   void (*progress)(size_t, size_t)) {
  asio::io_context io(1);
  BenchRun run;
  run.results.resize(requests.size());
  beast::error_code resolve_error;
  auto where = tcp::resolver(io).resolve(target.host, target.port, resolve_error);
  if (resolve_error) {
    for (BenchResult& result : run.results) result.error = "resolve: " + resolve_error.message();
    return run;
  }
  Slots slots(io, max_concurrency);
  auto start = SteadyClock::now();
  size_t n_done = 0;
  auto one = [&](size_t i) -> asio::awaitable<void> {
    BenchResult& result = run.results[i];
    asio::steady_timer timer(io,
                             start + std::chrono::duration_cast<SteadyClock::duration>(Seconds(requests[i].arrival_s)));
    co_await timer.async_wait(asio::use_awaitable);
    co_await slots.acquire();
    auto sent = SteadyClock::now();
    result.sent_s = Seconds(sent - start).count();
    try {
      co_await exchange(target, where, requests[i].body, result, sent);
    } catch (const boost::system::system_error& error) {
      result.error = "connection: " + error.code().message();
    }
    run.duration_s = std::max(run.duration_s, Seconds(SteadyClock::now() - start).count());
    slots.release();
    if (progress != nullptr) progress(++n_done, requests.size());
  };
  for (size_t i = 0; i < requests.size(); ++i) asio::co_spawn(io, one(i), asio::detached);
  io.run();
  run.max_concurrent = slots.most();
  return run;
}

int http_get_status(const BenchTarget& target, const std::string& path) {
  asio::io_context io(1);
  beast::error_code error;
  auto where = tcp::resolver(io).resolve(target.host, target.port, error);
  if (error) return 0;
  beast::tcp_stream stream(io);
  stream.connect(where, error);
  if (error) return 0;
  http::request<http::empty_body> request(http::verb::get, path, 11);
  request.set(http::field::host, target.host + ":" + target.port);
  http::write(stream, request, error);
  if (error) return 0;
  beast::flat_buffer buffer;
  http::response<http::string_body> response;
  http::read(stream, buffer, response, error);
  return error ? 0 : static_cast<int>(response.result_int());
}

Result<HttpAnswer> http_post(const BenchTarget& target, const std::string& body) {
  auto failed = [&](const beast::error_code& error) {
    return Error{ErrorCode::kIo, fmt::format("{}:{}: {}", target.host, target.port, error.message()), ""};
  };
  asio::io_context io(1);
  beast::error_code error;
  auto where = tcp::resolver(io).resolve(target.host, target.port, error);
  if (error) return failed(error);
  beast::tcp_stream stream(io);
  stream.connect(where, error);
  if (error) return failed(error);
  http::request<http::string_body> request = post_of(target, body);
  http::write(stream, request, error);
  if (error) return failed(error);
  beast::flat_buffer buffer;
  http::response<http::string_body> response;
  http::read(stream, buffer, response, error);
  if (error) return failed(error);
  return HttpAnswer{.status = static_cast<int>(response.result_int()), .body = std::move(response.body())};
}

}  // namespace millrace::app
