// Connection: one client. Reads requests one after the other, answers them in order, keeps bytes that arrive early, and
// sees at any time when the client has gone.
//  1. At most one read and one write are in flight; run() returns only after both have ended.
//  2. Every wait has a deadline (limits header_s, body_idle_s, keepalive_idle_s, send_stall_s).
//  3. After an error in the framing nothing more is read as a request.
// Thread: the IoThread that owns it.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "server/access_log.h"
#include "server/context.h"
#include "server/event.h"
#include "server/http_message.h"
#include "server/http_parser.h"
#include "server/io_thread.h"
#include "server/routes.h"

namespace millrace::server {

using Socket = boost::asio::generic::stream_protocol::socket;  // TCP or Unix

class Connection {
 public:
  // peer: its address for the log; may be empty.
  Connection(ServerContext& context, IoThread& io, Socket socket, std::string peer = {});
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  boost::asio::awaitable<void> run();

  // For handlers.
  ServerContext& context() { return *context_; }
  IoThread& io() { return *io_; }
  Event& event() { return event_; }
  // Set by event(): the client closed its side or the connection broke.
  bool gone() const { return gone_; }
  // Watches for that (and reads ahead a little). Call before each wait.
  void listen();
  void send(std::string bytes);
  size_t unsent() const { return out_.size() + flight_.size() - sent_; }
  // The socket took nothing for send_stall_s.
  bool stalled() const;
  TimePoint stall_deadline() const;
  void send_reply(const HttpRequest& request, HttpReply reply);
  // The head of a 200 whose body follows in chunks: to be sent together with the first one. `headers` replace common
  // ones of the same name.
  std::string begin_open_ended(const HttpRequest& request, std::string_view content_type, const Headers& headers);
  void close_after_this() { keep_ = false; }
  bool keeps_alive() const { return keep_; }
  // CORS and the request id, for every reply to this request, and its own headers, which go before common ones.
  Headers common_headers(const HttpRequest& request, const Headers& own) const;

 private:
  boost::asio::awaitable<bool> serve_one();
  boost::asio::awaitable<size_t> read_head();
  boost::asio::awaitable<bool> read_body(HttpParser& parser, const HttpRequest& head);
  boost::asio::awaitable<void> finish();
  boost::asio::awaitable<void> handle(HttpRequest request, const Route& route, Principal who);
  boost::asio::awaitable<void> wait_for_reader();
  std::optional<HttpReply> refuse(const HttpRequest& request, const Route*& route, Principal& who);
  void refuse_bytes(const Error& error);
  void on_readable();
  void send_raw(std::string bytes);
  void begin_record(std::string method, std::string path);
  void note_reply(int status, const Headers& headers);
  void end_record();
  void write_more();
  size_t read_ahead_limit() const;

  ServerContext* context_;
  IoThread* io_;
  Socket socket_;
  Event event_;
  std::string peer_;
  std::unique_ptr<TlsSession> tls_;     // null: plain HTTP
  HttpSample sample_;                   // of the request that is answered, for http_*
  std::optional<AccessRecord> record_;  // of the request that is answered, if it is logged
  std::string in_;                      // received and not parsed yet
  std::string out_;                     // to be sent
  std::string flight_;                  // being sent
  size_t sent_ = 0;                     // bytes of flight_
  TimePoint progress_;                  // when the socket last took bytes
  bool reading_ = false;
  bool writing_ = false;
  bool gone_ = false;
  bool keep_ = true;
  bool linger_ = false;  // request bytes may still come: read them before closing, else the reply is lost
  bool handling_ = false;
  uint64_t n_requests_ = 0;
};

}  // namespace millrace::server
