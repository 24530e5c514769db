// Attention of every table against f64 softmax, and its promises: the same bits in all tables, alone or in a tile,
// whole or in chunks, whatever lies in free slots and in the rest of a block.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <string_view>
#include <vector>

#include "base/philox.h"
#include "kernels/cpu/detect.h"
#include "kernels/pick.h"
#include "kernels/ref/attention.h"

namespace millrace::kernels {
namespace {

// Every table of this CPU, and of the same CPU without bf16 instructions.
std::vector<const KernelTable*> tables() {
  std::vector<const KernelTable*> all;
  CpuFeatures cpu = detect_cpu();
  CpuFeatures without_bf16 = cpu;
  without_bf16.avx512bf16 = false;
  for (const auto& row : isa_rows()) {
    if (!row.missing(cpu).empty()) continue;
    all.push_back(&row.table(cpu));
    if (&row.table(without_bf16) != all.back()) all.push_back(&row.table(without_bf16));
  }
  return all;
}

std::vector<float> noise(uint64_t seed, int64_t n) {
  std::vector<float> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i) {
    auto block = philox4x32(seed, {static_cast<uint32_t>(i), 0, 0, 0});
    double sum = 0;
    for (uint32_t word : block) sum += static_cast<double>(word) * 0x1p-32 - 0.5;
    values[i] = static_cast<float>(sum * 1.7);  // about normal
  }
  return values;
}

struct Case {
  int64_t head_dim = 64;
  int n_group = 3;
  int64_t n_context = 1;  // tokens written; the query rows are the last n_tokens of them
  int n_tokens = 1;
  int64_t window = 0;
  float scale = 0.125f;
  float softcap = 0;
  bool all = false;  // every row sees all tokens
};

// One KV head of one sequence in its own blocks, filled with 0xA5 before the writes.
struct Cache {
  // outlier: what the first value of each k is multiplied by.
  Cache(const KernelTable& table, KvDType dtype, const Case& c, float outlier = 1.0f)
      : head_bytes(kv_head_bytes(dtype, c.head_dim)),
        n_blocks((c.n_context + 31) / 32),
        bytes(static_cast<size_t>(head_bytes * n_blocks + 64), 0xA5) {
    base = bytes.data() + (64 - reinterpret_cast<uintptr_t>(bytes.data()) % 64) % 64;
    auto k = noise(1, c.n_context * c.head_dim);
    auto v = noise(2, c.n_context * c.head_dim);
    for (int64_t t = 0; t < c.n_context; ++t) {
      k[static_cast<size_t>(t * c.head_dim)] *= outlier;
      KvWriteArgs args{block(t / 32), c.head_dim, t % 32, k.data() + t * c.head_dim, v.data() + t * c.head_dim};
      table.kv_write[static_cast<int>(dtype)](args);
    }
  }
  uint8_t* block(int64_t i) { return base + i * head_bytes; }
  int64_t head_bytes;
  int64_t n_blocks;
  std::vector<uint8_t> bytes;
  uint8_t* base;
};

// Rows [token_begin, token_end) of the case, all spans, merged: [rows, head_dim].
std::vector<float> attend(const KernelTable& table, KvDType dtype, const Case& c, Cache& cache, int token_begin,
                          int token_end) {
  int n_tokens = token_end - token_begin;
  int n_rows = n_tokens * c.n_group;
  int64_t pos = c.n_context - c.n_tokens + token_begin;
  auto q = noise(3, c.n_tokens * c.n_group * c.head_dim);
  int64_t n_seen = c.all ? c.n_context : pos + n_tokens;  // by any row
  int64_t n_spans = (n_seen + kSpanTokens - 1) / kSpanTokens;
  std::vector<float> max(static_cast<size_t>(n_rows * n_spans), 7.0f);
  std::vector<float> sum(max);
  std::vector<float> o(static_cast<size_t>(n_rows * n_spans * c.head_dim), 7.0f);
  std::vector<uint8_t> scratch(static_cast<size_t>(attn_scratch_bytes(n_rows, c.head_dim) + 64), 0xA5);
  uint8_t* aligned = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64) % 64;
  for (int64_t span = 0; span < n_spans; ++span) {
    const uint8_t* blocks[8] = {};
    for (int64_t b = 0; b < 8; ++b) {
      int64_t first = span * kSpanTokens + b * 32;
      bool seen = first < n_seen && (c.window == 0 || first + 31 > pos - c.window);
      blocks[b] = seen ? cache.block(span * 8 + b) : nullptr;
    }
    AttnSpanArgs args;
    args.q = q.data() + token_begin * c.n_group * c.head_dim;
    args.q_token_stride = c.n_group * c.head_dim;
    args.n_tokens = n_tokens;
    args.n_group = c.n_group;
    args.head_dim = c.head_dim;
    args.pos = pos;
    args.window = c.window;
    args.n_seen = c.all ? c.n_context : 0;
    args.blocks = blocks;
    args.span_begin = span * kSpanTokens;
    args.scale = c.scale;
    args.softcap = c.softcap;
    args.max = max.data() + span * n_rows;
    args.sum = sum.data() + span * n_rows;
    args.o = o.data() + span * n_rows * c.head_dim;
    args.scratch = aligned;
    const uint8_t* next[8] = {cache.block(0), nullptr, cache.block(0)};
    if (n_tokens % 2 == 1) args.next_blocks = next;  // changes no bit
    table.attn_span[static_cast<int>(dtype)](args);
  }
  std::vector<float> out(static_cast<size_t>(n_rows * c.head_dim));
  for (int64_t r = 0; r < n_rows; ++r) {
    table.attn_merge(AttnMergeArgs{max.data() + r, sum.data() + r, o.data() + r * c.head_dim, n_rows, n_spans,
                                   c.head_dim, out.data() + r * c.head_dim});
  }
  return out;
}

