// Configuration of the scheduler. Plain numbers; the engine validates them once (Engine::validate).
#pragma once

#include <cstdint>

#include "base/ids.h"

namespace millrace::sched {

// kFcfs: arrival order, every band counts as 0. kPriority: higher band first, then arrival.
enum class OrderKind : uint8_t { kFcfs, kPriority };
// kNoEvictPeak: a request is admitted only when the predicted peak fits; nothing is ever preempted.
// kMaxUtil: admitted when its prompt fits now; preemption by recompute when the pool runs out.
enum class AdmitKind : uint8_t { kNoEvictPeak, kMaxUtil };

struct SchedOptions {
  OrderKind order = OrderKind::kFcfs;
  AdmitKind admit = AdmitKind::kMaxUtil;
  uint32_t max_live = 256;          // sequences with a slot (max_num_seqs)
  uint32_t tok_cap = 1024;          // rows the workspace of the backend holds; >= max_live + c_min
  uint32_t budget_tokens = 512;     // Static budget: rows of a step when prefills wait; decodes always fit
  uint32_t c_min = 6;               // least prefill rows of a step with a prefill (CPU: one GEMM row tile)
  uint32_t depth = 1;               // steps in flight: 1 on CPU
  uint32_t k_bypass = 16;           // a waiting request passed over this often becomes a barrier
  Tick barrier_age = 2 * kSecond;   // and so does one that waited this long
  uint32_t k_preempt = 3;           // after so many preemptions only the head may take a sequence's blocks
  bool preempt_lower_bands = true;  // a waiting request may take blocks from live sequences of lower bands
};

// Most rows of one sequence in a step.
constexpr uint32_t max_chunk(const SchedOptions& options) {
  uint32_t rows = options.budget_tokens > options.c_min ? options.budget_tokens : options.c_min;
  return rows < options.tok_cap ? rows : options.tok_cap;
}

}  // namespace millrace::sched
