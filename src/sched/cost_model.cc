#include "sched/cost_model.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace millrace::sched {
namespace {

constexpr double kLeastSeen = 6.0;      // observations before predictions are used: more than there are coefficients
constexpr double kRidge = 1e-4;         // beside moments of 0.1 to 100: what no step tells stays as it was
constexpr double kSameRow = 0.02;       // holds the cost of a decode row to that of a prompt row
constexpr double kContext = 0.2;        // holds a context token to a part of a row, until long contexts were seen
constexpr double kContextOfRow = 1e-3;  // SmolLM2 on a CPU 1/500, larger models and GPUs less
constexpr double kOtherRegime = 0.003;  // weight of the other regime's steps
constexpr double kMostPrior = 100.0;    // steps that a prior counts for
constexpr double kPriorWeight = 0.1;    // of each step that a prior would have shown
constexpr double kOutlier = 8.0;
constexpr double kSurprise = 2.0;
constexpr double kLeastStep = 1e4;  // ns
constexpr double kUnit = 1e7;       // ns: a typical step

// Features are scaled to the size they have in a typical step, so that one ridge fits all.
constexpr std::array<double, 5> kScale = {1.0, 1.0 / 64, 1.0 / 64, 1.0 / 16384, 1.0 / 16384};

}  // namespace

CostModel::CostModel(uint32_t split_rows) : split_rows_(split_rows) {}

CostModel::CostModel(uint32_t split_rows, const CostRegime& small, const CostRegime& large) : split_rows_(split_rows) {
  imagine(small, 0);
  imagine(large, 1);
}

// A prior is what a machine of these coefficients would have shown: steps of every size class, of prompt rows, of
// decodes and of both.
void CostModel::imagine(const CostRegime& regime, size_t which) {
  Learner& learner = learners_[which];
  learner.regime = regime;
  for (double& c : learner.regime.c) c = std::max(c, 0.0);
  double steps = std::min(regime.n_seen, kMostPrior) * kPriorWeight;
  constexpr uint32_t kImagined = 256;
  for (uint32_t rows = 1; rows < 1u << kClasses && steps > 0; rows *= 2) {
    for (uint32_t n_decode : {0u, rows / 2, rows}) {
      uint32_t n_prefill = rows - n_decode;
      for (uint64_t context : {0u, kImagined}) {
        StepShape shape{.n_prefill = n_prefill,
                        .n_decode = n_decode,
                        .ctx_decode = n_decode * context,
                        .ctx_prefill = n_prefill * context};
        if (regime_of(shape) != which) continue;
        double took = regime_ns(learner.regime, shape);
        learn(learner, shape, std::max(took, kLeastStep) / std::sqrt(steps), took, 1.0);
      }
    }
  }
}

CostModel::Features CostModel::features(const StepShape& shape) {
  return {kScale[0], shape.n_prefill * kScale[1], shape.n_decode * kScale[2],
          static_cast<double>(shape.ctx_decode) * kScale[3], static_cast<double>(shape.ctx_prefill) * kScale[4]};
}

double CostModel::regime_ns(const CostRegime& regime, const StepShape& shape) {
  double t = regime.c[0];
  t += regime.c[1] * shape.n_prefill;
  t += regime.c[2] * shape.n_decode;
  t += regime.c[3] * static_cast<double>(shape.ctx_decode);
  t += regime.c[4] * static_cast<double>(shape.ctx_prefill);
  return t;
}

bool CostModel::known() const { return learners_[0].regime.n_seen + learners_[1].regime.n_seen >= kLeastSeen; }

Tick CostModel::predict(const StepShape& shape) const {
  double t = 0.0;
  if (shape.n_rows() <= split_rows_) {
    t = regime_ns(learners_[0].regime, shape);
  } else {
    // the dearest step of split_rows_ rows with these contexts
    const CostRegime& small = learners_[0].regime;
    double floor = small.c[0] + std::max(small.c[1], small.c[2]) * split_rows_;
    floor += small.c[3] * static_cast<double>(shape.ctx_decode);
    floor += small.c[4] * static_cast<double>(shape.ctx_prefill);
    t = std::max(regime_ns(learners_[1].regime, shape), floor);
  }
  constexpr double kLongest = 9e15;  // fits a double exactly, and a Tick
  return std::llround(std::min(t, kLongest));
}

void CostModel::observe(const StepShape& shape, Tick took) {
  if (took <= 0 || shape.n_rows() == 0) return;
  size_t which = regime_of(shape);
  auto measured = static_cast<double>(took);
  double expected = measured;
  if (known()) {
    expected = std::max(static_cast<double>(predict(shape)), kLeastStep);
    measured = std::min(measured, kOutlier * expected);
    if (shape.n_prefill > 0) note_lateness(measured / expected);
  }
  learn(learners_[which], shape, expected, measured, kForgetting);
  learners_[which].regime.n_seen += 1.0;
  solve(which);
  // what this step says of the other regime is little, and changes slowly
  constexpr double kSeldom = 16.0;
  double n_seen = learners_[which].regime.n_seen;
  if (n_seen <= 4 * kSeldom || std::fmod(n_seen, kSeldom) < 1.0) solve(1 - which);
}

