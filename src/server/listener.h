// Listener: the one listening socket, TCP or Unix.
//  1. A Unix socket is made with mode 0600 before it listens, and its file is removed at the end, if it is still ours.
//  2. A file left by a process that is gone is replaced; one that answers, or is no socket, is not touched.
// Thread: IO (the front loop); bind() and the destructor: the caller's, while the loop does not run.
#pragma once

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "server/server_options.h"

namespace millrace::server {

class Listener {
 public:
  using Acceptor = boost::asio::basic_socket_acceptor<boost::asio::generic::stream_protocol>;

  // kResource: cannot bind, with the system's text.
  static Result<Listener> bind(boost::asio::io_context& loop, const ServerOptions& options);
  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&&) = delete;
  ~Listener();

  Acceptor& acceptor() { return acceptor_; }
  uint16_t port() const { return port_; }  // 0: a Unix socket

 private:
  explicit Listener(Acceptor acceptor) : acceptor_(std::move(acceptor)) {}
  Acceptor acceptor_;
  uint16_t port_ = 0;
  std::string path_;  // to be removed; empty: none
  uint64_t inode_ = 0;
};

// Of the other side: an IP address, or empty for a Unix socket.
std::string peer_address(const boost::asio::generic::stream_protocol::endpoint& peer);

}  // namespace millrace::server
