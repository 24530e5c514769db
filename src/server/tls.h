// TLS of one connection between bytes and bytes: what comes from the socket goes in, plain text comes out, and the
// other way round; sockets, waits and deadlines stay with Connection. OpenSSL 3, TLS 1.2 and 1.3, no renegotiation.
// Thread: TlsContext any; TlsSession the IoThread of its connection.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace::server {

struct TlsOptions {
  std::string certfile;  // PEM, the chain; empty: no TLS
  std::string keyfile;   // PEM; empty: in certfile
  std::string ca_certs;  // PEM: who signs the certificates of clients
  int cert_reqs = 0;     // of clients: 0 none, 1 checked if they have one, 2 needed
};

class TlsSession;

class TlsContext {
 public:
  // kUsage names the file and what is wrong with it.
  static Result<std::shared_ptr<TlsContext>> load(const TlsOptions& options);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  // The server's side of one connection; keeps what it needs of this context.
  std::unique_ptr<TlsSession> accept() const;

 private:
  struct Native;
  explicit TlsContext(std::unique_ptr<Native> native);
  std::unique_ptr<Native> native_;
};

class TlsSession {
 public:
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  // Takes what the socket received; appends plain text to `plain` and what must be sent (handshakes, alerts) to `wire`.
  // False: the connection is over, after `wire`.
  bool receive(std::string_view bytes, std::string& plain, std::string& wire);
  // Appends `plain` in records to `wire`; nothing before the handshake is done.
  void seal(std::string_view plain, std::string& wire);
  // The last record.
  void close(std::string& wire);

 private:
  friend class TlsContext;
  struct Native;
  explicit TlsSession(std::unique_ptr<Native> native);
  void take_wire(std::string& wire);
  std::unique_ptr<Native> native_;
};

}  // namespace millrace::server
