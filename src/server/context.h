// ServerContext: what all connections share. Thread: any (atomics, and parts that are themselves safe from any thread).
#pragma once

#include <atomic>
#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <string>

#include "api/errors.h"
#include "base/clock.h"
#include "instance/instance.h"
#include "server/hot_settings.h"
#include "server/http_message.h"
#include "server/metrics.h"
#include "server/occupancy.h"
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
  SystemClock clock;
  std::atomic<instance::Instance*> instance{nullptr};  // null while loading
  std::atomic<Lifecycle> lifecycle{Lifecycle::kServing};
  std::atomic<double> load_fraction{0.0};
  std::atomic<int64_t> body_bytes{0};  // of bodies that are being received
  std::atomic<uint32_t> n_connections{0};
  std::atomic<uint32_t> n_generations{0};  // generation requests not answered in full
  std::atomic<uint32_t> n_calls{0};        // requests received in full and not answered in full
  const Tick started = clock.now();
  const int64_t started_unix = static_cast<int64_t>(std::time(nullptr));

  bool serving() const { return lifecycle.load(std::memory_order_acquire) == Lifecycle::kServing; }
  // The instance, or why a request cannot be taken: kLoading, kDraining, kEngineDead.
  Result<instance::Instance*> usable_instance();
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
  Occupancy<std::string> addresses_;
  Occupancy<uint32_t> keys_in_use_;
};

}  // namespace millrace::server