// Times the orthonormal Hadamard matrix of the largest power of two up to 64 that divides the size, by its definition.
std::vector<double> rotated(const std::vector<double>& x) {
  size_t block = std::min<size_t>(x.size() & -x.size(), 64);
  std::vector<double> out(x.size(), 0.0);
  for (size_t d = 0; d < x.size(); ++d) {
    for (size_t i = 0; i < block; ++i) {
      double value = x[d / block * block + i] / std::sqrt(static_cast<double>(block));
      out[d] += std::popcount(d % block & i) % 2 == 0 ? value : -value;
    }
  }
  return out;
}

// What the blocks hold, token by token.
struct Values {
  Values(KvDType dtype, const Case& c, Cache& cache) {
    for (int64_t t = 0; t < c.n_context; ++t) {
      for (int64_t d = 0; d < c.head_dim; ++d) {
        k.push_back(ref::kv_k(dtype, cache.block(t / 32), c.head_dim, t % 32, d));
        v.push_back(ref::kv_v(dtype, cache.block(t / 32), c.head_dim, t % 32, d));
      }
    }
  }
  ref::AttentionRow row(const Case& c, const float* q, int r) const {
    ref::AttentionRow row;
    row.q = q + r * c.head_dim;
    row.k = k.data();
    row.v = v.data();
    row.head_dim = c.head_dim;
    row.pos = c.all ? c.n_context - 1 : c.n_context - c.n_tokens + r / c.n_group;
    row.window = c.window;
    row.scale = static_cast<double>(c.scale);
    row.softcap = static_cast<double>(c.softcap);
    return row;
  }
  std::vector<double> k;  // [n_context, head_dim]
  std::vector<double> v;
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

const Case kCases[] = {
    {},
    {.n_context = 2, .n_tokens = 2},
    {.n_group = 1, .n_context = 33, .n_tokens = 7},
    {.head_dim = 16, .n_group = 2, .n_context = 300, .n_tokens = 45},
    {.head_dim = 32, .n_group = 4, .n_context = 257, .n_tokens = 2},
    {.head_dim = 64, .n_group = 3, .n_context = 517, .n_tokens = 64},
    {.head_dim = 64, .n_group = 3, .n_context = 700, .n_tokens = 1},
    {.head_dim = 128, .n_group = 7, .n_context = 256, .n_tokens = 5},
    {.head_dim = 256, .n_group = 4, .n_context = 290, .n_tokens = 9, .window = 32, .scale = 0.0625f, .softcap = 50.0f},
    {.head_dim = 64, .n_group = 8, .n_context = 530, .n_tokens = 20, .window = 255},
    {.head_dim = 64, .n_group = 1, .n_context = 530, .n_tokens = 30, .window = 1},
    {.head_dim = 80, .n_group = 5, .n_context = 90, .n_tokens = 3, .softcap = 5.0f},
    {.head_dim = 50, .n_group = 2, .n_context = 70, .n_tokens = 4},
    {.head_dim = 7, .n_group = 1, .n_context = 40, .n_tokens = 40},
    {.head_dim = 64, .n_group = 3, .n_context = 300, .n_tokens = 4, .scale = 4.0f},
};
constexpr KvDType kDTypes[] = {KvDType::kBF16, KvDType::kInt8};

// The error a row may have. eps = 2^-24. A score is a chain of head_dim fused terms, each a rounding relative to the
// sum of |q k|, then a few roundings of its own; exp and the chain over the n tokens add the same way:
//   |out - exact| <= (2 ds + (2 n + 16) eps) * max|v|,  ds = (hd + 8) eps * scale * sum|q k|  (a factor 2 for e^x - 1)
// bf16 by vdpbf16ps rounds q and p to 8 bits: 2^-9 of each product in ds, and in dp once for p and once for its sum.
// int8 adds eight roundings of the rotation to ds, the quantisation of q (half a unit: amax / 254 per value) to ds and
// half of 1/32767 of max p' per token.
double tolerance(const KernelTable& table, KvDType dtype, const Case& c, const ref::AttentionRow& row) {
  constexpr double kEps = 0x1p-24;
  double most_qk = 0;
  double most_k1 = 0;
  double most_v = 0;
  double q_amax = 0;
  auto seen = [&](auto* x) {  // what the products are made of
    std::vector<double> values(x, x + c.head_dim);
    return dtype == KvDType::kInt8 ? rotated(values) : values;
  };
  std::vector<double> q = seen(row.q);
  for (double x : q) q_amax = std::max(q_amax, std::abs(x));
  for (int64_t j = 0; j <= row.pos; ++j) {
    double qk = 0;
    double k1 = 0;
    std::vector<double> key = seen(row.k + j * c.head_dim);
    for (int64_t d = 0; d < c.head_dim; ++d) {
      double k = key[static_cast<size_t>(d)];
      qk += std::abs(q[static_cast<size_t>(d)] * k);
      k1 += std::abs(k);
      most_v = std::max(most_v, std::abs(row.v[j * c.head_dim + d]));
    }
    most_qk = std::max(most_qk, qk);
    most_k1 = std::max(most_k1, k1);
  }
  auto n = static_cast<double>(std::min<int64_t>(row.pos + 1, 256) + row.pos / 256);
  double ds = (static_cast<double>(c.head_dim) + 16) * kEps * row.scale * most_qk;
  double dp = (2 * n + 16) * kEps;
  if (dtype == KvDType::kInt8) {
    ds += row.scale * q_amax / 254 * most_k1;
    dp += n / 65534;
  } else if (std::string_view(table.bf16_family) == "vdpbf16ps") {
    ds += row.scale * most_qk * 0x1p-9;
    dp += 0x1p-8;
  }
  return (2 * std::expm1(ds) + dp) * most_v;
}

// Rows of `out` (all tokens of the case, queries noise(3)), every eighth or so, beside softmax in double precision.
void expect_near_reference(const KernelTable& table, KvDType dtype, const Case& c, Cache& cache,
                           const std::vector<float>& out) {
  auto q = noise(3, c.n_tokens * c.n_group * c.head_dim);
  Values values(dtype, c, cache);
  std::vector<double> want(static_cast<size_t>(c.head_dim));
  for (int r = 0; r < c.n_tokens * c.n_group; r += 1 + c.n_tokens / 8) {
    ref::AttentionRow row = values.row(c, q.data(), r);
    ref::attention(want.data(), row);
    double bound = tolerance(table, dtype, c, row);
    for (int64_t d = 0; d < c.head_dim; ++d) {
      ASSERT_NEAR(static_cast<double>(out[static_cast<size_t>(r * c.head_dim + d)]), want[static_cast<size_t>(d)],
                  bound)
          << table.name << " dtype " << static_cast<int>(dtype) << " row " << r << " d " << d;
    }
  }
}

// Encoders: every row sees every token, those behind it too and none of the garbage behind the last; alone or in a
// tile.
TEST(AttentionTest, WithoutOrderEveryRowSeesAllTokens) {
  for (const Case& c : {Case{.head_dim = 32, .n_group = 1, .n_context = 45, .n_tokens = 45, .all = true},
                        Case{.head_dim = 64, .n_group = 1, .n_context = 300, .n_tokens = 300, .all = true},
                        Case{.head_dim = 16, .n_group = 2, .n_context = 1, .all = true}}) {
    for (const auto* table : tables()) {
      for (KvDType dtype : kDTypes) {
        Cache cache(*table, dtype, c);
        auto out = attend(*table, dtype, c, cache, 0, c.n_tokens);
        expect_near_reference(*table, dtype, c, cache, out);
        int t = c.n_tokens / 3;
        auto one = attend(*table, dtype, c, cache, t, t + 1);
        auto n = static_cast<std::ptrdiff_t>(one.size());
        std::vector<float> same(out.begin() + t * n, out.begin() + (t + 1) * n);
        EXPECT_TRUE(same_bits(one, same)) << table->name;
      }
    }
  }
}

TEST(AttentionTest, EveryTableAgreesWithSoftmaxInDoublePrecision) {
  for (const auto* table : tables()) {
    for (KvDType dtype : kDTypes) {
      for (const Case& c : kCases) {
        Cache cache(*table, dtype, c);
        auto out = attend(*table, dtype, c, cache, 0, c.n_tokens);
        SCOPED_TRACE(fmt::format("case {}", &c - kCases));
        expect_near_reference(*table, dtype, c, cache, out);
      }
    }
  }
}

// The bound above is for the worst case. On noise the errors of int8 average out: q has steps of about 3 / 127, so a
// score (standard deviation 1) has an error of about 0.7 %, and the output less than 1.5 % of its size.
// bf16 by vdpbf16ps: relative steps of 2^-8 in q and p, each off by 2^-8 / sqrt(12) = 0.1 % on average.
TEST(AttentionTest, RoundedOperandsAreCloseOnAverage) {
  Case c{.head_dim = 64, .n_group = 3, .n_context = 400, .n_tokens = 16};
  for (const auto* table : tables()) {
    for (KvDType dtype : kDTypes) {
      Cache cache(*table, dtype, c);
      Values values(dtype, c, cache);
      auto out = attend(*table, dtype, c, cache, 0, c.n_tokens);
      auto q = noise(3, c.n_tokens * c.n_group * c.head_dim);
      std::vector<double> want(64);
      double error = 0;
      double size = 0;
      for (int r = 0; r < c.n_tokens * c.n_group; ++r) {
        ref::attention(want.data(), values.row(c, q.data(), r));
        for (size_t d = 0; d < 64; ++d) {
          error += std::pow(static_cast<double>(out[static_cast<size_t>(r) * 64 + d]) - want[d], 2);
          size += std::pow(want[d], 2);
        }
      }
      EXPECT_LT(std::sqrt(error / size), dtype == KvDType::kInt8 ? 0.015 : 0.003) << table->name;
    }
  }
}

// One value of k forty times as large as the others, as real models have them: unrotated, a step is 40 times as wide
// for all, an error of a sixth of their size.
TEST(AttentionTest, AnOutlierDoesNotCostTheOthersTheirBits) {
  Case c{.head_dim = 64, .n_group = 1, .n_context = 60, .n_tokens = 4};
  auto k = noise(1, c.n_context * c.head_dim);
  for (const auto* table : tables()) {
    Cache cache(*table, KvDType::kInt8, c, 40.0f);
    Values values(KvDType::kInt8, c, cache);
    double error = 0;
    double size = 0;
    for (size_t i = 1; i < k.size(); i += i % 64 == 63 ? 2 : 1) {  // all but the outliers
      error += std::pow(values.k[i] - static_cast<double>(k[i]), 2);
      size += std::pow(static_cast<double>(k[i]), 2);
    }
    EXPECT_LT(std::sqrt(error / size), 0.05) << table->name;
  }
}

// bf16 blocks: in all tables of one family.
TEST(AttentionTest, BlocksAndOutputsHaveTheSameBitsInAllTables) {
  auto all = tables();
  for (KvDType dtype : kDTypes) {
    for (const Case& c : kCases) {
      Cache first(*all[0], dtype, c);
      std::map<std::string_view, std::vector<float>> want;
      for (const auto* table : all) {
        Cache cache(*table, dtype, c);
        EXPECT_EQ(std::memcmp(cache.base, first.base, static_cast<size_t>(cache.head_bytes * cache.n_blocks)), 0)
            << table->name;
        auto got = attend(*table, dtype, c, cache, 0, c.n_tokens);
        std::string_view of = dtype == KvDType::kBF16 ? table->bf16_family : "all";
        EXPECT_TRUE(same_bits(got, want.emplace(of, got).first->second))
            << table->name << " dtype " << static_cast<int>(dtype) << " case " << &c - kCases;
      }
    }
  }
}

TEST(AttentionTest, ChunksAndSingleRowsGiveTheBitsOfTheWhole) {
  for (const auto* table : tables()) {
    for (KvDType dtype : kDTypes) {
      for (const Case& c : kCases) {
        Cache cache(*table, dtype, c);
        auto whole = attend(*table, dtype, c, cache, 0, c.n_tokens);
        for (int chunk : {1, 3, 16}) {
          std::vector<float> parts;
          for (int begin = 0; begin < c.n_tokens; begin += chunk) {
            auto part = attend(*table, dtype, c, cache, begin, std::min(begin + chunk, c.n_tokens));
            parts.insert(parts.end(), part.begin(), part.end());
          }
          EXPECT_TRUE(same_bits(parts, whole)) << table->name << " chunk " << chunk << " case " << &c - kCases;
        }
      }
    }
  }
}

// The row of an early token: what later tokens wrote, or never wrote, must not matter.
TEST(AttentionTest, LaterTokensAndGarbageDoNotChangeABit) {
  for (const auto* table : tables()) {
    for (KvDType dtype : kDTypes) {
      for (int64_t n_context : {1, 17, 40, 258}) {
        Case shorter{.head_dim = 64, .n_group = 3, .n_context = n_context, .n_tokens = 1};
        Case longer = shorter;
        longer.n_context = n_context + 45;
        Cache alone(*table, dtype, shorter);
        Cache full(*table, dtype, longer);
        auto want = attend(*table, dtype, shorter, alone, 0, 1);
        EXPECT_TRUE(same_bits(attend(*table, dtype, shorter, full, 0, 1), want)) << table->name << " " << n_context;
        for (float x : want) EXPECT_TRUE(std::isfinite(x));
        // every byte pattern that matters in floats: all ones are NaN in bf16 and f16
        Cache nans(*table, dtype, shorter);
        std::fill(nans.bytes.begin(), nans.bytes.end(), uint8_t{0xFF});
        auto k = noise(1, n_context * 64);
        auto v = noise(2, n_context * 64);
        for (int64_t t = 0; t < n_context; ++t) {
          table->kv_write[static_cast<int>(dtype)](
              {nans.block(t / 32), 64, t % 32, k.data() + t * 64, v.data() + t * 64});
        }
        EXPECT_TRUE(same_bits(attend(*table, dtype, shorter, nans, 0, 1), want)) << table->name << " " << n_context;
      }
    }
  }
}

TEST(AttentionTest, ARowWithoutTokensOfTheSpanIsEmpty) {
  for (const auto* table : tables()) {
    for (KvDType dtype : kDTypes) {
      // rows at 250..269 with a window of 8: the first see span 0 only, the last span 1 only
      Case c{.head_dim = 32, .n_group = 2, .n_context = 270, .n_tokens = 20, .window = 8};
      Cache cache(*table, dtype, c);
      auto q = noise(3, 40 * 32);
      const uint8_t* blocks[8] = {cache.block(8)};
      float max[40];
      float sum[40];
      std::vector<float> o(40 * 32, 7.0f);
      std::vector<uint8_t> scratch(static_cast<size_t>(attn_scratch_bytes(40, 32)) + 64);
      AttnSpanArgs args{
          q.data(), 64,  20,       2,
          32,       250, 8,        0,
          blocks,   256, 1.0f,     0.0f,
          max,      sum, o.data(), scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64) % 64};
      table->attn_span[static_cast<int>(dtype)](args);
      for (size_t r = 0; r < 40; ++r) {
        bool empty = 250 + r / 2 < 256;
        EXPECT_EQ(sum[r] == 0.0f, empty);
        EXPECT_EQ(max[r] == -std::numeric_limits<float>::infinity(), empty);
        EXPECT_EQ(o[r * 32] == 0.0f, empty);
      }
    }
  }
}

