// The row operations of every table: against f64, the same bits in all tables, no access beyond n.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/philox.h"
#include "kernels/cpu/detect.h"
#include "kernels/pick.h"

namespace millrace::kernels {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr int64_t kSizes[] = {1, 2, 7, 15, 16, 17, 31, 33, 64, 100, 576, 1000};

std::vector<const KernelTable*> tables() {
  std::vector<const KernelTable*> all;
  CpuFeatures cpu = detect_cpu();
  for (const auto& row : isa_rows()) {
    if (row.missing(cpu).empty()) all.push_back(&row.table(cpu));
  }
  return all;
}

// n values in (-size, size) followed by 16 NaN that no operation may let in or change.
std::vector<float> noise(uint64_t seed, int64_t n, float size) {
  std::vector<float> values(static_cast<size_t>(n + 16), kNaN);
  for (int64_t i = 0; i < n; ++i) {
    auto block = philox4x32(seed, {static_cast<uint32_t>(i), 0, 0, 0});
    values[static_cast<size_t>(i)] = (static_cast<float>(block[0] >> 8) * 0x1p-23f - 1.0f) * size;
  }
  return values;
}

double ulp_of(double x) {
  float f = std::max(std::abs(static_cast<float>(x)), std::numeric_limits<float>::min());
  return static_cast<double>(std::nextafter(f, kInf)) - static_cast<double>(f);
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// run(table, out): must give the same bits in every table and leave the 16 values behind the row alone.
template <class Run>
std::vector<float> in_all_tables(int64_t n, const Run& run) {
  std::vector<float> first;
  for (const auto* table : tables()) {
    std::vector<float> out = noise(99, n, 1.0f);
    run(*table, out.data());
    for (int64_t i = n; i < n + 16; ++i) EXPECT_TRUE(std::isnan(out[static_cast<size_t>(i)])) << table->name;
    out.resize(static_cast<size_t>(n));
    if (first.empty()) first = out;
    EXPECT_TRUE(same_bits(out, first)) << table->name << " n " << n;
  }
  return first;
}

TEST(RowsTest, RmsNorm) {
  for (int64_t n : kSizes) {
    auto x = noise(1, n, 3);
    auto weight = noise(2, n, 2);
    auto out =
        in_all_tables(n, [&](const KernelTable& t, float* o) { t.rms_norm(o, x.data(), weight.data(), 1e-5f, n); });
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += std::pow(static_cast<double>(x[static_cast<size_t>(i)]), 2);
    double inverse = 1 / std::sqrt(sum / static_cast<double>(n) + static_cast<double>(1e-5f));
    for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
      double want = static_cast<double>(x[i]) * inverse * static_cast<double>(weight[i]);
      EXPECT_NEAR(static_cast<double>(out[i]), want, std::abs(want) * (static_cast<double>(n) / 16 + 10) * 0x1p-24);
    }
  }
}

TEST(RowsTest, LayerNorm) {
  for (int64_t n : kSizes) {
    auto x = noise(1, n, 3);
    for (int64_t i = 0; i < n; ++i) x[static_cast<size_t>(i)] += 5.0f;  // a mean of its own
    auto weight = noise(2, n, 2);
    auto bias = noise(3, n, 1);
    LayerNormArgs args{weight.data(), bias.data(), 1e-5f, n};
    auto out = in_all_tables(n, [&](const KernelTable& t, float* o) { t.layer_norm(o, x.data(), args); });
    double mean = 0;
    for (int64_t i = 0; i < n; ++i) mean += static_cast<double>(x[static_cast<size_t>(i)]) / static_cast<double>(n);
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += std::pow(static_cast<double>(x[static_cast<size_t>(i)]) - mean, 2);
    double inverse = 1 / std::sqrt(sum / static_cast<double>(n) + static_cast<double>(1e-5f));
    for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
      double want =
          (static_cast<double>(x[i]) - mean) * inverse * static_cast<double>(weight[i]) + static_cast<double>(bias[i]);
      // the mean, near 5, is off by its rounding; inverse is at most 316 where all values are alike
      double bound = (static_cast<double>(n) / 16 + 10) * 0x1p-24 * (8 * inverse * std::abs(weight[i]) + 10);
      EXPECT_NEAR(static_cast<double>(out[i]), want, bound) << "n " << n;
    }
  }
}

