#include "sched/cost_model.h"

#include <algorithm>
#include <cmath>

namespace millrace::sched {
namespace {

constexpr double kLeastSeen = 6.0;    // observations before a regime is used: more than it has coefficients
constexpr double kRidge = 1e-4;       // beside moments of 0.1 to 100
constexpr double kPriorMoment = 0.1;  // of one step that a prior saw
constexpr double kMostPrior = 100.0;  // steps that a prior counts for
constexpr double kOutlier = 8.0;
constexpr double kLeastStep = 1e4;  // ns
constexpr double kUnit = 1e7;       // ns: a typical step

// Features are scaled to the size they have in a typical step, so that one ridge fits all.
constexpr std::array<double, 5> kScale = {1.0, 1.0 / 64, 1.0 / 64, 1.0 / 16384, 1.0 / 16384};

}  // namespace

CostModel::CostModel(uint32_t split_rows) : split_rows_(split_rows) {}

CostModel::CostModel(uint32_t split_rows, const CostRegime& small, const CostRegime& large) : split_rows_(split_rows) {
  learners_[0].regime = small;
  learners_[1].regime = large;
  for (Learner& learner : learners_) {
    for (size_t i = 0; i < kTerms; ++i) {
      learner.regime.c[i] = std::max(learner.regime.c[i], 0.0);
      learner.moments[i][i] = kPriorMoment * std::min(learner.regime.n_seen, kMostPrior);
      learner.products[i] = learner.moments[i][i] * learner.regime.c[i] / kScale[i];
    }
  }
}

CostModel::Features CostModel::features(const StepShape& shape) {
  return {kScale[0], shape.n_prefill * kScale[1], shape.n_decode * kScale[2],
          static_cast<double>(shape.ctx_decode) * kScale[3], static_cast<double>(shape.ctx_prefill) * kScale[4]};
}

double CostModel::regime_ns(const CostRegime& regime, const StepShape& shape) const {
  double t = regime.c[0];
  t += regime.c[1] * shape.n_prefill;
  t += regime.c[2] * shape.n_decode;
  t += regime.c[3] * static_cast<double>(shape.ctx_decode);
  t += regime.c[4] * static_cast<double>(shape.ctx_prefill);
  return t;
}

// The regime itself once it is known, else the other one.
const CostRegime* CostModel::usable(size_t regime) const {
  const CostRegime& own = learners_[regime].regime;
  const CostRegime& other = learners_[1 - regime].regime;
  if (own.n_seen >= kLeastSeen || other.n_seen < kLeastSeen) return &own;
  return &other;
}

bool CostModel::known() const { return std::max(learners_[0].regime.n_seen, learners_[1].regime.n_seen) >= kLeastSeen; }

Tick CostModel::predict(const StepShape& shape) const {
  double t = 0.0;
  if (shape.n_rows() <= split_rows_) {
    t = regime_ns(*usable(0), shape);
  } else {
    // the dearest step of split_rows_ rows with these contexts
    const CostRegime& small = *usable(0);
    double floor = small.c[0] + std::max(small.c[1], small.c[2]) * split_rows_;
    floor += small.c[3] * static_cast<double>(shape.ctx_decode);
    floor += small.c[4] * static_cast<double>(shape.ctx_prefill);
    t = std::max(regime_ns(*usable(1), shape), floor);
  }
  constexpr double kLongest = 9e15;  // fits a double exactly, and a Tick
  return std::llround(std::min(t, kLongest));
}

void CostModel::observe(const StepShape& shape, Tick took) {
  if (took <= 0 || shape.n_rows() == 0) return;
  size_t which = shape.n_rows() <= split_rows_ ? 0 : 1;
  auto measured = static_cast<double>(took);
  double expected = measured;
  if (learners_[which].regime.n_seen >= kLeastSeen) {
    expected = std::max(static_cast<double>(predict(shape)), kLeastStep);
    measured = std::min(measured, kOutlier * expected);
  }
  // The noise of a step is in proportion to its length: errors are weighed as parts of what was expected.
  Features x = features(shape);
  for (double& value : x) value *= kUnit / expected;
  update(learners_[which], x, measured * kUnit / expected);
}

// A = lambda A + x x', b = lambda b + x t; then A c = b.
void CostModel::update(Learner& learner, const Features& x, double took) {
  for (size_t i = 0; i < kTerms; ++i) {
    for (size_t j = 0; j < kTerms; ++j) learner.moments[i][j] = kForgetting * learner.moments[i][j] + x[i] * x[j];
    learner.products[i] = kForgetting * learner.products[i] + x[i] * took;
  }
  learner.regime.n_seen += 1.0;
  solve(learner);
}

// Coefficients >= 0: solves without bound, fixes the most negative one at 0, and again. What the load of late says
// nothing about stays as it was (the ridge).
void CostModel::solve(Learner& learner) {
  std::array<bool, kTerms> fixed{};
  Features c{};
  for (bool again = true; again;) {
    auto a = learner.moments;
    c = learner.products;
    for (size_t i = 0; i < kTerms; ++i) {
      a[i][i] += kRidge;
      c[i] += kRidge * learner.regime.c[i] / kScale[i];
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
  for (size_t i = 0; i < kTerms; ++i) learner.regime.c[i] = c[i] * kScale[i];
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
