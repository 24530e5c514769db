// CostModel: how long a step takes,
//   t = a + p * n_prefill + d * n_decode + e * ctx_decode + f * ctx_prefill,
// with coefficients of their own for small and large steps (split at n0 rows), learned from measured steps by weighted
// least squares in information form: the coefficients are bounded below by 0, which the covariance form does not solve
// (a clamped coefficient leaves the others off by as much).
// Streams of like steps say little about other steps, and the budget asks about those. So
//  - steps are kept by size class (powers of two of their rows), and forgotten as their class is seen again, at two
//    thirds of the pace as others of their regime are: a long stretch of decodes does not wipe out what prompts cost;
//  - each regime also believes the other one's steps, a little;
//  - until steps say otherwise a decode row costs what a prompt row costs, as it does where a row is a row of a GEMM,
//    and a context token a thousandth of a row: some noisy steps with short contexts say nothing of long ones.
//  1. Predictions grow with every component of the shape: coefficients stay >= 0, and no step beyond the split is
//     predicted below the dearest one of n0 rows with the same contexts.
//  2. Deterministic: doubles without contraction, one order of operations, results in integer ns.
//  3. Without any observation or prior every prediction is 0; known() says so.
// Source of the form: Niyama, arXiv 2503.22562; of the update: Ljung, System Identification, 11.2.
// Thread: engine; a copy may be read anywhere.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/ids.h"

namespace millrace::sched {

// What decides the time of a step. Contexts are summed over rows: a row that attends to c tokens adds c, so that equal
// work counts equal whatever the chunking.
struct StepShape {
  uint32_t n_prefill = 0;  // prompt rows (recomputed ones too)
  uint32_t n_decode = 0;   // rows that continue an output
  uint64_t ctx_decode = 0;
  uint64_t ctx_prefill = 0;
  uint32_t n_rows() const { return n_prefill + n_decode; }
};

// Context of the rows first .. first + n_rows - 1 of one sequence, summed.
constexpr uint64_t row_context(uint64_t first, uint64_t n_rows) {
  return n_rows * first + n_rows * (n_rows > 0 ? n_rows - 1 : 0) / 2;
}

// Coefficients in ns: of a step, a prompt row, a decode row, a context token of decode rows, of prompt rows.
using CostCoefficients = std::array<double, 5>;

struct CostRegime {
  CostCoefficients c{};
  double n_seen = 0.0;  // observations, or what a prior is worth
};

class CostModel {
 public:
  static constexpr double kForgetting = 0.995;  // initial value of SERVING_CORE: the last 200 steps or so of a class

  CostModel() : CostModel(16) {}
  explicit CostModel(uint32_t split_rows);
  // Starts from known regimes; n_seen says how much they are trusted.
  CostModel(uint32_t split_rows, const CostRegime& small, const CostRegime& large);

  // ns, >= 0.
  Tick predict(const StepShape& shape) const;
  // A measured step. Steps that took more than kOutlier times their prediction count as that: a process that was put
  // to sleep is no property of the machine.
  void observe(const StepShape& shape, Tick took);
  // 98 of 100 steps with prompt rows end within this many times their prediction; 1 to 2.
  double lateness() const { return lateness_; }
  // Enough was seen for predictions to mean something.
  bool known() const;

  uint32_t split_rows() const { return split_rows_; }
  const CostRegime& small() const { return learners_[0].regime; }
  const CostRegime& large() const { return learners_[1].regime; }

 private:
  static constexpr size_t kTerms = 5;
  static constexpr size_t kClasses = 11;  // 1, 2, 4, ... 1024 rows and more
  using Features = std::array<double, kTerms>;

  // Normal equations of some steps: moments of the scaled terms, and their products with the time.
  struct Equations {
    std::array<Features, kTerms> moments{};
    Features products{};
    void add(const Equations& other, double weight);
  };
  struct Learner {
    CostRegime regime;
    std::array<Equations, kClasses> classes{};
    Equations sum;  // of the classes
  };

  static Features features(const StepShape& shape);
  static double regime_ns(const CostRegime& regime, const StepShape& shape);
  size_t regime_of(const StepShape& shape) const { return shape.n_rows() <= split_rows_ ? 0 : 1; }
  void imagine(const CostRegime& regime, size_t which);
  static void learn(Learner& learner, const StepShape& shape, double expected, double took, double forgetting);
  void solve(size_t which);
  void note_lateness(double took_over_predicted);
  static void eliminate(std::array<Features, kTerms>& a, Features& c);

  uint32_t split_rows_;
  std::array<Learner, 2> learners_;
  double lateness_ = 1.18;  // until steps tell
};

}  // namespace millrace::sched
