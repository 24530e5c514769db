// Replay: an event log (engine/event_log.h) played to a new engine; every plan must be the one that was made then.
// Thread: one.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"

namespace millrace::sim {

struct ReplayReport {
  uint64_t n_calls = 0;  // of Engine::step()
  uint64_t n_plans = 0;  // made, all equal to the recorded ones unless `difference`
  uint64_t n_requests = 0;
  uint64_t plans_hash = 0;
  bool complete = false;                  // the log was closed by its engine
  std::optional<std::string> difference;  // the first plan that is not the recorded one
  engine::EngineStats stats;
  std::vector<engine::StepRecord> steps;  // as retired, with what the cost model said then and what they took
};

// How far predictions of steps that computed were off, as parts of what was measured: the median and the 95th of 100.
struct PredictionError {
  double median = 0;
  double p95 = 0;
};
PredictionError prediction_error(std::span<const engine::StepRecord> steps);

// One line a step: rows, contexts, predicted and measured time in us.
std::string steps_csv(std::span<const engine::StepRecord> steps);

// kBadFile for bytes that are no event log. `sink` hears what the engine tells; or nullptr.
Result<ReplayReport> replay(std::span<const uint8_t> log, flow::EventSink* sink = nullptr);

}  // namespace millrace::sim
