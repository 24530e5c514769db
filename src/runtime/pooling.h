// Pooling: from the hidden states of a prompt's rows, chunk after chunk, to what a pooling request is answered with.
//  1. Rows are added one by one in the order of their positions, in f64: how a prompt was cut into steps, and what ran
//     beside it, changes no bit.
// Thread: any compute thread, one at a time for each sequence.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "flow/sampling_params.h"
#include "models/model.h"

namespace millrace::runtime {

// Rows of a share, of whose hidden states the pooling needs some: [first, first + n) of them.
struct PoolRows {
  uint32_t first = 0;
  uint32_t n = 0;
};

// A share has rows ctx .. ctx + q_len - 1 of a prompt of input_len tokens.
struct ShareSpan {
  uint32_t ctx = 0;
  uint32_t q_len = 0;
  uint32_t input_len = 0;

  bool ends_prompt() const { return ctx + q_len == input_len; }
};
PoolRows rows_to_pool(flow::Pooling pooling, const ShareSpan& span);

// What one sequence has gathered.
class PoolState {
 public:
  void reset(flow::Pooling pooling) {
    pooling_ = pooling;
    n_rows_ = 0;
    sums_.clear();
    values_.clear();
  }
  flow::Pooling pooling() const { return pooling_; }
  // row [d_model] f32: the hidden state of the next row, finished in place.
  void add(const models::Model& model, const kernels::KernelTable& table, std::span<float> row);
  // The answer: [d_model], [n_rows, d_model] with kTokens, or what the model's head makes of the first. kInternal when
  // a value of it is not finite.
  Result<std::vector<float>> take(const models::Model& model);

 private:
  flow::Pooling pooling_ = flow::Pooling::kNone;
  uint32_t n_rows_ = 0;
  std::vector<double> sums_;   // [d_model] kMean
  std::vector<float> values_;  // the others
};

}  // namespace millrace::runtime
