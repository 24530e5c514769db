#include "app/embedded_server.h"

#include <utility>

#include "app/serve_plan.h"
#include "base/macros.h"
#include "instance/instance.h"
#include "server/context.h"

namespace millrace::app {

Result<std::unique_ptr<EmbeddedServer>> EmbeddedServer::start(std::span<const std::string> args) {
  for (const std::string& arg : args) {
    if (arg == "--help" || arg == "-h")
      return Error{ErrorCode::kUsage, arg + " is no flag of a server inside a program", "--help"};
  }
  std::optional<ServePlan> plan = TRY(plan_serve(args, /*access_log=*/false));  // a program's stderr is its own
  CHECK(plan.has_value(), "only --help has no plan");
  std::unique_ptr<EmbeddedServer> out(new EmbeddedServer(TRY(server::HttpServer::bind(std::move(plan->server)))));
  if (plan->several) out->server_->serve_several(several_models(*plan->several, plan->model));
  out->thread_ = std::thread([self = out.get(), model = std::move(plan->model)] {
    Result<int> status =
        self->server_->run([&](const instance::ProgressFn& go_on) { return instance::Instance::load(model, go_on); });
    std::lock_guard lock(self->mutex_);
    self->exit_status_ = std::move(status);
    self->ended_.notify_all();
  });
  return out;
}

EmbeddedServer::EmbeddedServer(std::unique_ptr<server::HttpServer> server)
    : server_(std::move(server)), url_(server_->url()) {}

EmbeddedServer::~EmbeddedServer() { (void)stop(); }

Result<bool> EmbeddedServer::wait_ready(std::chrono::milliseconds timeout) {
  constexpr auto kLook = std::chrono::milliseconds(5);
  auto deadline = std::chrono::steady_clock::now() + timeout;
  std::unique_lock lock(mutex_);
  while (!exit_status_) {
    if (server_->context().ready()) return true;
    auto now = std::chrono::steady_clock::now();
    if (now >= deadline) return false;
    ended_.wait_until(lock, std::min(deadline, now + kLook));
  }
  if (!exit_status_->ok()) return exit_status_->error();
  return Error{ErrorCode::kInternal, "the server has ended", ""};
}

Result<int> EmbeddedServer::stop() {
  if (thread_.joinable()) {
    server_->shut_down();
    thread_.join();
  }
  std::lock_guard lock(mutex_);
  if (!exit_status_->ok()) return exit_status_->error();
  return **exit_status_;
}

}  // namespace millrace::app
