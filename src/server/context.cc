#include "server/context.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

#include "base/macros.h"

namespace millrace::server {
namespace {

constexpr double kMinRetry = 1.0;  // API.md 5.2
constexpr double kMaxRetry = 60.0;
constexpr double kJitter = 0.2;  // so that refused clients do not come back together

double jitter() {
  thread_local std::minstd_rand generator{std::random_device{}()};
  return std::uniform_real_distribution<double>(1.0 - kJitter, 1.0 + kJitter)(generator);
}

HotSettings settings_of(const ServerOptions& from, Keys keys, std::shared_ptr<const TlsContext> tls) {
  return {.keys = std::move(keys),
          .requests_per_key = from.limits[LimitId::kRequestsPerKey],
          .connections_per_ip = from.limits[LimitId::kConnectionsPerIp],
          .tls = std::move(tls)};
}

}  // namespace

ServerContext::ServerContext(ServerOptions all, bool loopback, std::shared_ptr<const TlsContext> tls)
    : options(std::move(all)),
      hot(settings_of(options,
                      Keys(options.api_keys, options.admin_keys, options.metrics_auth, !loopback && !options.allow_open,
                           options.n_gateway_keys),
                      std::move(tls))),
      traces(options.traces) {}

Result<void> ServerContext::reload(const ServerOptions& next) {
  bool had_keys = !options.api_keys.empty() || !options.admin_keys.empty();
  if (had_keys && next.api_keys.empty() && next.admin_keys.empty()) {
    return Error{ErrorCode::kUsage, "no key would be left: the old ones stay", ""};
  }
  std::shared_ptr<const HotSettings> now = hot.get();
  std::shared_ptr<const TlsContext> tls;
  if (now->tls != nullptr) tls = TRY(TlsContext::load(next.tls));
  hot.set(settings_of(next, now->keys.replaced(next.api_keys, next.admin_keys, next.n_gateway_keys), std::move(tls)));
  return {};
}

bool ServerContext::ready() const {
  return models == nullptr ? instance.load(std::memory_order_acquire) != nullptr : models_ready.load();
}

Result<instance::ModelUse> ServerContext::loaded_model(std::string_view name) {
  if (!serving()) return Error{ErrorCode::kDraining, "the server is shutting down", ""};
  if (!ready()) return Error{ErrorCode::kLoading, "Loading model", ""};
  instance::ModelUse use;
  if (models == nullptr) {
    use = instance::ModelUse(*instance.load(std::memory_order_acquire));
  } else {
    use = TRY(models->look(name));
  }
  if (use.instance()->state() == instance::InstanceState::kDead) {
    return Error{ErrorCode::kEngineDead, "the engine has stopped", ""};
  }
  return use;
}

std::vector<instance::ModelUse> ServerContext::loaded_models() {
  if (models != nullptr) return models->loaded();
  std::vector<instance::ModelUse> out;
  instance::Instance* only = instance.load(std::memory_order_acquire);
  if (only != nullptr) out.emplace_back(*only);
  return out;
}

Metrics& ServerContext::metrics_of(const instance::Instance& of) {
  if (models == nullptr) return metrics;
  std::lock_guard lock(model_metrics_mutex_);
  std::unique_ptr<Metrics>& one = model_metrics_[of.facts().served_names.front()];
  if (one == nullptr) one = std::make_unique<Metrics>();
  return *one;
}

std::string ServerContext::metrics_text() {
  const BuildLabels build{.version = options.version, .commit = options.commit, .old_names = options.hidden_metrics};
  if (options.kv_event_counts) {
    KvEventCounts counts = options.kv_event_counts();
    metrics.take_kv_events(counts.n_sent, counts.n_dropped);
  }
  if (models == nullptr) return metrics.text(instance.load(std::memory_order_acquire), build);
  std::vector<instance::ModelUse> uses = models->loaded();
  std::vector<MetricsOfModel> all;
  std::lock_guard lock(model_metrics_mutex_);
  for (const auto& [name, one] : model_metrics_) {
    MetricsOfModel row{.model = name, .metrics = one.get()};
    for (const instance::ModelUse& use : uses) {
      if (use.instance()->facts().served_names.front() == name) row.instance = use.instance();
    }
    all.push_back(row);
  }
  return metrics.text_of_several(all, build);
}

double ServerContext::retry_after_s() {
  double wait = kMinRetry;
  if (ready()) {
    for (const instance::ModelUse& use : loaded_models()) {
      instance::Instance& one = *use.instance();
      wait = std::max(wait, one.estimate().drain_s(one.stats().queued_tokens));
    }
  } else {
    double fraction = load_fraction.load(std::memory_order_relaxed);
    double elapsed = static_cast<double>(clock.now() - started) / static_cast<double>(kSecond);
    wait = fraction > 0.0 ? elapsed * (1.0 - fraction) / fraction : elapsed;
  }
  return std::clamp(std::ceil(wait) * jitter(), kMinRetry, kMaxRetry);
}

HttpReply ServerContext::error_reply(const api::ApiError& error, std::optional<api::ErrorStyle> style) {
  const api::ErrorRow& row = api::error_row(error.error.code);
  api::ErrorStyle wanted = style.value_or(options.error_style);
  HttpReply reply = json_reply(api::error_body(error, wanted));
  reply.status = api::error_status(error.error.code, wanted);
  switch (row.retry) {
    case api::RetryPolicy::kNone:
    case api::RetryPolicy::kRetry:
      break;
    case api::RetryPolicy::kRetryAfter: {
      double wait = error.retry_after_s ? static_cast<double>(*error.retry_after_s) : retry_after_s();
      reply.headers.emplace_back("Retry-After", fmt::format("{}", static_cast<int>(std::lround(wait))));
      reply.headers.emplace_back("retry-after-ms", fmt::format("{}", static_cast<int>(wait * 1000.0)));
      break;
    }
    case api::RetryPolicy::kDoNotRetry:
      reply.headers.emplace_back("x-should-retry", "false");
      break;
  }
  if (row.status == 401) reply.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (error.error.code == ErrorCode::kDraining) reply.close = true;
  return reply;
}

bool ServerContext::enter_address(const std::string& address) {
  return address.empty() || addresses_.enter(address, hot.get()->connections_per_ip);
}

void ServerContext::leave_address(const std::string& address) {
  if (!address.empty()) addresses_.leave(address);
}

Result<void> ServerContext::enter_key(uint32_t tenant) {
  if (tenant == 0) return {};
  int64_t limit = hot.get()->requests_per_key;
  if (keys_in_use_.enter(tenant, limit)) return {};
  return Error{ErrorCode::kKeyConcurrency, fmt::format("more than {} requests of this key at a time", limit), ""};
}

void ServerContext::leave_key(uint32_t tenant) {
  if (tenant != 0) keys_in_use_.leave(tenant);
}

}  // namespace millrace::server