// A quantile without memory of the samples: up for each above it, down for each below, in balance at one in fifty
// (Robbins and Monro, A stochastic approximation method, 1951).
void CostModel::note_lateness(double took_over_predicted) {
  constexpr double kGain = 0.02;
  constexpr double kAbove = 0.02;
  lateness_ += took_over_predicted > lateness_ ? kGain * (1 - kAbove) : -kGain * kAbove;
  lateness_ = std::clamp(lateness_, 1.0, 2.0);
}

// The noise of a step is in proportion to its length: errors are weighed as parts of what was expected, or, where that
// was far too much, of what was seen: weighed by a wrong expectation a step would have no weight to put it right.
void CostModel::learn(Learner& learner, const StepShape& shape, double expected, double took, double forgetting) {
  size_t own = std::min<size_t>(std::bit_width(shape.n_rows()) - 1u, kClasses - 1);
  Features x = features(shape);
  double weight = kUnit / std::min(expected, kSurprise * took);
  Equations seen;
  for (size_t i = 0; i < kTerms; ++i) {
    for (size_t j = 0; j < kTerms; ++j) seen.moments[i][j] = x[i] * x[j] * weight * weight;
    seen.products[i] = x[i] * took * weight * weight;
  }
  learner.sum = {};
  for (size_t k = 0; k < kClasses; ++k) {
    Equations kept;
    kept.add(learner.classes[k], k == own ? forgetting : std::cbrt(forgetting * forgetting));
    if (k == own) kept.add(seen, 1.0);
    learner.classes[k] = kept;
    learner.sum.add(kept, 1.0);
  }
}

// += weight * other
void CostModel::Equations::add(const Equations& other, double weight) {
  for (size_t i = 0; i < kTerms; ++i) {
    for (size_t j = 0; j < kTerms; ++j) moments[i][j] += weight * other.moments[i][j];
    products[i] += weight * other.products[i];
  }
}

// Coefficients >= 0: solves without bound, fixes the most negative one at 0, and again.
void CostModel::solve(size_t which) {
  Equations all = learners_[which].sum;
  all.add(learners_[1 - which].sum, kOtherRegime);
  CostRegime& regime = learners_[which].regime;
  for (size_t i = 0; i < kTerms; ++i) {
    all.moments[i][i] += kRidge;
    all.products[i] += kRidge * regime.c[i] / kScale[i];
  }
  constexpr size_t kPromptRow = 1;
  constexpr size_t kDecodeRow = 2;
  all.moments[kPromptRow][kPromptRow] += kSameRow;
  all.moments[kDecodeRow][kDecodeRow] += kSameRow;
  all.moments[kPromptRow][kDecodeRow] -= kSameRow;
  all.moments[kDecodeRow][kPromptRow] -= kSameRow;
  // of a row of large steps: those of small ones pay for reading the weights
  double context_ns = kContextOfRow * learners_[1].regime.c[kPromptRow];
  for (size_t i : {size_t{3}, size_t{4}}) {
    all.moments[i][i] += kContext;
    all.products[i] += kContext * context_ns / kScale[i];
  }
  std::array<bool, kTerms> fixed{};
  Features c{};
  for (bool again = true; again;) {
    auto a = all.moments;
    c = all.products;
    for (size_t i = 0; i < kTerms; ++i) {
      if (!fixed[i]) continue;
      a[i].fill(0.0);
      for (Features& row : a) row[i] = 0.0;
      a[i][i] = 1.0;
      c[i] = 0.0;
    }
    eliminate(a, c);
    auto least = std::ranges::min_element(c);
    again = *least < 0.0;
    if (again) fixed[static_cast<size_t>(least - c.begin())] = true;
  }
  for (size_t i = 0; i < kTerms; ++i) regime.c[i] = c[i] * kScale[i];
}

// Gauss elimination; `a` is symmetric and positive definite, so the diagonal serves as pivots. c := a^-1 c.
void CostModel::eliminate(std::array<Features, kTerms>& a, Features& c) {
  for (size_t k = 0; k < kTerms; ++k) {
    for (size_t i = k + 1; i < kTerms; ++i) {
      double factor = a[i][k] / a[k][k];
      for (size_t j = k; j < kTerms; ++j) a[i][j] -= factor * a[k][j];
      c[i] -= factor * c[k];
    }
  }
  for (size_t k = kTerms; k-- > 0;) {
    for (size_t j = k + 1; j < kTerms; ++j) c[k] -= a[k][j] * c[j];
    c[k] /= a[k][k];
  }
}

}  // namespace millrace::sched
