#include "runtime/pooling.h"

#include <cmath>
#include <utility>

namespace millrace::runtime {

PoolRows rows_to_pool(flow::Pooling pooling, const ShareSpan& span) {
  switch (pooling) {
    case flow::Pooling::kNone:
      return {};
    case flow::Pooling::kLast:
      return {span.q_len - 1, span.ends_prompt() ? 1u : 0u};
    case flow::Pooling::kFirst:
      return {0, span.ctx == 0 ? 1u : 0u};
    case flow::Pooling::kMean:
    case flow::Pooling::kTokens:
      return {0, span.q_len};
  }
  return {};
}

void PoolState::add(const models::Model& model, const kernels::KernelTable& table, std::span<float> row) {
  model.finish_hidden(table, row.data());
  ++n_rows_;
  if (pooling_ != flow::Pooling::kMean) {
    values_.insert(values_.end(), row.begin(), row.end());
    return;
  }
  sums_.resize(row.size(), 0.0);
  for (size_t i = 0; i < row.size(); ++i) sums_[i] += static_cast<double>(row[i]);
}

Result<std::vector<float>> PoolState::take(const models::Model& model) {
  if (pooling_ == flow::Pooling::kMean) {
    values_.reserve(sums_.size());
    for (double sum : sums_) values_.push_back(static_cast<float>(sum / n_rows_));
  }
  if (model.desc().n_labels > 0 && pooling_ != flow::Pooling::kTokens) values_ = model.score(values_);
  for (float value : values_) {
    if (!std::isfinite(value)) {
      return Error{ErrorCode::kInternal, "the model gave hidden states that are not finite", {}};
    }
  }
  return std::exchange(values_, {});
}

}  // namespace millrace::runtime
