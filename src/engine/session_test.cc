// Conversations that are saved, restored and forgotten by name: over FakeWorker, whose texts change with any mix-up.
#include <gtest/gtest.h>

#include "engine/sessions.h"
#include "tests/support/fake_engine.h"

namespace millrace::engine {
namespace {

using flow::GenerateRequest;

struct Setting {
  uint32_t depth = 1;
  bool windows = false;
  uint32_t n_blocks = 64;
};

EngineOptions engine_options(const Setting& setting) {
  EngineOptions options = support::small_engine(setting.n_blocks, 100, 4);
  options.kv.block_bytes = 4 * sizeof(support::FakeCell);
  if (setting.windows) support::add_window(options, 10);
  options.sched.depth = setting.depth;
  return options;
}

struct Rig : support::FakeEngine {
  explicit Rig(const Setting& setting) : FakeEngine({.options = engine_options(setting), .delay = 1, .bytes = true}) {}

  // The answer, which must be that of the request alone.
  std::vector<TokenId> answer(const GenerateRequest& request) {
    finish(request);
    EXPECT_EQ(sink.text(request.id).tokens, alone(request));
    return alone(request);
  }
  Result<void> end(const std::shared_ptr<SessionTask>& task) {
    std::optional<Result<void>> outcome;
    task->done = [&outcome](Result<void> result) { outcome = std::move(result); };
    engine.session(task);
    run_until([&] { return outcome.has_value(); });
    return outcome.has_value() ? *outcome : Result<void>(Error{});
  }
};

GenerateRequest turn(flow::RequestId id, const std::vector<TokenId>& history, uint32_t n_new) {
  GenerateRequest request;
  request.id = id;
  request.session = "talk";
  request.prompt = history;
  for (uint32_t i = 0; i < n_new; ++i) request.prompt.push_back(static_cast<TokenId>(1 + (id * 11 + i * i) % 49));
  request.sampling.max_tokens = 14;
  request.sampling.ignore_eos = true;
  return request;
}

std::shared_ptr<SessionTask> task_of(SessionVerb verb, const std::string& name = "talk") {
  auto task = std::make_shared<SessionTask>();
  task->verb = verb;
  task->name = name;
  task->max_bytes = 1 << 20;
  return task;
}

struct Saved {
  std::shared_ptr<SessionTask> task;
  std::vector<TokenId> history;
};

Saved save_first_turn(Rig& rig) {
  GenerateRequest first = turn(1, {}, 33);
  Saved saved{.task = task_of(SessionVerb::kSave), .history = first.prompt};
  std::vector<TokenId> answer = rig.answer(first);
  saved.history.insert(saved.history.end(), answer.begin(), answer.end());
  Result<void> outcome = rig.end(saved.task);
  EXPECT_TRUE(outcome.ok());
  return saved;
}

class SessionCopies : public ::testing::TestWithParam<Setting> {};

TEST_P(SessionCopies, ARestoredConversationIsAHitWithTheSameText) {
  Rig before(GetParam());
  Saved saved = save_first_turn(before);
  EXPECT_EQ(saved.task->n_tokens, 44u);  // 46 computed tokens of 47
  EXPECT_EQ(saved.task->copy.tokens, saved.history);
  EXPECT_EQ(saved.task->copy.blocks.size(), 11u);

  Rig after(GetParam());
  GenerateRequest other = turn(7, {}, 20);  // steps are in flight meanwhile
  other.session.clear();
  after.submit(other);
  auto restore = task_of(SessionVerb::kRestore);
  restore->copy = saved.task->copy;
  EXPECT_TRUE(after.end(restore).ok());
  EXPECT_EQ(restore->n_tokens, 44u);
  after.run_until([&] { return !after.stats().has_work; });
  uint64_t n_hit = after.stats().prefix_hit_tokens;
  after.answer(turn(2, saved.history, 9));
  EXPECT_EQ(after.stats().prefix_hit_tokens - n_hit, 44u);
  auto again = task_of(SessionVerb::kSave);  // restored under its name
  EXPECT_TRUE(after.end(again).ok());
  EXPECT_GT(again->n_tokens, 44u);
}

TEST_P(SessionCopies, AnErasedConversationIsComputedAgain) {
  Rig rig(GetParam());
  Saved saved = save_first_turn(rig);
  auto erase = task_of(SessionVerb::kErase);
  EXPECT_TRUE(rig.end(erase).ok());
  EXPECT_EQ(erase->n_tokens, 44u);
  EXPECT_EQ(rig.stats().kv_blocks_cached, 0u);
  rig.answer(turn(2, saved.history, 9));
  EXPECT_EQ(rig.stats().prefix_hit_tokens, 0u);
}

TEST_P(SessionCopies, ErasingKeepsWhatOthersShare) {
  Rig rig(GetParam());
  Saved saved = save_first_turn(rig);
  std::vector<TokenId> begin(saved.history.begin(), saved.history.begin() + 20);
  GenerateRequest other = turn(3, begin, 20);
  other.session = "other";
  rig.answer(other);
  auto erase = task_of(SessionVerb::kErase);
  EXPECT_TRUE(rig.end(erase).ok());
  EXPECT_EQ(erase->n_tokens, 24u);
  uint64_t n_hit = rig.stats().prefix_hit_tokens;
  rig.answer(turn(4, saved.history, 9));
  EXPECT_LE(rig.stats().prefix_hit_tokens - n_hit, 20u);
}

INSTANTIATE_TEST_SUITE_P(Settings, SessionCopies,
                         ::testing::Values(Setting{}, Setting{.depth = 2}, Setting{.windows = true},
                                           Setting{.depth = 2, .windows = true}),
                         [](const auto& info) { return support::setting_name(info.param.windows, info.param.depth); });

TEST(Sessions, WhatCannotBeDoneIsSaid) {
  Rig rig({});
  Result<void> unknown = rig.end(task_of(SessionVerb::kSave, "nobody"));
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().code, ErrorCode::kNotFound);
  Saved saved = save_first_turn(rig);
  auto large = task_of(SessionVerb::kSave);
  large->max_bytes = 11 * 4 * sizeof(support::FakeCell) - 1;
  Result<void> refused = rig.end(large);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kResource);
  EXPECT_EQ(rig.stats().kv_blocks_active, 0u);
}

TEST(Sessions, ASmallPoolTakesWhatFits) {
  Rig before({});
  Saved saved = save_first_turn(before);
  Rig after({.n_blocks = 8});
  auto restore = task_of(SessionVerb::kRestore);
  restore->copy = saved.task->copy;
  EXPECT_TRUE(after.end(restore).ok());
  EXPECT_EQ(restore->n_tokens, 32u);
  EXPECT_EQ(after.stats().kv_blocks_active, 0u);
}

TEST(Sessions, AStoppedEngineAnswersAll) {
  Rig rig({});
  rig.engine.stop();
  rig.engine.step();
  Result<void> late = rig.end(task_of(SessionVerb::kErase));
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code, ErrorCode::kDraining);
}

}  // namespace
}  // namespace millrace::engine
