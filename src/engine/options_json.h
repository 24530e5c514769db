// EngineOptions, and what stands beside an engine, as JSON and back: the head of an event log. A field of EngineOptions
// or SchedOptions that changes a plan needs its row in options_json.cc.
#pragma once

#include "base/json.h"
#include "base/result.h"
#include "engine/engine.h"

namespace millrace::engine {

// What an engine was made of, as far as it decides plans.
struct RecordedSetup {
  EngineOptions options;  // without tier and sessions
  bool sessions = false;
  bool has_tier = false;
  flow::TierName tier_layout = {};
  uint32_t tier_max_load_blocks = 0;
};

Json setup_to_json(const EngineOptions& options);
// kBadFile.
Result<RecordedSetup> setup_from_json(const Json& json);

Json options_to_json(const EngineOptions& options);
// Members that are absent keep their defaults; kBadFile names one that is unknown or out of range.
Result<EngineOptions> options_from_json(const Json& json);

}  // namespace millrace::engine