TEST(AttentionTest, MergeOfEmptySpansIsZeroAndEmptySpansDoNotCount) {
  for (const auto* table : tables()) {
    float inf = std::numeric_limits<float>::infinity();
    float max[3] = {-inf, -inf, -inf};
    float sum[3] = {0, 0, 0};
    std::vector<float> o(3 * 16, 0.0f);
    std::vector<float> out(16, 7.0f);
    table->attn_merge({max, sum, o.data(), 1, 3, 16, out.data()});
    EXPECT_EQ(out[3], 0.0f);
    max[1] = 5.0f;
    sum[1] = 3.0f;
    for (size_t d = 0; d < 16; ++d) o[16 + d] = static_cast<float>(d);
    table->attn_merge({max, sum, o.data(), 1, 3, 16, out.data()});
    EXPECT_EQ(out[7], 7.0f / 3.0f);
  }
}

TEST(AttentionTest, NaNAndInfinityAreNotHidden) {
  for (const auto* table : tables()) {
    for (KvDType dtype : kDTypes) {
      for (int where = 0; where < 2; ++where) {
        for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
          // q * infinity may be the score -inf, which is a token of weight 0 in any arithmetic
          if (where == 0 && dtype == KvDType::kBF16 && std::isinf(bad)) continue;
          Case c{.head_dim = 32, .n_group = 1, .n_context = 20, .n_tokens = 1};
          Cache cache(*table, dtype, c);
          std::vector<float> x(32, 0.5f);
          std::vector<float> broken(32, 0.5f);
          broken[9] = bad;
          table->kv_write[static_cast<int>(dtype)](
              {cache.base, 32, 4, where == 0 ? broken.data() : x.data(), where == 1 ? broken.data() : x.data()});
          auto out = attend(*table, dtype, c, cache, 0, 1);
          EXPECT_FALSE(std::isfinite(out[9])) << table->name << " dtype " << static_cast<int>(dtype) << " in "
                                              << "kv"[where];
        }
      }
    }
  }
}

