// Tests of pieces that whole-model tests would not name when they break: attention plans, activation windows, rope.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "layers/activations.h"
#include "layers/attention_plan.h"
#include "layers/rope.h"

namespace millrace::layers {
namespace {

struct Planned {
  device::Buffer memory = device::Buffer::allocate(size_t{64} << 20, "test").value();
  AttentionPlan* plan = nullptr;
};

Planned plan_of(const std::vector<SeqRows>& seqs, int64_t window, int n_threads, int table = kNoTable) {
  Planned out;
  device::Arena arena(out.memory);
  Batch batch;
  for (const SeqRows& seq : seqs) batch.n_rows += seq.n_rows;
  batch.seqs = seqs.data();
  batch.n_seqs = static_cast<int64_t>(seqs.size());
  AttentionShape shape{9, 3, 64};
  AttentionLimits limits = attention_limits(shape, 512, 8192);
  AttentionPlanPieces pieces = carve_plan(arena, shape, window, limits, batch.n_rows, n_threads);
  build_plan(pieces, batch, limits, table, n_threads);
  out.plan = pieces.shared;
  return out;
}

TEST(AttentionPlan, TilesCoverEveryRowOnce) {
  Planned planned = plan_of({{0, 100, 40}, {100, 1, 700}, {101, 7, 0}}, 0, 2);
  const AttentionPlan& plan = *planned.plan;
  int64_t row = 0;
  for (int64_t i = 0; i < plan.n_tiles; ++i) {
    EXPECT_EQ(plan.tiles[i].row_begin, row);
    row += plan.tiles[i].n_tokens;
    EXPECT_LE(plan.tiles[i].n_tokens * plan.shape.n_group(), 96);
  }
  EXPECT_EQ(row, 108);
  EXPECT_EQ(plan.item_of_thread[0], 0);
  EXPECT_EQ(plan.item_of_thread[2], plan.n_items);
}

TEST(AttentionPlan, ALoneLongStreamIsSplitBySpans) {
  Planned planned = plan_of({{0, 1, 4000}}, 0, 2);
  EXPECT_TRUE(planned.plan->split);
  EXPECT_EQ(planned.plan->n_items, 3 * 16);
  EXPECT_NEAR(static_cast<double>(planned.plan->item_of_thread[1]), 24.0, 1.0);
}

TEST(AttentionPlan, ManyStreamsAreNotSplit) {
  std::vector<SeqRows> seqs;
  for (int32_t i = 0; i < 32; ++i) seqs.push_back({i, 1, 500});
  Planned planned = plan_of(seqs, 0, 2);
  EXPECT_FALSE(planned.plan->split);
  EXPECT_EQ(planned.plan->n_items, 32 * 3);
  EXPECT_EQ(planned.plan->item_of_thread[1], 48);
}

// 40 decodes: the first 20 begin with the same 600 tokens, the others with their first 256 only, but for one between.
TEST(AttentionPlan, DecodesBehindASharedPrefixAreJoined) {
  std::vector<SeqRows> seqs;
  std::vector<std::vector<uint32_t>> blocks;
  for (int32_t i = 0; i < 40; ++i) {
    seqs.push_back({i, 1, 700 + i});
    std::vector<uint32_t>& of = blocks.emplace_back(32, 1000 + static_cast<uint32_t>(i));
    std::iota(of.begin(), of.begin() + (i < 20 ? 18 : 10), 0u);
    if (i == 30) of[0] = 999;
  }
  for (size_t i = 0; i < seqs.size(); ++i) seqs[i].tables[1] = blocks[i].data();
  Planned planned = plan_of(seqs, 0, 2, 1);
  const AttentionPlan& plan = *planned.plan;
  EXPECT_FALSE(plan.split);
  int64_t row = 0;
  int64_t cost = 0;
  for (int64_t i = 0; i < plan.n_tiles; ++i) {
    const AttentionTile& tile = plan.tiles[i];
    EXPECT_EQ(tile.seq, row);
    EXPECT_EQ(tile.row_begin, row);
    bool alone = tile.seq == 30;
    EXPECT_EQ(tile.n_shared, alone ? 0 : tile.seq < 20 ? 2 : 1) << tile.seq;
    EXPECT_LE(tile.n_tokens, alone ? 1 : 10);
    EXPECT_EQ(spans_of(tile, Batch{.seqs = seqs.data()}, 0), 3);
    row += tile.n_tokens;
    cost += tile.cost;
  }
  EXPECT_EQ(row, 40);
  EXPECT_EQ(plan.n_tiles, 5);
  EXPECT_EQ(plan.n_items, 5 * 3);
  Planned apart = plan_of(seqs, 0, 2);
  EXPECT_EQ(apart.plan->n_tiles, 40);
  EXPECT_EQ(plan_of(seqs, 300, 2, 1).plan->n_tiles, 40);  // a window of the layers
  for (int64_t i = 0; i < 40; ++i) cost -= apart.plan->tiles[i].cost;
  EXPECT_EQ(cost, 0);
}

TEST(AttentionPlan, SpansBeforeTheWindowAreLeftOut) {
  Planned planned = plan_of({{0, 1, 1000}}, 300, 1);
  EXPECT_EQ(planned.plan->tiles[0].first_span, 2);
  EXPECT_EQ(planned.plan->tiles[0].n_spans, 2);
}

TEST(Activations, WindowsPointIntoTheirRow) {
  device::Buffer memory = device::Buffer::allocate(1 << 20, "test").value();
  device::Arena arena(memory);
  ActMask mask = act_bit(kernels::ActKind::kQ8A32) | act_bit(kernels::ActKind::kQ8A256);
  ActSet acts = carve_acts(arena, mask, 4, 512);
  EXPECT_EQ(act_columns(mask), 256);
  kernels::ActRows window = act_window(acts.of(kernels::ActKind::kQ8A256), 2, 256, 256);
  const kernels::ActRows& whole = acts.of(kernels::ActKind::kQ8A256);
  EXPECT_EQ(window.d, whole.d + 2 * 2 + 1);
  EXPECT_EQ(window.sum, whole.sum + 2 * 32 + 16);
  EXPECT_EQ(static_cast<int8_t*>(window.data), static_cast<int8_t*>(whole.data) + 2 * 512 + 256);
}

TEST(Rope, ScalingsChangeFrequencies) {
  using weights::RopeScaling;
  using weights::RopeScalingKind;
  Rope plain(weights::RopeStyle::kHalfSplit, 64, 10000.0, RopeScaling{}, {});
  EXPECT_EQ(plain.inv_freq()[0], 1.0f);
  EXPECT_NEAR(static_cast<double>(plain.inv_freq()[16]), 0.01, 1e-9);
  Rope linear(weights::RopeStyle::kHalfSplit, 64, 10000.0, {.kind = RopeScalingKind::kLinear, .factor = 4.0}, {});
  EXPECT_EQ(linear.inv_freq()[0], 0.25f);
  std::vector<float> divisors(32, 2.0f);
  Rope factors(weights::RopeStyle::kHalfSplit, 64, 10000.0, {.kind = RopeScalingKind::kFactors}, divisors);
  EXPECT_EQ(factors.inv_freq()[0], 0.5f);
  std::vector<float> row(static_cast<size_t>(plain.row_floats()));
  plain.fill(row.data(), 3);
  EXPECT_EQ(row[0], static_cast<float>(std::cos(3.0)));
  EXPECT_EQ(row[32], static_cast<float>(std::sin(3.0)));
}

}  // namespace
}  // namespace millrace::layers
