// The probes of API.md 6.3. They read atomics and one copy of the engine's statistics, never a queue.
// Thread: any.
#pragma once

#include "server/context.h"
#include "server/http_message.h"

namespace millrace::server {

enum class Probe : uint8_t { kHealth, kLive, kReady };

enum class HealthState : uint8_t { kLoading, kReady, kDraining, kStalled, kDead };

HealthState health_state(ServerContext& context);
// The table: 200 or 503.
int probe_status(Probe probe, HealthState state);
HttpReply health_reply(ServerContext& context, Probe probe);

}  // namespace millrace::server