TEST(RowsTest, GeluIsThatOfErf) {
  std::vector<float> x;
  for (float v = -13.0f; v < 13.0f; v += 0.00171f) x.push_back(v);
  for (float v : {0.0f, -0.0f, 1e-30f, -1e-8f, 1.41421f, 1.41422f, -1.41421f, -1.41422f, 200.0f, -200.0f})
    x.push_back(v);
  auto n = static_cast<int64_t>(x.size());
  auto out = in_all_tables(n, [&](const KernelTable& t, float* o) { t.gelu(o, x.data(), n); });
  for (size_t i = 0; i < x.size(); ++i) {
    auto v = static_cast<double>(x[i]);
    double want = 0.5 * v * std::erfc(-v / std::sqrt(2.0));
    // e^(-y^2) carries the rounding of y^2
    double bound = 8 * ulp_of(want) + std::abs(want) * v * v * 0x1p-23 + 1e-37;
    EXPECT_NEAR(static_cast<double>(out[i]), want, bound) << v;
  }
  for (const auto* table : tables()) {
    float broken[] = {kNaN, kInf};
    table->gelu(broken, broken, 2);
    EXPECT_TRUE(std::isnan(broken[0])) << table->name;
    EXPECT_EQ(broken[1], kInf) << table->name;
  }
}

TEST(RowsTest, RopeTurnsEachPairByItsAngle) {
  for (int64_t dims : {2, 4, 6, 16, 30, 32, 64, 128, 256}) {
    std::vector<float> cos;
    std::vector<float> sin;
    for (int64_t i = 0; i < dims / 2; ++i) {
      cos.push_back(std::cos(0.7f * static_cast<float>(i + 1)));
      sin.push_back(std::sin(0.7f * static_cast<float>(i + 1)));
    }
    auto x = noise(99, dims, 1.0f);  // what in_all_tables puts into out
    auto half =
        in_all_tables(dims, [&](const KernelTable& t, float* o) { t.rope_half(o, cos.data(), sin.data(), dims); });
    auto pairs =
        in_all_tables(dims, [&](const KernelTable& t, float* o) { t.rope_pairs(o, cos.data(), sin.data(), dims); });
    auto n = static_cast<size_t>(dims / 2);
    for (size_t i = 0; i < n; ++i) {
      auto turned = [&](size_t a, size_t b) {
        return std::pair(static_cast<double>(x[a]) * static_cast<double>(cos[i]) -
                             static_cast<double>(x[b]) * static_cast<double>(sin[i]),
                         static_cast<double>(x[b]) * static_cast<double>(cos[i]) +
                             static_cast<double>(x[a]) * static_cast<double>(sin[i]));
      };
      EXPECT_NEAR(static_cast<double>(half[i]), turned(i, i + n).first, 0x1p-22);
      EXPECT_NEAR(static_cast<double>(half[i + n]), turned(i, i + n).second, 0x1p-22);
      EXPECT_NEAR(static_cast<double>(pairs[2 * i]), turned(2 * i, 2 * i + 1).first, 0x1p-22);
      EXPECT_NEAR(static_cast<double>(pairs[2 * i + 1]), turned(2 * i, 2 * i + 1).second, 0x1p-22);
    }
  }
}

TEST(RowsTest, ExpIsWithinTwoUlp) {
  std::vector<float> x;
  for (float v = -104.0f; v < 88.7f; v += 0.00371f) x.push_back(v);
  for (float v : {0.0f, -0.0f, -1e-30f, 1e-8f, -87.3365f, -87.4f, -103.9f}) x.push_back(v);
  auto n = static_cast<int64_t>(x.size());
  auto out = in_all_tables(n, [&](const KernelTable& t, float* o) { t.exp(o, x.data(), 0.0f, n); });
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    double want = std::exp(static_cast<double>(x[i]));
    worst = std::max(worst, std::abs(static_cast<double>(out[i]) - want) / ulp_of(want));
  }
  EXPECT_LE(worst, 1.5);
  const float edges[] = {-kInf, -1000.0f, -105.0f, 89.0f, 1000.0f, kInf, kNaN, 0.0f};
  auto at = in_all_tables(6, [&](const KernelTable& t, float* o) { t.exp(o, edges, 0.0f, 6); });
  EXPECT_EQ(at, (std::vector<float>{0, 0, 0, kInf, kInf, kInf}));
  for (const auto* table : tables()) {
    float two[2];
    table->exp(two, edges + 6, 0.0f, 2);
    EXPECT_TRUE(std::isnan(two[0]));
    EXPECT_EQ(two[1], 1.0f);
  }
}

