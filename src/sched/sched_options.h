// Configuration of the scheduler. Plain numbers; the engine validates them once (Engine::validate). What the names of
// the policies mean: sched/policies.cc.
#pragma once

#include <cstdint>

#include "base/ids.h"

namespace millrace::sched {

enum class OrderKind : uint8_t { kFcfs, kPriority, kEdf, kLpm, kDfs, kVtc, kDlpm };
enum class AdmitKind : uint8_t { kNoEvictPeak, kMaxUtil, kPredictive, kReserve };
enum class BudgetKind : uint8_t { kStatic, kSlack, kExclusive, kPrefillFirst, kAlternate };

struct SchedOptions {
  OrderKind order = OrderKind::kFcfs;
  AdmitKind admit = AdmitKind::kMaxUtil;
  BudgetKind budget = BudgetKind::kStatic;
  uint32_t max_live = 256;          // sequences with a slot (max_num_seqs)
  uint32_t tok_cap = 1024;          // rows the workspace of the backend holds; >= max_live + c_min
  uint32_t budget_tokens = 512;     // most rows of a step when prefills wait; decodes and c_min always fit
  uint32_t c_min = 6;               // least prefill rows of a step with a prefill (CPU: one GEMM row tile)
  uint32_t row_tile = 6;            // rows of a step are a multiple of this where a budget can choose
  uint32_t depth = 1;               // steps in flight: 1 on CPU
  uint32_t k_bypass = 16;           // a waiting request passed over this often becomes a barrier
  Tick barrier_age = 2 * kSecond;   // and so does one that waited this long, and 3 times longer than is usual
  uint32_t k_preempt = 3;           // after so many preemptions only the head may take a sequence's blocks
  bool preempt_lower_bands = true;  // a waiting request may take blocks from live sequences of lower bands
  Tick itl_target = 0;              // Slack, Exclusive: time between two tokens of a stream; 0 = automatic
  Tick ttft_target = 0;             // edf: of requests that state none; 0 = none
  uint32_t quantum = 4096;          // dlpm: service units per round and unit of weight
  uint32_t n_candidates = 128;      // waiting requests that a plan looks at (W)
  uint32_t cost_split = 16;         // rows of a step up to which the first regime of the cost model holds
};

// Service units of fair policies: one per uncached prompt token, two per output token.
constexpr uint32_t kPromptUnits = 1;
constexpr uint32_t kOutputUnits = 2;

// Rows of one step that check proposals: the backend keeps the logits of each, 600 kB for a vocabulary of 150,000.
constexpr uint32_t kMostDraftRows = 64;

// Most rows of one sequence in a step.
constexpr uint32_t max_chunk(const SchedOptions& options) {
  uint32_t rows = options.budget_tokens > options.c_min ? options.budget_tokens : options.c_min;
  return rows < options.tok_cap ? rows : options.tok_cap;
}

}  // namespace millrace::sched
