// EngineOptions as JSON and back: the head of an event log. A field of EngineOptions or SchedOptions that changes a
// plan needs its row in options_json.cc.
#pragma once

#include "base/json.h"
#include "base/result.h"
#include "engine/engine.h"

namespace millrace::engine {

Json options_to_json(const EngineOptions& options);
// Members that are absent keep their defaults; kBadFile names one that is unknown or out of range.
Result<EngineOptions> options_from_json(const Json& json);

}  // namespace millrace::engine
