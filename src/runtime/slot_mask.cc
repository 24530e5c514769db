#include "runtime/slot_mask.h"

#include <algorithm>

#include "base/macros.h"

namespace millrace::runtime {

SlotMask::SlotMask(const flow::Constraint& constraint, std::span<const TokenId> outputs, uint32_t max_outputs)
    : matcher_(constraint.matcher(), max_outputs),
      outputs_(outputs.begin(), outputs.end()),
      bits_(constraint.n_mask_words()) {}

void SlotMask::request_fill() { state_.store(kWanted, std::memory_order_release); }

void SlotMask::fill() {
  uint32_t wanted = kWanted;
  if (!state_.compare_exchange_strong(wanted, kFilling, std::memory_order_acq_rel)) return;
  bool known = true;
  for (TokenId token : outputs_) known = known && matcher_.accept(token);
  outputs_.clear();
  if (known) {
    matcher_.fill(bits_);
  } else {
    std::ranges::fill(bits_, 0u);  // the sampler then fails this sequence alone
  }
  state_.store(kReady, std::memory_order_release);
  state_.notify_all();
}

std::span<const uint32_t> SlotMask::wait() {
  fill();
  for (uint32_t now = state_.load(std::memory_order_acquire); now != kReady;
       now = state_.load(std::memory_order_acquire)) {
    CHECK(now == kFilling, "a mask that nobody asked for");
    state_.wait(now, std::memory_order_acquire);
  }
  return bits_;
}

std::span<const uint32_t> SlotMask::fill_now() {
  matcher_.fill(bits_);
  return bits_;
}

bool SlotMask::accept(TokenId token) { return matcher_.accept(token); }

}  // namespace millrace::runtime
