// The functions of include/millrace.h. No exception leaves them.
#include <millrace.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "app/commands.h"
#include "app/embedded_server.h"

struct millrace_server {
  std::unique_ptr<millrace::app::EmbeddedServer> server;
};

namespace {

constexpr int64_t kLongestWait = 1'000'000'000;  // ms

void put(std::string_view message, char* error, size_t error_size) {
  if (error == nullptr || error_size == 0) return;
  size_t n = std::min(message.size(), error_size - 1);
  std::memcpy(error, message.data(), n);
  error[n] = '\0';
}

}  // namespace

extern "C" {

int32_t millrace_abi(void) { return MILLRACE_ABI; }

millrace_server* millrace_start(const char* const* args, size_t n_args, char* error, size_t error_size) {
  try {
    std::vector<std::string> flags(args, args + n_args);
    auto started = millrace::app::EmbeddedServer::start(flags);
    if (started.ok()) return new millrace_server{std::move(*started)};
    put(started.error().message, error, error_size);
  } catch (const std::exception& thrown) {  // out of memory or threads
    put(thrown.what(), error, error_size);
  }
  return nullptr;
}

const char* millrace_url(const millrace_server* server) { return server->server->url().c_str(); }

int32_t millrace_wait_ready(millrace_server* server, int64_t timeout_ms, char* error, size_t error_size) {
  try {
    auto ready =
        server->server->wait_ready(std::chrono::milliseconds(std::clamp<int64_t>(timeout_ms, 0, kLongestWait)));
    if (ready.ok()) return *ready ? 1 : 0;
    put(ready.error().message, error, error_size);
  } catch (const std::exception& thrown) {
    put(thrown.what(), error, error_size);
  }
  return -1;
}

int32_t millrace_stop(millrace_server* server) {
  if (server == nullptr) return 0;
  auto status = server->server->stop();
  delete server;
  return status.ok() ? *status : millrace::app::exit_code(status.error().code);
}

}  // extern "C"
