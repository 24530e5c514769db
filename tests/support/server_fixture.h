// A running HttpServer on a free port of the loopback with an echo instance behind it. Thread: one at a time.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "base/limits.h"
#include "base/macros.h"
#include "server/context.h"
#include "server/http_server.h"
#include "tests/support/echo_instance.h"
#include "tests/support/http_client.h"

namespace millrace::testing {

inline bool eventually(const std::function<bool()>& condition, int timeout_ms = kHangMs) {
  auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

inline server::ServerOptions with_limit(LimitId id, int64_t value) {
  server::ServerOptions options;
  CHECK(options.limits.set(id, value).ok());
  return options;
}

class TestServer {
 public:
  explicit TestServer(server::ServerOptions options = {}, const EchoOptions& echo = {}) {
    start(std::move(options), [this, echo](const instance::ProgressFn&) {
      EchoInstance made = make_echo(echo);
      backend_ = made.switches;
      return Result<std::unique_ptr<instance::Instance>>(std::move(made.instance));
    });
    CHECK(eventually([&] { return context().instance.load() != nullptr; }));
  }
  TestServer(server::ServerOptions options, server::InstanceProvider provider) {
    start(std::move(options), std::move(provider));
  }
  // A server with several models.
  TestServer(server::ServerOptions options, server::SeveralModels models) {
    start(std::move(options), {}, &models);
    CHECK(eventually([&] { return context().ready(); }));
  }
  ~TestServer() { (void)stop(); }

  uint16_t port() const { return server_->port(); }
  EchoSwitches& backend() { return *backend_; }
  server::ServerContext& context() { return server_->context(); }
  server::HttpServer& server() { return *server_; }
  instance::Instance& instance() { return *context().instance.load(); }
  // Drains; the result of run().
  Result<int> stop() {
    if (thread_.joinable()) {
      if (backend_ != nullptr) backend_->release();
      server_->shut_down();
      thread_.join();
    }
    return *result_;
  }
  bool ended() const { return ended_.load(); }

 private:
  void start(server::ServerOptions options, server::InstanceProvider provider,
             server::SeveralModels* several = nullptr) {
    set_log_level(LogLevel::kError);
    options.port = 0;
    auto bound = server::HttpServer::bind(std::move(options));
    CHECK(bound.ok(), "{}", bound.error().message);
    server_ = std::move(bound).value();
    if (several != nullptr) server_->serve_several(std::move(*several));
    thread_ = std::thread([this, provider = std::move(provider)] {
      result_ = server_->run(provider);
      ended_.store(true);
    });
  }

  std::unique_ptr<server::HttpServer> server_;
  std::shared_ptr<EchoSwitches> backend_;
  std::optional<Result<int>> result_;
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

// Keeps the text workers of one size busy until released or destroyed.
class BusyWorkers {
 public:
  BusyWorkers(TestServer& server, size_t n_bytes, int n_workers) {
    for (int i = 0; i < n_workers; ++i) {
      auto posted = server.instance().post_text_work(n_bytes, [this, free = free_] {
        ++n_busy_;
        free.wait();
      });
      CHECK(posted.ok());
    }
    CHECK(eventually([&] { return n_busy_ == n_workers; }));
  }
  ~BusyWorkers() { release(); }
  void release() {
    if (!std::exchange(released_, true)) gate_.set_value();
  }

 private:
  std::promise<void> gate_;
  std::shared_future<void> free_ = gate_.get_future().share();
  std::atomic<int> n_busy_{0};
  bool released_ = false;
};

}  // namespace millrace::testing
