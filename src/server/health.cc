#include "server/health.h"

#include <fmt/core.h>

namespace millrace::server {
namespace {

std::string_view state_name(HealthState state) {
  switch (state) {
    case HealthState::kLoading:
      return "loading";
    case HealthState::kReady:
      return "ready";
    case HealthState::kDraining:
      return "draining";
    case HealthState::kStalled:
      return "stalled";
    case HealthState::kDead:
      return "dead";
  }
  return "";
}

}  // namespace

HealthState health_state(ServerContext& context) {
  instance::Instance* instance = context.instance.load(std::memory_order_acquire);
  if (instance != nullptr) {
    if (instance->state() == instance::InstanceState::kDead) return HealthState::kDead;
    if (instance->stall_age() >= context.options.limits[LimitId::kLiveStallSeconds] * kSecond)
      return HealthState::kStalled;
  }
  if (!context.serving()) return HealthState::kDraining;
  return instance == nullptr ? HealthState::kLoading : HealthState::kReady;
}

int probe_status(Probe probe, HealthState state) {
  constexpr int kOk = 200;
  constexpr int kUnavailable = 503;
  switch (state) {
    case HealthState::kLoading:
    case HealthState::kDraining:
      return probe == Probe::kLive ? kOk : kUnavailable;
    case HealthState::kReady:
      return kOk;
    case HealthState::kStalled:
    case HealthState::kDead:
      return kUnavailable;
  }
  return kUnavailable;
}

HttpReply health_reply(ServerContext& context, Probe probe) {
  HealthState state = health_state(context);
  int status = probe_status(probe, state);
  Json body = Json::object();
  body.set("status", status == 200 ? "ok" : state == HealthState::kLoading ? "loading" : "unavailable");
  body.set("state", state_name(state));
  engine::EngineStats stats;
  int64_t age_ms = 0;
  if (instance::Instance* instance = context.instance.load(std::memory_order_acquire)) {
    stats = instance->stats();
    age_ms = instance->stall_age() / kMillisecond;
  }
  uint32_t used = stats.kv_blocks_active + stats.kv_blocks_cooling;
  body.set("running", static_cast<int64_t>(stats.n_running));
  body.set("waiting", static_cast<int64_t>(stats.n_waiting));
  body.set("kv_used", stats.kv_blocks_total == 0 ? 0.0 : static_cast<double>(used) / stats.kv_blocks_total);
  body.set("last_step_age_ms", age_ms);
  if (status == 200) return json_reply(body.dump());
  ErrorCode code = state == HealthState::kLoading    ? ErrorCode::kLoading
                   : state == HealthState::kDraining ? ErrorCode::kDraining
                                                     : ErrorCode::kEngineDead;
  std::string message =
      state == HealthState::kLoading ? "Loading model" : fmt::format("the engine is {}", state_name(state));
  HttpReply reply = context.error_reply({Error{code, message, ""}});
  if (auto envelope = parse_json(reply.body); envelope.ok() && envelope->find("error") != nullptr) {
    body.set("error", *envelope->find("error"));
  }
  reply.body = body.dump();
  reply.close = false;
  return reply;
}

}  // namespace millrace::server
