#include "server/health.h"

#include <fmt/core.h>

#include <algorithm>

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
  Tick limit = context.options.limits[LimitId::kLiveStallSeconds] * kSecond;
  bool stalled = context.models != nullptr && context.models->retiring_age() >= limit;
  for (const instance::ModelUse& use : context.loaded_models()) {
    if (use.instance()->state() == instance::InstanceState::kDead) return HealthState::kDead;
    stalled = stalled || use.instance()->stall_age() >= limit;
  }
  if (stalled) return HealthState::kStalled;
  if (!context.serving()) return HealthState::kDraining;
  return context.ready() ? HealthState::kReady : HealthState::kLoading;
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
  int64_t running = 0;
  int64_t waiting = 0;
  double kv_used = 0;  // of several models the fullest
  int64_t age_ms = 0;
  for (const instance::ModelUse& use : context.loaded_models()) {
    engine::EngineStats stats = use.instance()->stats();
    uint32_t used = stats.kv_blocks_active + stats.kv_blocks_cooling;
    running += stats.n_running;
    waiting += stats.n_waiting;
    if (stats.kv_blocks_total > 0) kv_used = std::max(kv_used, static_cast<double>(used) / stats.kv_blocks_total);
    age_ms = std::max(age_ms, static_cast<int64_t>(use.instance()->stall_age() / kMillisecond));
  }
  body.set("running", running);
  body.set("waiting", waiting);
  body.set("kv_used", kv_used);
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