// Half a step, and the f16 rounding of the scale: 2^-11 of amax, 2^-25 where it is subnormal.
void expect_within_half_a_step(const std::vector<double>& got, const std::vector<double>& want) {
  double amax = 0;
  for (double x : want) amax = std::max(amax, std::abs(x));
  for (size_t d = 0; d < want.size(); ++d) {
    EXPECT_NEAR(got[d], want[d], amax / 254 + amax * 0x1p-11 + 128 * 0x1p-25);
  }
}

TEST(AttentionTest, Int8ValuesAreWithinHalfAStep) {
  for (const auto* table : tables()) {
    for (float size : {1.0f, 1e-3f, 3e4f, 0.0f}) {
      auto k = noise(5, 64);
      auto v = noise(6, 64);
      for (float& x : k) x *= size;
      for (float& x : v) x *= size;
      std::vector<uint8_t> head(static_cast<size_t>(kv_head_bytes(KvDType::kInt8, 64)));
      table->kv_write[1]({head.data(), 64, 31, k.data(), v.data()});
      std::vector<double> got_k;
      std::vector<double> got_v;
      for (int64_t d = 0; d < 64; ++d) {
        got_k.push_back(ref::kv_k(KvDType::kInt8, head.data(), 64, 31, d));
        got_v.push_back(ref::kv_v(KvDType::kInt8, head.data(), 64, 31, d));
      }
      expect_within_half_a_step(rotated(got_k), rotated({k.begin(), k.begin() + 64}));
      expect_within_half_a_step(got_v, {v.begin(), v.begin() + 64});
    }
  }
}

}  // namespace
}  // namespace millrace::kernels
