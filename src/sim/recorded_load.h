// RecordedLoad: the requests of an event log (engine/event_log.h) as a workload, to be played under other policies,
// pools or machines: arrivals, prompts that share what they shared, answers as long as they were. Thread: one.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"
#include "sim/workload.h"

namespace millrace::sim {

// Each answer of a request is a request of its own with the same prompt; what ended without a token is left out.
// Prompts are cut into pieces of a KV block. kBadFile for bytes that are no event log, a log that does not replay to
// the same plans (how long answers were is not known then), and one without an answer.
Result<Workload> recorded_load(std::span<const uint8_t> log);

}  // namespace millrace::sim
