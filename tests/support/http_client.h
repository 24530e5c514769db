// A small blocking HTTP/1.1 client for tests: raw bytes out, parsed replies in. Failures are empty results, never waits
// for ever. Thread: one at a time.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace millrace::testing {

constexpr int kHangMs = 120'000;  // no verdict: only what would never come takes so long, on any machine

struct ClientReply {
  int status = 0;
  std::string head;                 // status line and headers
  std::string body;                 // chunks joined
  std::vector<std::string> chunks;  // of a chunked reply
  bool complete = false;

  // Value of a header (name in any case as the server writes it), or nothing.
  std::optional<std::string> header(std::string_view name) const {
    std::string key = "\r\n" + std::string(name) + ": ";
    size_t at = head.find(key);
    if (at == std::string::npos) return std::nullopt;
    at += key.size();
    return head.substr(at, head.find("\r\n", at) - at);
  }
  Json json() const {
    auto parsed = parse_json(body);
    return parsed.ok() ? std::move(parsed).value() : Json();
  }
};

class HttpClient {
 public:
  explicit HttpClient(uint16_t port) {
    fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, static_cast<sockaddr*>(static_cast<void*>(&address)), sizeof(address)) == 0;
  }
  // Over a Unix socket.
  explicit HttpClient(const std::string& path) {
    fd_ = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    connected_ = ::connect(fd_, static_cast<sockaddr*>(static_cast<void*>(&address)), sizeof(address)) == 0;
  }
  ~HttpClient() { close(); }
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  bool connected() const { return connected_; }
  void set_receive_buffer(int bytes) { ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)); }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  // Ends this side; the other one can still answer.
  void end_sending() { ::shutdown(fd_, SHUT_WR); }
  // Closes with a reset instead of an orderly end.
  void reset() {
    linger now{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close();
  }
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  // More bytes into the buffer; false at end of stream, error or after timeout_ms.
  bool receive(int timeout_ms = kHangMs) {
    pollfd wait{fd_, POLLIN, 0};
    if (::poll(&wait, 1, timeout_ms) <= 0) return false;
    char bytes[16384];
    ssize_t n = ::recv(fd_, bytes, sizeof(bytes), 0);
    if (n <= 0) {
      closed_ = true;
      return false;
    }
    buffer_.append(bytes, static_cast<size_t>(n));
    return true;
  }
  // True once the server has closed its side (reads what is left).
  bool wait_closed(int timeout_ms = kHangMs) {
    auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    while (!closed_ && std::chrono::steady_clock::now() < end) receive(50);
    return closed_;
  }
  std::string& buffer() { return buffer_; }

  ClientReply read_reply(int timeout_ms = kHangMs, bool head_only = false) {
    ClientReply reply;
    while (buffer_.find("\r\n\r\n") == std::string::npos) {
      if (!receive(timeout_ms)) return reply;
    }
    size_t end = buffer_.find("\r\n\r\n");
    reply.head = buffer_.substr(0, end + 2);
    buffer_.erase(0, end + 4);
    std::string_view status = std::string_view(reply.head).substr(9, 3);
    std::from_chars(status.data(), status.data() + status.size(), reply.status);
    if (head_only || reply.status == 100 || reply.status == 204) {
      reply.complete = true;
      return reply;
    }
    if (auto length = reply.header("Content-Length")) {
      size_t n = 0;
      std::from_chars(length->data(), length->data() + length->size(), n);
      while (buffer_.size() < n && receive(timeout_ms)) {
      }
      reply.complete = buffer_.size() >= n;
      reply.body = buffer_.substr(0, n);
      buffer_.erase(0, n);
    } else if (reply.header("Transfer-Encoding")) {
      reply.complete = read_chunks(reply, timeout_ms);
    } else {
      while (receive(timeout_ms)) {
      }
      reply.body.swap(buffer_);
      reply.complete = closed_;
    }
    return reply;
  }
  ClientReply request(std::string_view bytes) {
    send(bytes);
    return read_reply();
  }
  static std::string post_bytes(std::string_view path, std::string_view body, std::string_view headers = {}) {
    std::string out = "POST " + std::string(path) + " HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n";
    out += headers;
    out += "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n";
    return out + std::string(body);
  }
  ClientReply post(std::string_view path, std::string_view body, std::string_view headers = {}) {
    return request(post_bytes(path, body, headers));
  }
  ClientReply get(std::string_view path, std::string_view headers = {}) {
    return request("GET " + std::string(path) + " HTTP/1.1\r\nHost: t\r\n" + std::string(headers) + "\r\n");
  }

 private:
  bool read_chunks(ClientReply& reply, int timeout_ms) {
    while (true) {
      size_t line = 0;
      while ((line = buffer_.find("\r\n")) == std::string::npos) {
        if (!receive(timeout_ms)) return false;
      }
      size_t n = 0;
      std::from_chars(buffer_.data(), buffer_.data() + line, n, 16);
      while (buffer_.size() < line + 2 + n + 2) {
        if (!receive(timeout_ms)) return false;
      }
      std::string chunk = buffer_.substr(line + 2, n);
      buffer_.erase(0, line + 2 + n + 2);
      if (n == 0) return true;
      reply.body += chunk;
      reply.chunks.push_back(std::move(chunk));
    }
  }

  int fd_ = -1;
  bool connected_ = false;
  bool closed_ = false;
  std::string buffer_;
};

// The JSON of each "data:" event of a stream, "[DONE]" as a string.
inline std::vector<Json> stream_events(std::string_view body) {
  std::vector<Json> out;
  while (!body.empty()) {
    size_t end = body.find("\n\n");
    if (end == std::string_view::npos) break;
    std::string_view event = body.substr(0, end);
    body.remove_prefix(end + 2);
    if (!event.starts_with("data: ")) continue;
    event.remove_prefix(6);
    if (event == "[DONE]") {
      out.emplace_back("[DONE]");
      continue;
    }
    auto parsed = parse_json(event);
    out.push_back(parsed.ok() ? std::move(parsed).value() : Json("unparsed"));
  }
  return out;
}

}  // namespace millrace::testing
