// LoadEstimate: measured speeds of the engine, for Retry-After and the predicted_* metrics. Exponential averages over
// steps; zero until the first step of a kind.
// Thread: on_step by the engine; the rest by any.
#pragma once

#include <atomic>
#include <cstdint>

#include "engine/engine.h"

namespace millrace::instance {

class LoadEstimate {
 public:
  void on_step(const engine::StepRecord& record);

  double prefill_tokens_per_s() const { return prefill_.load(std::memory_order_relaxed); }
  double decode_tokens_per_s() const { return decode_.load(std::memory_order_relaxed); }
  double itl_s() const { return itl_s_.load(std::memory_order_relaxed); }
  // Seconds until the queued prompt tokens are through; 0 when no speed is known.
  double drain_s(uint64_t queued_tokens) const;
  // Seconds to the first token of a new prompt behind what `stats` shows: by the engine's cost model once that knows
  // the machine, else by the average speed; 0 when neither is known.
  double ttft_s(const engine::EngineStats& stats, uint64_t prompt_tokens) const;

 private:
  std::atomic<double> prefill_{0.0};
  std::atomic<double> decode_{0.0};
  std::atomic<double> itl_s_{0.0};
};

}  // namespace millrace::instance