TEST(RowsTest, GatesAndSoftcap) {
  for (int64_t n : kSizes) {
    auto gate = noise(1, n, 12);
    auto up = noise(2, n, 2);
    gate[0] = -95.0f;  // e^95 overflows: the gate must close, not become NaN
    auto silu = in_all_tables(n, [&](const KernelTable& t, float* o) { t.silu_mul(o, gate.data(), up.data(), n); });
    auto gelu = in_all_tables(n, [&](const KernelTable& t, float* o) { t.gelu_mul(o, gate.data(), up.data(), n); });
    for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
      auto g = static_cast<double>(gate[i]);
      auto u = static_cast<double>(up[i]);
      double want = g / (1 + std::exp(-g)) * u;
      EXPECT_NEAR(static_cast<double>(silu[i]), want, 8 * ulp_of(want) + 1e-37);
      double w = std::sqrt(2 / M_PI) * (g + 0.044715 * g * g * g);
      want = 0.5 * g * (1 + std::tanh(w)) * u;
      // e^(-2 w) carries the rounding of w: 2 |w| roundings of 2^-24
      double bound = (std::abs(w) * 8 + 8) * 0x1p-24 * std::abs(g * u) / (1 + std::exp(-2 * w));
      EXPECT_NEAR(static_cast<double>(gelu[i]), want, bound + std::abs(g * u) * 1e-15);
    }
    for (float cap : {30.0f, 0.5f}) {
      auto x = noise(99, n, 1.0f);
      auto out = in_all_tables(n, [&](const KernelTable& t, float* o) { t.softcap(o, cap, n); });
      for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
        double want = static_cast<double>(cap) * std::tanh(static_cast<double>(x[i]) / static_cast<double>(cap));
        EXPECT_NEAR(static_cast<double>(out[i]), want, 5 * ulp_of(want));
      }
    }
  }
}

TEST(RowsTest, AddAndScale) {
  for (int64_t n : kSizes) {
    auto x = noise(1, n, 3);
    auto old = noise(99, n, 1.0f);
    auto sum = in_all_tables(n, [&](const KernelTable& t, float* o) { t.add(o, x.data(), n); });
    auto scaled = in_all_tables(n, [&](const KernelTable& t, float* o) { t.scale(o, 1.7f, n); });
    for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
      EXPECT_EQ(sum[i], old[i] + x[i]);
      EXPECT_EQ(scaled[i], old[i] * 1.7f);
    }
  }
}

TEST(RowsTest, ArgMaxTakesTheLowestAndRefusesNaN) {
  for (const auto* table : tables()) {
    for (int64_t n : kSizes) {
      auto x = noise(3, n, 5);
      auto best = std::max_element(x.begin(), x.begin() + n) - x.begin();
      ArgMax got = table->argmax(x.data(), n);
      EXPECT_EQ(got.index, best) << table->name << " n " << n;
      EXPECT_EQ(got.value, x[static_cast<size_t>(best)]);
      for (int64_t at = 0; at < n; at += 5) {
        auto other = x;
        for (int64_t i = at; i < n; ++i) other[static_cast<size_t>(i)] = 9.0f;
        EXPECT_EQ(table->argmax(other.data(), n).index, at);
        other[static_cast<size_t>(at)] = kNaN;
        EXPECT_EQ(table->argmax(other.data(), n).index, -1);
        std::fill(other.begin(), other.begin() + n, -kInf);
        EXPECT_EQ(table->argmax(other.data(), n).index, 0);
      }
    }
    const float zeros[] = {-1.0f, -0.0f, 0.0f};
    EXPECT_EQ(table->argmax(zeros, 3).index, 1);
    EXPECT_EQ(table->argmax(zeros, 0).index, -1);
  }
}

TEST(RowsTest, ExpSumIsTheSumInFixedLanes) {
  for (int64_t n : kSizes) {
    auto x = noise(4, n, 9);
    float max = *std::max_element(x.begin(), x.begin() + n);
    auto sum = in_all_tables(1, [&](const KernelTable& t, float* o) { *o = t.exp_sum(x.data(), max, n); });
    double want = 0;
    for (int64_t i = 0; i < n; ++i) want += std::exp(static_cast<double>(x[static_cast<size_t>(i)] - max));
    EXPECT_NEAR(static_cast<double>(sum[0]), want, want * (static_cast<double>(n) / 16 + 8) * 0x1p-23);
  }
}

TEST(RowsTest, SelectAboveListsAscendingAndCountsAll) {
  for (const auto* table : tables()) {
    for (int64_t n : kSizes) {
      auto x = noise(5, n, 1);
      x[static_cast<size_t>(n / 2)] = kNaN;
      std::vector<int32_t> want;
      for (int64_t i = 0; i < n; ++i) {
        if (x[static_cast<size_t>(i)] >= 0.25f) want.push_back(static_cast<int32_t>(i));
      }
      std::vector<int32_t> got(want.size() + 1, -7);
      EXPECT_EQ(table->select_above(got.data(), x.data(), 0.25f, n, static_cast<int64_t>(got.size())),
                static_cast<int64_t>(want.size()));
      EXPECT_TRUE(std::equal(want.begin(), want.end(), got.begin()));
      EXPECT_EQ(got.back(), -7);
      if (want.size() > 1) {
        got.assign(want.size(), -7);
        EXPECT_EQ(table->select_above(got.data(), x.data(), 0.25f, n, 1), static_cast<int64_t>(want.size()));
        EXPECT_EQ(got[0], want[0]);
        EXPECT_EQ(got[1], -7);
      }
    }
  }
}

}  // namespace
}  // namespace millrace::kernels
