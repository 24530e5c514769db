#include "instance/load_estimate.h"

#include <algorithm>

namespace millrace::instance {
namespace {

// Weight of a new step: about the last ten steps count, so an estimate follows a change of load within a second.
constexpr double kGain = 0.1;

void average(std::atomic<double>& value, double sample) {
  double old = value.load(std::memory_order_relaxed);
  value.store(old == 0.0 ? sample : old + kGain * (sample - old), std::memory_order_relaxed);
}

}  // namespace

void LoadEstimate::on_step(const engine::StepRecord& record) {
  if (!record.ok || record.took <= 0) return;
  double seconds = static_cast<double>(record.took) / static_cast<double>(kSecond);
  if (record.n_prefill_rows > 0) average(prefill_, record.n_prefill_rows / seconds);
  if (record.n_decode_rows > 0) {
    average(decode_, record.n_decode_rows / seconds);
    average(itl_s_, seconds);
  }
}

double LoadEstimate::drain_s(uint64_t queued_tokens) const {
  double speed = prefill_tokens_per_s();
  return speed > 0.0 ? static_cast<double>(queued_tokens) / speed : 0.0;
}

double LoadEstimate::ttft_s(const engine::EngineStats& stats, uint64_t prompt_tokens) const {
  uint64_t n_rows = stats.queued_tokens + stats.pending_prefill + prompt_tokens;
  if (stats.prefill_row == 0) return drain_s(n_rows);
  double rows_s = static_cast<double>(n_rows) * static_cast<double>(stats.prefill_row) / static_cast<double>(kSecond);
  return std::max(rows_s, itl_s());  // one step at least, however short the prompt
}

}  // namespace millrace::instance
