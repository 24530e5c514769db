// EmbeddedServer: what `millrace serve` serves, inside another program: on threads of its own, without signals, and
// without a word about progress. include/millrace.h is its C face.
// Thread: any; nothing may follow stop().
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>

#include "base/result.h"
#include "server/http_server.h"

namespace millrace::app {

class EmbeddedServer {
 public:
  // args: as `millrace serve` takes them. kUsage: a bad flag (--help is one here); kResource: the socket. The model
  // loads after the return.
  static Result<std::unique_ptr<EmbeddedServer>> start(std::span<const std::string> args);
  ~EmbeddedServer();
  EmbeddedServer(const EmbeddedServer&) = delete;
  EmbeddedServer& operator=(const EmbeddedServer&) = delete;

  const std::string& url() const { return url_; }
  // True: the model is there; false: it still loads; an error: loading failed, or the server has ended.
  Result<bool> wait_ready(std::chrono::milliseconds timeout);
  // Drains and joins, once; a load is given up. The exit code of `millrace serve`, or the load's error.
  Result<int> stop();

 private:
  explicit EmbeddedServer(std::unique_ptr<server::HttpServer> server);

  std::unique_ptr<server::HttpServer> server_;
  std::string url_;
  std::mutex mutex_;
  std::condition_variable ended_;
  std::optional<Result<int>> exit_status_;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace millrace::app
