// HttpServer: the listening socket, the IO threads and the life of the process: bind, load, serve, drain, stop.
//  1. The port is bound before the model loads; until it is there every route but the probes answers 503 loading.
//  2. The first SIGTERM or SIGINT drains, the second ends the process within 2 s.
// Thread: run() by the caller's; the rest any.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "instance/instance.h"
#include "instance/model_set.h"
#include "server/server_options.h"

namespace millrace::server {

class ServerContext;

// Makes the instance; called once on a thread of its own. The progress function returns false when the load should be
// given up.
using InstanceProvider = std::function<Result<std::unique_ptr<instance::Instance>>(const instance::ProgressFn&)>;

// Several models: where they come from, and which are loaded before the server is ready.
struct SeveralModels {
  instance::ModelSource source;
  instance::ModelSetOptions options;  // without the two functions, which the server sets
  std::vector<std::string> at_start;
};

using OptionsProvider = std::function<Result<ServerOptions>()>;
// Called once, when the models of the start are there and before anything is served; its error ends the server.
using LoadedHook = std::function<Result<void>()>;

class HttpServer {
 public:
  // kResource: cannot bind; kUsage: an open bind beyond loopback without a key.
  static Result<std::unique_ptr<HttpServer>> bind(ServerOptions options);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  uint16_t port() const;
  std::string url() const;
  ServerContext& context();

  // Loads and serves until drained or dead. The exit code: 0 drained, 5 engine dead; or the load's error.
  Result<int> run(const InstanceProvider& provider);
  // The same, with SIGTERM and SIGINT taken as shut_down().
  Result<int> run_with_signals(const InstanceProvider& provider);
  // Instead of one model; run() is then given an empty provider. Before run().
  void serve_several(SeveralModels models);
  // Reads the options again; called on the thread of run() after SIGHUP or a change of a watched file. Before run().
  void set_reload(OptionsProvider reload);
  // Before run().
  void set_on_loaded(LoadedHook hook);
  // As SIGHUP would.
  void hang_up();
  // As a first, or second, SIGTERM would.
  void shut_down();

 private:
  struct State;
  explicit HttpServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// What a server serves and asks of the program around it: `load` for one model, or `several`.
struct ServerParts {
  InstanceProvider load;
  std::optional<SeveralModels> several;
  OptionsProvider reload;
  LoadedHook on_loaded;
};

// bind() and run() with signals handled; logs one line with the URL once the model is ready.
Result<int> run_server(ServerOptions options, ServerParts parts);

}  // namespace millrace::server
