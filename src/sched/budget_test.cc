// Budgets: what a step may hold, against cost models of any shape.
#include <gtest/gtest.h>

#include <random>

#include "sched/policies.h"

namespace millrace::sched {
namespace {

SchedOptions options_of(BudgetKind kind) {
  SchedOptions options;
  options.budget = kind;
  options.tok_cap = 700;
  options.budget_tokens = 600;
  return options;
}

// 1 ms + 0.1 ms a row of prompts, 0.2 ms a decode.
CostModel simple_model() {
  CostRegime regime{.c = {1e6, 1e5, 2e5, 0, 0}, .n_seen = 100};
  return CostModel(16, regime, regime);
}

BudgetView view_of(const CostModel& cost, uint32_t n_decode) {
  BudgetView view{.cost = cost, .now = kSecond};
  view.decodes.n_decode = n_decode;
  view.most_rows = 700 - n_decode;
  return view;
}

Tick cost_of(const BudgetView& view, uint32_t n_prefill) {
  StepShape shape = view.decodes;
  shape.n_prefill = n_prefill;
  shape.ctx_prefill = row_context(view.prefill_ctx, n_prefill);
  return view.cost.predict(shape);
}

uint32_t rows_of(BudgetKind kind, const BudgetView& view) {
  return row_of(kind).make(options_of(kind))->compute(view).prefill_rows;
}

TEST(Budget, StaticLeavesTheRestToPrompts) {
  CostModel cost = simple_model();
  EXPECT_EQ(rows_of(BudgetKind::kStatic, view_of(cost, 0)), 600u);
  EXPECT_EQ(rows_of(BudgetKind::kStatic, view_of(cost, 100)), 500u);
  EXPECT_EQ(rows_of(BudgetKind::kStatic, view_of(cost, 650)), 6u);
}

TEST(Budget, SlackWithoutTargetGivesStreamsAThirdOfTheirSpeed) {
  CostModel cost = simple_model();
  // 8 decodes alone: 2.6 ms, so 10 ms count: (10 - 2.6) / 0.1 = 74 rows, 8 + 70 is a multiple of 6
  EXPECT_EQ(rows_of(BudgetKind::kSlack, view_of(cost, 8)), 70u);
  // 32 decodes alone: 7.4 ms; 22.2 - 7.4 = 14.8 ms for prompts
  EXPECT_EQ(rows_of(BudgetKind::kSlack, view_of(cost, 32)), 148u);
  // 100 are a crowd, of half their speed: 21 ms alone, 42 - 21 = 21 ms for prompts; 100 + 206 is a multiple of 6
  EXPECT_EQ(rows_of(BudgetKind::kSlack, view_of(cost, 100)), 206u);
}

TEST(Budget, StreamsMakeRoomForThoseWhoWillJoinThem) {
  CostModel cost = simple_model();
  BudgetView view = view_of(cost, 8);
  view.n_prompts = 12;  // 20 decodes: 5 ms; 15 - 2.6 ms for prompts
  EXPECT_EQ(rows_of(BudgetKind::kSlack, view), 124u);
  view.n_prompts = 1000;  // 32 count: 7.4 ms; 22.2 - 2.6 ms
  EXPECT_EQ(rows_of(BudgetKind::kSlack, view), 196u);
  BudgetView alone = view_of(cost, 1);
  alone.n_prompts = 1000;  // a lone stream: 10 ms, whatever the crowd
  EXPECT_EQ(rows_of(BudgetKind::kSlack, alone), 83u);
}

TEST(Budget, ALongQueueSlowsStreamsDown) {
  CostModel cost = simple_model();
  BudgetView view = view_of(cost, 8);
  view.n_prompts = 12;
  view.n_pending = 60'000;  // 6 s: three times 5 ms, as ever
  EXPECT_EQ(rows_of(BudgetKind::kSlack, view), 124u);
  view.n_pending = 120'000;  // 6 times 5 ms, less 2.6
  EXPECT_EQ(rows_of(BudgetKind::kSlack, view), 274u);
  view.n_pending = 1'000'000'000;  // at most 10 times: the streams and 2
  EXPECT_EQ(rows_of(BudgetKind::kSlack, view), 472u);
  view.due = view.now + 10 * kMillisecond;  // not those with a target
  EXPECT_EQ(rows_of(BudgetKind::kSlack, view), 46u);
}

// A single stream keeps its pace, but not while a crowd waits to stream as well.
TEST(Budget, OneStreamIsNotServedBeforeACrowd) {
  CostRegime machine{.c = {4e6, 3e5, 3e5, 0, 0}, .n_seen = 100};  // 4.3 ms a token, 0.3 ms a prompt row
  CostModel cost(16, machine, machine);
  BudgetView alone = view_of(cost, 1);
  alone.n_prompts = 1000;
  alone.n_pending = 1'000'000;  // 300 s
  uint32_t quick = rows_of(BudgetKind::kSlack, alone);
  EXPECT_LE(quick, 30u);  // 3 times 4.3 ms
  alone.n_answer = 1000;  // one token each: nobody streams
  EXPECT_EQ(rows_of(BudgetKind::kSlack, alone), quick);
  alone.n_answer = 64'000;
  EXPECT_GT(rows_of(BudgetKind::kSlack, alone), 10 * quick);  // the whole crowd counts as aboard
  alone.n_prompts = 10;
  alone.n_pending = 3'000;  // 0.9 s
  alone.n_answer = 640;
  EXPECT_LE(rows_of(BudgetKind::kSlack, alone), quick);
}

// 8 decodes and 12 who wait, 20 aboard: 5 ms. What one token of an answer pays for: so many prompt rows beside each
// decode.
TEST(Budget, StepsAreAsLongAsTheLoadNeedsToStayInBalance) {
  CostModel cost = simple_model();
  BudgetView view = view_of(cost, 8);
  view.n_prompts = 12;
  view.n_pending = 12 * 200;
  view.n_answer =
      12 * 50;  // 4 rows a token, 80 beside 20 decodes: 13 ms, a quarter more is 16.25, less 2.6 for decodes
  EXPECT_EQ(rows_of(BudgetKind::kSlack, view), 136u);
  view.n_answer = 12 * 400;  // 10 rows: 6 ms, a quarter more is less than twice 5 ms: 10 - 2.6
  EXPECT_EQ(rows_of(BudgetKind::kSlack, view), 70u);
  view.n_answer = 12;  // 4,000 rows, as many as fit the step: no more than 10 times with 8 streams
  EXPECT_EQ(rows_of(BudgetKind::kSlack, view), 472u);
}

TEST(Budget, SlackWithATargetEndsBeforeTheFirstStreamIsDue) {
  CostModel cost = simple_model();
  BudgetView view = view_of(cost, 8);
  view.due = view.now + 10 * kMillisecond;  // 0.88 / 1.18 of it: 7.4 ms, 4.8 of them for prompts
  EXPECT_EQ(rows_of(BudgetKind::kSlack, view), 46u);
  view.due = view.now + kSecond;
  EXPECT_EQ(rows_of(BudgetKind::kSlack, view), 592u);
  view.untargeted = true;  // others have no target: the automatic one counts for them
  EXPECT_EQ(rows_of(BudgetKind::kSlack, view), 70u);
  view.due = view.now - 1;
  EXPECT_EQ(rows_of(BudgetKind::kSlack, view), 6u);
}

TEST(Budget, NobodyWaitsBesideALongPrompt) {
  CostModel cost = simple_model();
  EXPECT_EQ(rows_of(BudgetKind::kSlack, view_of(cost, 0)), 600u);
  CostRegime slow{.c = {1e6, 1e7, 1e7, 0, 0}, .n_seen = 100};  // 10 ms a row: half a second is 50 rows
  CostModel slow_cost(16, slow, slow);
  EXPECT_EQ(rows_of(BudgetKind::kSlack, view_of(slow_cost, 0)),
            126u);  // not less than is worth reading the weights for
}

TEST(Budget, AnUnknownMachineGetsTheWholeBudget) {
  CostModel cost;
  EXPECT_EQ(rows_of(BudgetKind::kSlack, view_of(cost, 8)), 592u);
}

// S5, and S1 for budgets: whatever the machine, the step is within its time or holds the least prefill.
TEST(Budget, StepsStayWithinTheirTimeOnAnyMachine) {
  std::mt19937_64 random(1);
  auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  auto scale = [&] { return static_cast<double>(1u << below(22)); };
  for (int i = 0; i < 5000; ++i) {
    CostRegime small{.c = {scale(), scale(), scale(), scale() / 1e3, scale() / 1e3}, .n_seen = 10};
    CostRegime large{.c = {scale(), scale(), scale(), scale() / 1e3, scale() / 1e3}, .n_seen = 10};
    CostModel cost(below(40), small, large);
    BudgetView view = view_of(cost, 1 + below(200));
    view.decodes.ctx_decode = below(1 << 20);
    view.prefill_ctx = below(4000);
    if (below(2) == 0) view.due = view.now + 1 + below(1 << 27);
    uint32_t rows = rows_of(BudgetKind::kSlack, view);
    ASSERT_GE(rows, 6u);
    ASSERT_LE(rows + view.decodes.n_decode, 600u + 6u);
    Tick limit = view.due != 0 ? (view.due - view.now) * 100 / 118 + 1
                               : std::max<Tick>(10 * kMillisecond, 3 * cost.predict(view.decodes));
    bool least = rows < 6 + 6;  // c_min, and what the row tile left
    ASSERT_TRUE(cost_of(view, rows) <= limit || least) << i;
  }
}

TEST(Budget, ExclusiveMixesWhereMixingIsFasterAndAlternatesWhereNot) {
  SchedOptions options = options_of(BudgetKind::kExclusive);
  CostModel cheap = simple_model();
  std::unique_ptr<Budget> budget = row_of(BudgetKind::kExclusive).make(options);
  EXPECT_EQ(budget->compute(view_of(cheap, 8)).side, Side::kBoth);
  // small steps are cheap, every larger one pays dearly for its decodes
  CostModel split(64, {.c = {1e6, 1e5, 1e4, 0, 0}, .n_seen = 100}, {.c = {1e6, 1e5, 4e6, 0, 0}, .n_seen = 100});
  Side before = Side::kBoth;
  for (int i = 0; i < 10; ++i) {
    BudgetView view = view_of(split, 8);
    view.due = view.now + 100 * kMillisecond;
    StepBudget step = budget->compute(view);
    EXPECT_NE(step.side, Side::kBoth);
    EXPECT_NE(step.side, before);
    EXPECT_EQ(step.prefill_rows > 0, step.side == Side::kPrefill);
    before = step.side;
  }
}

}  // namespace
}  // namespace millrace::sched
