// Activation quantisers: every table writes the bytes of the formula (ref/chains.h), on plain and on hard values.
#include "kernels/kernel_fixture.h"
#include "kernels/ref/chains.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace millrace::kernels {
namespace {

constexpr int64_t kRows = 6;

// Rows of plain, large, tiny, half-way and non-finite values.
std::vector<float> hard_rows(int64_t k) {
  std::vector<float> x = random_floats(kRows * k, 1.0f, 41);
  for (int64_t i = 0; i < k; ++i) {
    auto set = [&](int64_t row, float value) { x[static_cast<size_t>(row * k + i)] = value; };
    if (i / 32 % 2 == 1) set(1, 0.0f);
    set(2, i % 32 == 0 ? 127.0f : static_cast<float>(i % 32) * 4.0f - 62.5f);  // ties
    set(3, i % 3 == 0 ? 1e-38f : -1e-41f);
    set(4, i % 5 == 0 ? 3e38f : -3e38f);
  }
  x[static_cast<size_t>(5 * k)] = std::numeric_limits<float>::quiet_NaN();
  if (k > 300) x[static_cast<size_t>(5 * k + 300)] = std::numeric_limits<float>::infinity();
  return x;
}

void expect_same(float got, float want, int64_t row, size_t at) {
  if (std::isnan(want)) {
    EXPECT_TRUE(std::isnan(got)) << row << " " << at;
  } else {
    EXPECT_EQ(got, want) << row << " " << at;
  }
}

void check_row(const ActRows& act, int64_t row, const ref::RefAct& want) {
  auto n = static_cast<int64_t>(want.q.size());
  for (size_t i = 0; i < want.q.size(); ++i) {
    ASSERT_EQ(static_cast<const int8_t*>(act.data)[row * n + static_cast<int64_t>(i)], want.q[i]) << row << " " << i;
  }
  for (size_t i = 0; i < want.d.size(); ++i) {
    expect_same(act.d[row * static_cast<int64_t>(want.d.size()) + static_cast<int64_t>(i)], want.d[i], row, i);
  }
  for (size_t i = 0; i < want.s.size(); ++i) {
    expect_same(act.s[row * static_cast<int64_t>(want.s.size()) + static_cast<int64_t>(i)], want.s[i], row, i);
  }
  for (size_t i = 0; i < want.sum.size(); ++i) {
    ASSERT_EQ(act.sum[row * static_cast<int64_t>(want.sum.size()) + static_cast<int64_t>(i)], want.sum[i]);
  }
}

TEST(Quantize, EveryTableWritesTheFormula) {
  for (const NamedTable& table : gemm_tables()) {
    for (ActKind kind : {ActKind::kQ8A32, ActKind::kQ8A256}) {
      for (int64_t k : {1, 31, 32, 33, 256, 576, 700}) {
        SCOPED_TRACE(testing::Message() << table.name << " kind " << static_cast<int>(kind) << " k " << k);
        std::vector<float> x = hard_rows(k);
        AlignedBytes memory(act_bytes(kind, kRows, k));
        ActRows act = act_carve(kind, kRows, k, memory.data());
        table.table.quantize[static_cast<int>(kind)](act, x.data(), k, 0, 2);
        table.table.quantize[static_cast<int>(kind)](act, x.data(), k, 2, kRows);
        for (int64_t row = 0; row < kRows; ++row) check_row(act, row, ref::quantize_row(kind, x.data() + row * k, k));
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(Quantize, FloatKindsArePaddedWithZeros) {
  for (const NamedTable& table : gemm_tables()) {
    for (int64_t k : {1, 32, 45}) {
      int64_t k_pad = (k + 31) / 32 * 32;
      std::vector<float> x = hard_rows(k);
      AlignedBytes plain(act_bytes(ActKind::kF32, kRows, k));
      AlignedBytes half(act_bytes(ActKind::kBF16, kRows, k));
      std::memset(plain.data(), 0x55, static_cast<size_t>(kRows * k_pad * 4));
      std::memset(half.data(), 0x55, static_cast<size_t>(kRows * k_pad * 2));
      ActRows f32 = act_carve(ActKind::kF32, kRows, k, plain.data());
      ActRows bf16 = act_carve(ActKind::kBF16, kRows, k, half.data());
      table.table.quantize[static_cast<int>(ActKind::kF32)](f32, x.data(), k, 0, kRows);
      table.table.quantize[static_cast<int>(ActKind::kBF16)](bf16, x.data(), k, 0, kRows);
      for (int64_t i = 0; i < kRows * k_pad; ++i) {
        bool is_pad = i % k_pad >= k;
        float want = is_pad ? 0.0f : x[static_cast<size_t>(i / k_pad * k + i % k_pad)];
        expect_same(plain.floats()[i], want, i / k_pad, static_cast<size_t>(i % k_pad));
        uint16_t got = tensor::load_u16(half.data() + 2 * i);
        EXPECT_EQ(got, tensor::f32_to_bf16(want)) << table.name << " " << i;
      }
    }
  }
}

TEST(Quantize, StaysWithinHalfAStep) {
  std::vector<float> x = random_floats(576, 3.0f, 51);
  KernelTable table = gemm_tables().back().table;
  AlignedBytes memory(act_bytes(ActKind::kQ8A32, 1, 576));
  ActRows act = act_carve(ActKind::kQ8A32, 1, 576, memory.data());
  table.quantize[static_cast<int>(ActKind::kQ8A32)](act, x.data(), 576, 0, 1);
  for (int64_t i = 0; i < 576; ++i) {
    int q = static_cast<const int8_t*>(act.data)[i];
    EXPECT_GE(q, -127);
    float d = act.d[i / 32];
    EXPECT_NEAR(d * static_cast<float>(q), x[static_cast<size_t>(i)], d * 0.50001f);
  }
}

}  // namespace
}  // namespace millrace::kernels
