// ServiceMeter: what two tenants were served, and how far the two drifted apart while both had requests waiting.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "sim/sim_backend.h"
#include "sim/workload.h"

namespace millrace::support {

class ServiceMeter final : public sim::StepWatch {
 public:
  // Service units: 1 per computed prompt token, 2 per output token (VTC, OSDI 2024). Counts until `end`.
  ServiceMeter(const sim::Workload& load, Tick end) : load_(load), end_(end), started_(load.requests.size(), false) {}

  void on_share(uint64_t request, uint32_t n_input_rows, bool sampled, Tick now) override {
    if (now > end_) return;
    if (now != now_) {
      now_ = now;
      look();
    }
    uint32_t tenant = load_.requests[request].tenant;
    if (!started_[request]) {
      started_[request] = true;
      --n_waiting_[tenant];
    }
    served_[tenant] += n_input_rows + (sampled ? 2 : 0);
  }

  int64_t served(uint32_t tenant) const { return served_[tenant]; }
  // Largest difference that built up since a stretch of time with both backlogged began.
  int64_t largest_gap() const { return largest_gap_; }

 private:
  // At the start of a step: arrivals up to now, then the difference as of all steps before.
  void look() {
    for (; n_arrived_ < load_.requests.size() && load_.requests[n_arrived_].arrival <= now_; ++n_arrived_) {
      ++n_waiting_[load_.requests[n_arrived_].tenant];
    }
    int64_t difference = served_[0] - served_[1];
    bool both = n_waiting_[0] > 0 && n_waiting_[1] > 0;
    if (!both_) began_with_ = difference;  // a stretch may begin here
    both_ = both;
    if (both) largest_gap_ = std::max(largest_gap_, std::abs(difference - began_with_));
  }

  const sim::Workload& load_;
  Tick end_;
  Tick now_ = -1;
  std::vector<bool> started_;
  size_t n_arrived_ = 0;
  std::array<int64_t, 2> n_waiting_{};
  std::array<int64_t, 2> served_{};
  int64_t began_with_ = 0;
  int64_t largest_gap_ = 0;
  bool both_ = false;
};

}  // namespace millrace::support
