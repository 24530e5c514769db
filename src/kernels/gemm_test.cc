// Every weight format x every table this CPU can run x a grid of shapes: bit equality with the scalar chains of
// ref/chains.h, whatever the rows, panels and batch; and the error of the chain against an f64 dot product.
#include "kernels/kernel_fixture.h"
#include "kernels/ref/chains.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

namespace millrace::kernels {
namespace {

constexpr int64_t kMaxN = 100;
constexpr int64_t kMaxM = 32;

struct Case {
  int table;
  int format;
};

bool same_bits(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}

std::vector<int64_t> k_grid(Format format) {
  int64_t values = kFileGroups[static_cast<int>(format)].values;
  if (values == 256) return {256, 512, 768};
  if (values == 32) return {32, 64, 576};
  return {1, 31, 64, 131};
}

class GemmTest : public testing::TestWithParam<Case> {
 protected:
  GemmTest() : tables_(gemm_tables()) {}
  const KernelTable& table() const { return tables_[static_cast<size_t>(GetParam().table)].table; }
  Format format() const { return static_cast<Format>(GetParam().format); }
  int at() const { return GetParam().format; }
  ActKind act_kind() const { return table().act_kind[at()]; }
  bool is_vdpbf16ps() const { return act_kind() == ActKind::kBF16; }

