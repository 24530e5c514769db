// ServerContext: what all connections share. Thread: any (atomics, and parts that are themselves safe from any thread).
#pragma once

#include <atomic>
#include <cstdint>
#include <ctime>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/errors.h"
#include "base/clock.h"
#include "instance/instance.h"
#include "instance/model_set.h"
#include "server/hot_settings.h"
#include "server/http_message.h"
#include "server/metrics.h"
#include "server/occupancy.h"
#include "server/open_requests.h"
#include "server/server_options.h"
#include "server/trace_exporter.h"

namespace millrace::server {

enum class Lifecycle : uint8_t {
  kServing,   // loading or ready: see `instance`
  kDraining,  // no new requests; running ones go on
  kStopping,  // connections end as soon as their last bytes are out
};

class ServerContext {
 public:
  ServerContext(ServerOptions options, bool loopback, std::shared_ptr<const TlsContext> tls = nullptr);

  const ServerOptions options;
  HotSlot hot;
  Metrics metrics;
  TraceExporter traces;
  OpenRequests open_requests;
  SystemClock clock;
  std::atomic<instance::Instance*> instance{nullptr};  // of a server with one model; null while loading
  instance::ModelSet* models = nullptr;                // of one with several; set before the IO threads start
  std::atomic<bool> models_ready{false};               // those to be loaded at the start are
  std::atomic<Lifecycle> lifecycle{Lifecycle::kServing};
  std::atomic<double> load_fraction{0.0};
  std::atomic<int64_t> body_bytes{0};  // of bodies that are being received
  std::atomic<uint32_t> n_connections{0};
  std::atomic<uint32_t> n_generations{0};  // generation requests not answered in full
  std::atomic<uint32_t> n_calls{0};        // requests received in full and not answered in full
  const Tick started = clock.now();
  const int64_t started_unix = static_cast<int64_t>(std::time(nullptr));

  bool serving() const { return lifecycle.load(std::memory_order_acquire) == Lifecycle::kServing; }
  bool ready() const;  // requests can be taken as far as the load goes
  // The model of a request that is answered at once: the only one, or of several a loaded one, by name (empty: the
  // default), or why it cannot be answered: kLoading, kDraining, kEngineDead, kModelNotFound. Requests that wait for
  // their model: model_choice.h.
  Result<instance::ModelUse> loaded_model(std::string_view name = {});
  // All that are loaded.
  std::vector<instance::ModelUse> loaded_models();
  // The numbers of requests to this model; they stay when it is unloaded.
  Metrics& metrics_of(const instance::Instance& instance);
  // The text of /metrics.
  std::string metrics_text();
  // Retry-After in seconds, 1..60.
  double retry_after_s();
  // The envelope of a dialect (none: this server's error style), with the retry headers of its code.
  HttpReply error_reply(const api::ApiError& error, std::optional<api::ErrorStyle> style = std::nullopt);

  // Keys, limits and certificate from now on; what else differs needs a restart. kUsage, and nothing changed, when the
  // files are bad or no key would be left.
  Result<void> reload(const ServerOptions& next);

  // Connections of one address; false when it has too many. An empty address (a Unix socket) is not counted.
  bool enter_address(const std::string& address);
  void leave_address(const std::string& address);
  // Requests with a body of one key, from their head to the end of the answer; tenant 0 (no keys are set) is not
  // counted. kKeyConcurrency when it has too many.
  Result<void> enter_key(uint32_t tenant);
  void leave_key(uint32_t tenant);

 private:
  std::mutex model_metrics_mutex_;
  std::map<std::string, std::unique_ptr<Metrics>> model_metrics_;  // guarded by model_metrics_mutex_; by name
  Occupancy<std::string> addresses_;
  Occupancy<uint32_t> keys_in_use_;
};

}  // namespace millrace::server