  std::vector<NamedTable> tables_;
};

// Activations as quantised by the table, in memory that lives as long as this.
struct Acts {
  Acts(const KernelTable& table, ActKind kind, const std::vector<float>& x, int64_t m, int64_t k)
      : memory(act_bytes(kind, m, k)), rows(act_carve(kind, m, k, memory.data())) {
    table.quantize[static_cast<int>(kind)](rows, x.data(), k, 0, m);
  }
  AlignedBytes memory;
  ActRows rows;
};

struct Problem {
  FileMatrix weights;
  std::vector<float> x;  // [kMaxM, k]
};

// want[m * n + i]: the chain of ref.
std::vector<float> ref_outputs(const Problem& problem, int64_t m) {
  std::vector<float> want;
  for (int64_t row = 0; row < m; ++row) {
    ref::RefAct act = ref::quantize_row(ref::act_kind_of(problem.weights.format),
                                        problem.x.data() + row * problem.weights.k, problem.weights.k);
    for (int64_t i = 0; i < problem.weights.n; ++i) {
      want.push_back(ref::dot(problem.weights.format, problem.weights.row(i), act, problem.weights.k));
    }
  }
  return want;
}

GemmArgs args_of(const ActRows& act, AlignedBytes& panels, AlignedBytes& out, int64_t n, int64_t out_stride) {
  GemmArgs args;
  args.act = act;
  args.row_end = act.n_rows;
  args.panels = panels.data();
  args.k = act.k;
  args.n = n;
  args.panel_end = (n + kPanelRows - 1) / kPanelRows;
  args.out = out.floats();
  args.out_stride = out_stride;
  return args;
}

// Runs all rows and outputs and compares with want [m, n]; out beyond n must stay as it was.
void expect_equal(const KernelTable& table, const Problem& problem, int64_t m, int64_t n, const float* want,
                  int64_t want_stride, ActKind kind) {
  int64_t k = problem.weights.k;
  Acts acts(table, kind, problem.x, m, k);
  FileMatrix part = problem.weights;
  part.n = n;
  AlignedBytes panels = pack_matrix(table, part);
  constexpr int64_t kStride = 112;
  AlignedBytes out(m * kStride * 4);
  for (int64_t i = 0; i < m * kStride; ++i) out.floats()[i] = -7.5f;
  table.gemm[static_cast<int>(problem.weights.format)](args_of(acts.rows, panels, out, n, kStride));
  for (int64_t row = 0; row < m; ++row) {
    for (int64_t i = 0; i < kStride; ++i) {
      float got = out.floats()[row * kStride + i];
      float expected = i < n ? want[row * want_stride + i] : -7.5f;
      ASSERT_TRUE(same_bits(got, expected)) << "m " << m << " n " << n << " k " << k << " row " << row << " output "
                                            << i << ": got " << got << ", want " << expected;
    }
  }
}

// Outputs of the table itself with one row per call: what M > 1 must repeat (used where ref has other bits).
std::vector<float> row_by_row(const KernelTable& table, const Problem& problem, int64_t m, ActKind kind) {
  const FileMatrix& weights = problem.weights;
  AlignedBytes panels = pack_matrix(table, weights);
  Acts acts(table, kind, problem.x, m, weights.k);
  AlignedBytes out(m * 128 * 4);
  for (int64_t row = 0; row < m; ++row) {
    GemmArgs args = args_of(acts.rows, panels, out, weights.n, 128);
    args.row_begin = row;
    args.row_end = row + 1;
    table.gemm[static_cast<int>(weights.format)](args);
  }
  std::vector<float> result;
  for (int64_t row = 0; row < m; ++row) {
    for (int64_t i = 0; i < weights.n; ++i) result.push_back(out.floats()[row * 128 + i]);
  }
  return result;
}

TEST_P(GemmTest, EqualsTheChainOnTheShapeGrid) {
  for (int64_t k : k_grid(format())) {
    Problem problem{random_matrix(format(), kMaxN, k, 0.02f, 17), random_floats(kMaxM * k, 1.0f, 5)};
    std::vector<float> want =
        is_vdpbf16ps() ? row_by_row(table(), problem, kMaxM, act_kind()) : ref_outputs(problem, kMaxM);
    for (int64_t n : {1, 31, 32, 33, 100}) {
      for (int64_t m : {1, 2, 3, 5, 6, 7, 13, 32}) {
        expect_equal(table(), problem, m, n, want.data(), kMaxN, act_kind());
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Row 0: all bytes zero. Row 1: the largest codes and sub-scales under random d and m.
void set_extreme_rows(FileMatrix& weights) {
  ScaleOffsets scales = scale_offsets(weights.format);
  for (int64_t b = 0; b < weights.row_bytes; ++b) {
    int64_t in_group = b % kFileGroups[static_cast<int>(weights.format)].bytes;
    bool is_d = in_group / 2 * 2 == scales.d;
    bool is_m = in_group / 2 * 2 == scales.m;
    weights.bytes[static_cast<size_t>(b)] = 0;
    if (!is_d && !is_m) weights.bytes[static_cast<size_t>(weights.row_bytes + b)] = 0xFF;
  }
}

TEST_P(GemmTest, HoldsOnHardValues) {
  int64_t k = k_grid(format()).back();
  constexpr int64_t kRows = 24;  // enough for panels made ready (generic/ready.inl.h); 8 kinds of row, three times
  std::vector<float> x = random_floats(kRows * k, 1.0f, 8);
  for (int64_t i = 0; i < k; ++i) {
    auto set = [&](int64_t row, float value) { x[static_cast<size_t>(row * k + i)] = value; };
    set(0, 0.0f);                       // an all-zero row
    set(1, i % 2 == 0 ? 3.0f : -3.0f);  // q = +-127 everywhere
    set(2, 3.0f);                       // q = 127: the largest sums
    set(3, -3.0f);
    set(4, i == k / 2 ? 1e20f : 1e-3f);                // one outlier
    set(5, 1e-40f);                                    // denormals
    set(6, i < k / 2 ? 0.0f : static_cast<float>(i));  // zero groups beside others
    set(7, 1e36f);
  }
  for (int64_t i = 8 * k; i < kRows * k; ++i) x[static_cast<size_t>(i)] = x[static_cast<size_t>(i - 8 * k)];
  for (float scale : {1e-8f, 1.0f, 3000.0f}) {
    Problem problem{random_matrix(format(), 40, k, scale, 23), x};
    if (kFileGroups[at()].values > 1) set_extreme_rows(problem.weights);
    std::vector<float> want =
        is_vdpbf16ps() ? row_by_row(table(), problem, kRows, act_kind()) : ref_outputs(problem, kRows);
    expect_equal(table(), problem, kRows, 40, want.data(), 40, act_kind());
    if (HasFatalFailure()) return;
  }
}

TEST_P(GemmTest, RangesOfRowsAndPanelsGiveTheSameOutputs) {
  int64_t k = k_grid(format()).back();
  Problem problem{random_matrix(format(), kMaxN, k, 0.02f, 3), random_floats(kMaxM * k, 2.0f, 4)};
  std::vector<float> want = row_by_row(table(), problem, kMaxM, act_kind());
  AlignedBytes panels = pack_matrix(table(), problem.weights);
  Acts acts(table(), act_kind(), problem.x, kMaxM, k);
  AlignedBytes out(kMaxM * 128 * 4);
  for (int64_t i = 0; i < kMaxM * 128; ++i) out.floats()[i] = 0.25f;
  for (auto [row_begin, row_end] : {std::pair<int64_t, int64_t>{0, 5}, {5, 5}, {5, 18}, {18, 32}}) {
    for (auto [panel_begin, panel_end] : {std::pair<int64_t, int64_t>{0, 1}, {1, 1}, {1, 3}, {3, 4}}) {
      GemmArgs args = args_of(acts.rows, panels, out, kMaxN, 128);
      args.row_begin = row_begin;
      args.row_end = row_end;
      args.panel_begin = panel_begin;
      args.panel_end = panel_end;
      args.add = true;
      table().gemm[at()](args);
    }
  }
  for (int64_t row = 0; row < kMaxM; ++row) {
    for (int64_t i = 0; i < kMaxN; ++i) {
      float sum = 0.25f + want[static_cast<size_t>(row * kMaxN + i)];
      ASSERT_TRUE(same_bits(out.floats()[row * 128 + i], sum)) << row << " " << i;
    }
  }
}

// Rows enough for a ready panel, of one slice of k and of several, in one slab of rows and in two
// (generic/ready.inl.h); written and added to what is there.
TEST_P(GemmTest, LongRowsGiveTheSameOutputsInAnyBatch) {
  constexpr int64_t kSlice = 2048;
  if (kFileGroups[at()].values == 1) return;  // floats have no ready panels
  for (auto [m, k] : {std::pair<int64_t, int64_t>{18, kSlice}, {24, 2 * kSlice + 256}, {270, kSlice + 256}}) {
    Problem problem{random_matrix(format(), 40, k, 0.02f, 3), random_floats(m * k, 2.0f, 4)};
    std::vector<float> want = row_by_row(table(), problem, m, act_kind());
    expect_equal(table(), problem, m, 40, want.data(), 40, act_kind());
    if (HasFatalFailure()) return;
    AlignedBytes panels = pack_matrix(table(), problem.weights);
    Acts acts(table(), act_kind(), problem.x, m, k);
    AlignedBytes out(m * 48 * 4);
    for (int64_t i = 0; i < m * 48; ++i) out.floats()[i] = 0.25f;
    GemmArgs args = args_of(acts.rows, panels, out, 40, 48);
    args.add = true;
    table().gemm[at()](args);
    for (int64_t i = 0; i < m * 40; ++i) {
      float got = out.floats()[i / 40 * 48 + i % 40];
      ASSERT_TRUE(same_bits(got, 0.25f + want[static_cast<size_t>(i)])) << "m " << m << " k " << k << " value " << i;
    }
  }
}

TEST_P(GemmTest, NullRowsGiveZeros) {
  int64_t k = k_grid(format()).back();
  FileMatrix weights = random_matrix(format(), 1, k, 0.02f, 9);
  AlignedBytes panels(panel_bytes(format(), k));
  const uint8_t* rows[kPanelRows] = {};
  rows[7] = weights.row(0);
  table().pack[at()](panels.data(), rows, k);
  Problem problem{weights, random_floats(2 * k, 1.0f, 10)};
  Acts acts(table(), act_kind(), problem.x, 2, k);
  AlignedBytes out(2 * 32 * 4);
  table().gemm[at()](args_of(acts.rows, panels, out, 32, 32));
  std::vector<float> want = row_by_row(table(), problem, 2, act_kind());
  for (int64_t i = 0; i < 64; ++i) {
    float expected = i % 32 == 7 ? want[static_cast<size_t>(i / 32)] : 0.0f;
    EXPECT_TRUE(same_bits(out.floats()[i], expected)) << i << ": " << out.floats()[i];
  }
}

// |chain - exact dot of the quantised inputs| <= n_terms * 2^-24 * sum |terms|: one rounding of the product of scales,
// one per fma, each at most 2^-24 of the running magnitude.
TEST_P(GemmTest, ErrorAgainstDoubleIsWithinTheRoundingBound) {
  int64_t k = k_grid(format()).back();
  Problem problem{random_matrix(format(), 20, k, 0.02f, 31), random_floats(3 * k, 1.0f, 32)};
  std::vector<float> got = row_by_row(table(), problem, 3, act_kind());
  std::vector<float> w(static_cast<size_t>(k));
  for (int64_t row = 0; row < 3; ++row) {
    ref::RefAct act = ref::quantize_row(act_kind(), problem.x.data() + row * k, k);
    for (int64_t i = 0; i < 20; ++i) {
      ref::decode_row(format(), w.data(), problem.weights.row(i), k);
      double exact = 0.0;
      double magnitude = 0.0;
      int64_t group = act_kind() == ActKind::kQ8A256 ? 256 : 32;
      for (int64_t j = 0; j < k; ++j) {
        auto at = static_cast<size_t>(j);
        double a = act.q.empty() ? double{act.f[at]} : double{act.d[static_cast<size_t>(j / group)]} * act.q[at];
        exact += double{w[at]} * a;
        magnitude += std::fabs(double{w[at]} * a);
      }
      // mins cancel against quants: their terms can be larger than the sum, 16x covers 4 and 5 bit codes
      double bound = static_cast<double>(k + 4) * 0x1p-24 * magnitude * 16.0 + 1e-30;
      EXPECT_NEAR(got[static_cast<size_t>(row * 20 + i)], exact, bound) << row << " " << i;
    }
  }
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  int n_tables = static_cast<int>(gemm_tables().size());
  for (int table = 0; table < n_tables; ++table) {
    for (int format = 0; format < tensor::kNFormats; ++format) cases.push_back({table, format});
  }
  return cases;
}

std::string case_name(const testing::TestParamInfo<Case>& info) {
  std::string name = gemm_tables()[static_cast<size_t>(info.param.table)].name;
  return name + "_" + std::string(tensor::format_info(static_cast<Format>(info.param.format)).name);
}

INSTANTIATE_TEST_SUITE_P(AllTables, GemmTest, testing::ValuesIn(all_cases()), case_name);

}  // namespace
}  // namespace millrace::kernels
