// What a client of the engine relies on, one rule per test, over FakeWorker.
#include "engine/engine.h"

#include <gtest/gtest.h>

#include <memory>

#include "tests/support/fake_engine.h"

namespace millrace::engine {
namespace {

using flow::FinishReason;
using flow::GenerateRequest;

struct Rig : support::FakeEngine {
  explicit Rig(EngineOptions options = support::small_engine(), uint32_t eos_per_mille = 0)
      : FakeEngine({.options = std::move(options), .eos_per_mille = eos_per_mille}) {}

  GenerateRequest request(uint32_t n_prompt, uint32_t max_tokens, TokenId first = 1) {
    GenerateRequest r;
    r.id = next_id++;
    for (uint32_t i = 0; i < n_prompt; ++i) r.prompt.push_back(first + static_cast<TokenId>(i % 40));
    r.sampling.max_tokens = max_tokens;
    r.sampling.eos_token_ids = {0};
    return r;
  }

  flow::RequestId next_id = 1;
};

// Who has been told of a token finds it in the counts, and finds a request ended that was told of its end.
class CountingSink final : public flow::EventSink {
 public:
  void deliver(std::span<flow::TokenEvent> events) override {
    for (const flow::TokenEvent& event : events) n_ends += event.finish != flow::FinishReason::kNone;
    n_tokens += events.size();
    EXPECT_EQ(engine->stats().generated_tokens, n_tokens);
    EXPECT_EQ(engine->stats().n_requests_ended, n_ends);
  }
  const Engine* engine = nullptr;
  uint64_t n_tokens = 0, n_ends = 0;
};

TEST(Engine, CountsArePublishedBeforeTheTokensAreDelivered) {
  Rig rig;
  CountingSink sink;
  Engine engine(rig.setup.options, rig.worker, sink, rig.clock);
  sink.engine = &engine;
  for (uint32_t n : {5u, 3u, 9u}) ASSERT_TRUE(engine.submit(rig.request(10, n)).ok());
  for (int i = 0; i < 100 && engine.step(); ++i) {
  }
  EXPECT_EQ(sink.n_tokens, 17u);
  EXPECT_EQ(sink.n_ends, 3u);
}

TEST(Engine, ARequestRunsToItsLengthAndReportsItself) {
  Rig rig;
  GenerateRequest r = rig.request(10, 5);
  r.sampling.n_logprobs = 2;
  std::vector<TokenId> want = rig.alone(r);
  flow::RequestId id = rig.submit(std::move(r));
  EXPECT_TRUE(rig.step());
  EXPECT_EQ(rig.sink.text(id).tokens.size(), 1u);  // depth 1: computed, retired and emitted by one call
  rig.run();
  EXPECT_EQ(rig.sink.text(id).tokens, want);
  const flow::TokenEvent& last = rig.last(id);
  EXPECT_EQ(last.finish, FinishReason::kLength);
  EXPECT_EQ(last.n_prompt, 10u);
  EXPECT_EQ(last.n_output, 5u);
  EXPECT_EQ(last.n_cached, 0u);
  EXPECT_LT(last.times.arrival, last.times.first_scheduled);
  EXPECT_LE(last.times.first_scheduled, last.times.first_token);
  EXPECT_LT(last.times.first_token, last.times.finished);
  EXPECT_NE(last.logprobs, nullptr);
  EngineStats stats = rig.engine.stats();
  EXPECT_EQ(stats.prompt_tokens, 10u);
  EXPECT_EQ(stats.generated_tokens, 5u);
  EXPECT_EQ(stats.n_finished_length, 1u);
  EXPECT_EQ(stats.n_rows, 14u);
  EXPECT_FALSE(stats.has_work);
  ASSERT_EQ(rig.records.all.size(), 5u);
  EXPECT_EQ(rig.records.all[0].n_prefill_rows, 10u);
  EXPECT_EQ(rig.records.all[4].n_decode_rows, 1u);
  EXPECT_EQ(rig.records.all[4].n_tokens_out, 1u);
  EXPECT_FALSE(rig.step());
}

TEST(Engine, RefusalsNameTheNumbers) {
  EngineOptions options = support::small_engine();
  options.kv.n_blocks = 8;  // 32 tokens
  options.max_queued_requests = 2;
  Rig rig(options);
  EXPECT_EQ(rig.engine.max_len(), 32u);
  Result<void> too_long = rig.engine.submit(rig.request(32, 1));
  ASSERT_FALSE(too_long.ok());
  EXPECT_EQ(too_long.error().code, ErrorCode::kContextLengthExceeded);
  EXPECT_NE(too_long.error().message.find("32 tokens"), std::string::npos);
  EXPECT_EQ(rig.engine.submit(rig.request(0, 1)).error().code, ErrorCode::kEmptyPrompt);
  rig.submit(rig.request(32, 0));
  rig.submit(rig.request(31, 9));
  EXPECT_EQ(rig.engine.stats().n_waiting, 2u);
  EXPECT_EQ(rig.engine.submit(rig.request(3, 1)).error().code, ErrorCode::kQueueFull);
  rig.run();
  EXPECT_EQ(rig.sink.text(4).tokens.size(), 1u);  // 31 + 1 = 32
  EXPECT_EQ(rig.last(4).finish, FinishReason::kLength);
  EXPECT_EQ(rig.engine.stats().n_refused, 3u);
  rig.engine.begin_drain();
  EXPECT_EQ(rig.engine.submit(rig.request(3, 1)).error().code, ErrorCode::kDraining);
}

TEST(Engine, ManyPromptsOfOneRequestTakeOnePlace) {
  EngineOptions options = support::small_engine();
  options.max_queued_requests = 2;
  options.max_queued_tokens = 40;
  Rig rig(options);
  auto batch = [&](size_t n_prompts) {
    std::vector<flow::GenerateRequest> prompts;
    for (size_t i = 0; i < n_prompts; ++i) prompts.push_back(rig.request(3, 1));
    return prompts;
  };
  EXPECT_TRUE(rig.engine.submit(batch(100)).ok()) << "alone it may be larger than the queue";
  EXPECT_EQ(rig.engine.stats().n_requests, 100u);
  EXPECT_EQ(rig.engine.submit(batch(1)).error().code, ErrorCode::kQueueFull) << "no room for tokens of others";
  rig.run();
  EXPECT_EQ(rig.engine.stats().n_requests_ended, 100u);
  EXPECT_TRUE(rig.engine.submit(batch(5)).ok());
  EXPECT_TRUE(rig.engine.submit(batch(5)).ok());
  EXPECT_EQ(rig.engine.submit(batch(1)).error().code, ErrorCode::kQueueFull) << "two places are taken";
  std::vector<flow::GenerateRequest> with_bad = batch(2);
  with_bad.back().prompt.clear();
  EXPECT_EQ(rig.engine.submit(std::move(with_bad)).error().code, ErrorCode::kEmptyPrompt);
  EXPECT_EQ(rig.engine.stats().n_refused, 3u);
  rig.run();
  EXPECT_EQ(rig.engine.stats().n_requests_ended, 110u);
  EXPECT_EQ(rig.engine.stats().queued_tokens, 0u);
}

TEST(Engine, EosStopTokensAndMinTokens) {
  Rig rig(support::small_engine(), 400);
  GenerateRequest stops = rig.request(6, 60);
  GenerateRequest never = rig.request(6, 12);
  never.sampling.ignore_eos = true;
  GenerateRequest late = rig.request(6, 60);
  late.sampling.min_tokens = 20;
  flow::RequestId a = rig.submit(stops), b = rig.submit(never), c = rig.submit(late);
  GenerateRequest by_id = rig.request(9, 60, 3);
  by_id.sampling.ignore_eos = true;
  by_id.sampling.stop_token_ids = {0};
  flow::RequestId d = rig.submit(by_id);
  rig.run();
  EXPECT_EQ(rig.last(a).finish, FinishReason::kEos);
  EXPECT_EQ(rig.last(a).stop_token, 0);
  EXPECT_EQ(rig.last(a).token, 0);
  EXPECT_EQ(rig.sink.text(b).tokens.size(), 12u);
  EXPECT_EQ(rig.last(c).finish, FinishReason::kEos);
  EXPECT_GT(rig.sink.text(c).tokens.size(), 20u);
  EXPECT_EQ(rig.last(d).finish, FinishReason::kStopToken);
}

TEST(Engine, PromptScoringHasOneEventWithAllLogprobs) {
  Rig rig;
  flow::RequestId warm = rig.submit(rig.request(70, 1));
  rig.run();
  GenerateRequest r = rig.request(70, 0);
  r.sampling.n_prompt_logprobs = 0;
  r.n = 2;
  flow::RequestId id = rig.submit(r);
  rig.run();
  EXPECT_EQ(rig.last(warm).finish, FinishReason::kLength);
  ASSERT_EQ(rig.sink.text(id).events.size(), 1u);
  const flow::TokenEvent& event = rig.last(id);
  EXPECT_EQ(event.finish, FinishReason::kLength);
  EXPECT_EQ(event.token, kNoToken);
  EXPECT_EQ(event.n_cached, 0u);  // no match: every row is needed
  ASSERT_EQ(event.prompt_logprobs.size(), 69u);
  for (size_t i = 0; i < 69; ++i) EXPECT_EQ(event.prompt_logprobs[i].chosen.token, r.prompt[i + 1]);
  EXPECT_EQ(rig.last(id, 1).finish, FinishReason::kLength);
  EXPECT_TRUE(rig.last(id, 1).prompt_logprobs.empty());
}

TEST(Engine, PrefixIsSharedWithinOneStepAndAfterwards) {
  Rig rig;
  flow::RequestId a = rig.submit(rig.request(20, 3));
  flow::RequestId b = rig.submit(rig.request(20, 3));
  rig.step();
  EXPECT_EQ(rig.records.all[0].n_rows, 24u);           // 20 and, behind 4 shared blocks, 4
  EXPECT_EQ(rig.engine.stats().kv_blocks_active, 5u);  // the equal last block was exchanged
  rig.run();
  flow::RequestId c = rig.submit(rig.request(20, 3));
  rig.run();
  EXPECT_EQ(rig.last(a).n_cached, 0u);
  EXPECT_EQ(rig.last(b).n_cached, 16u);
  EXPECT_EQ(rig.last(c).n_cached, 16u);
  EXPECT_EQ(rig.sink.text(a).tokens, rig.sink.text(c).tokens);
  GenerateRequest other = rig.request(20, 3);
  other.scope = 7;
  flow::RequestId d = rig.submit(other);
  rig.run();
  EXPECT_EQ(rig.last(d).n_cached, 0u);
  rig.engine.reset_prefix_cache();
  flow::RequestId e = rig.submit(rig.request(20, 3));
  rig.run();
  EXPECT_EQ(rig.last(e).n_cached, 0u);
  EXPECT_EQ(rig.engine.stats().prefix_hit_tokens, 32u);
}

TEST(Engine, ForksShareThePromptAndDiffer) {
  Rig rig;
  GenerateRequest r = rig.request(18, 6);
  r.n = 4;
  flow::RequestId id = rig.submit(r);
  rig.step();
  EXPECT_EQ(rig.engine.stats().n_waiting, 3u);
  rig.step();
  EXPECT_EQ(rig.engine.stats().n_running, 4u);
  EXPECT_EQ(rig.records.all[1].n_rows, 4u);            // the last prompt token of each fork, and a decode
  EXPECT_EQ(rig.engine.stats().kv_blocks_active, 8u);  // 4 shared, 4 tails
  rig.run();
  for (uint32_t k = 0; k < 4; ++k) EXPECT_EQ(rig.sink.text(id, k).tokens, rig.alone(r, k));
  EXPECT_NE(rig.sink.text(id, 0).tokens, rig.sink.text(id, 1).tokens);
  EXPECT_EQ(rig.engine.stats().kv_blocks_active, 0u);
}

TEST(Engine, CancelFreesAtTheNextStepInEveryState) {
  Rig rig;
  GenerateRequest many = rig.request(18, 50);
  many.n = 3;
  flow::RequestId queued = rig.submit(rig.request(9, 5, 5));
  rig.engine.cancel(queued);
  flow::RequestId prefill = rig.submit(rig.request(90, 5, 9));
  rig.step();
  EXPECT_EQ(rig.last(queued).finish, FinishReason::kCancelled);
  EXPECT_TRUE(rig.sink.text(prefill).tokens.empty());
  rig.engine.cancel(prefill);
  flow::RequestId forks = rig.submit(many);
  rig.step();
  EXPECT_EQ(rig.last(prefill).finish, FinishReason::kCancelled);
  rig.step();
  rig.engine.cancel_fork(forks, 1);
  rig.step();
  EXPECT_EQ(rig.last(forks, 1).finish, FinishReason::kCancelled);
  EXPECT_EQ(rig.engine.stats().n_running, 2u);
  rig.engine.park(forks);
  rig.step();
  EXPECT_EQ(rig.engine.stats().n_parked, 2u);
  rig.engine.cancel(forks);
  rig.engine.cancel(forks);
  rig.engine.cancel(999);
  rig.step();
  for (uint32_t k : {0u, 2u}) EXPECT_EQ(rig.last(forks, k).finish, FinishReason::kCancelled);
  EXPECT_EQ(rig.engine.stats().kv_blocks_active, 0u);
  EXPECT_FALSE(rig.engine.stats().has_work);
}

TEST(Engine, AParkedReaderPausesAndIsDroppedAfterItsTime) {
  Rig rig;
  GenerateRequest r = rig.request(9, 20);
  flow::RequestId id = rig.submit(r), slow = rig.submit(rig.request(9, 20, 4));
  rig.step();
  rig.engine.park(id);
  rig.engine.park(slow);
  for (int i = 0; i < 5; ++i) rig.step();
  EXPECT_EQ(rig.sink.text(id).tokens.size(), 1u);
  EXPECT_GT(rig.engine.stats().kv_blocks_active, 0u);
  rig.engine.resume(id);
  rig.step();
  EXPECT_EQ(rig.sink.text(id).tokens.size(), 2u);
  rig.clock.advance(31 * kSecond);
  rig.run();
  EXPECT_EQ(rig.sink.text(id).tokens, rig.alone(r));
  EXPECT_EQ(rig.last(slow).finish, FinishReason::kError);
  EXPECT_EQ(rig.last(slow).error.code, ErrorCode::kSlowReader);
}

TEST(Engine, DeadlinesEndQueuedAndRunningRequests) {
  EngineOptions options = support::small_engine();
  options.sched.max_live = 1;
  Rig rig(options);
  GenerateRequest running = rig.request(9, 100);
  running.deadline = 20 * kMillisecond;
  GenerateRequest queued = rig.request(9, 100);
  queued.deadline = 10 * kMillisecond;
  GenerateRequest late = rig.request(9, 4);
  late.deadline = 1;
  flow::RequestId a = rig.submit(running), b = rig.submit(queued), c = rig.submit(late);
  rig.run();
  for (flow::RequestId id : {a, b, c}) {
    EXPECT_EQ(rig.last(id).finish, FinishReason::kError);
    EXPECT_EQ(rig.last(id).error.code, ErrorCode::kDeadlineExceeded);
  }
  EXPECT_GT(rig.sink.text(a).tokens.size(), 5u);
  EXPECT_EQ(rig.sink.text(b).tokens.size(), 0u);
  EXPECT_EQ(rig.last(c).times.first_scheduled, 0);
}

TEST(Engine, AFailedShareEndsItsSequenceAlone) {
  Rig rig;
  GenerateRequest good = rig.request(9, 8);
  flow::RequestId a = rig.submit(good), b = rig.submit(rig.request(9, 8, 6));
  rig.worker.fail_share = [](const flow::Share& share) { return share.slot == 1 && share.ctx == 11; };
  rig.run();
  EXPECT_EQ(rig.sink.text(a).tokens, rig.alone(good));
  EXPECT_EQ(rig.last(b).finish, FinishReason::kError);
  EXPECT_EQ(rig.last(b).error.message, "non-finite logits");
  EXPECT_EQ(rig.sink.text(b).tokens.size(), 3u);
}

TEST(Engine, AFailedStepIsRecomputedAndThreeEndTheRequest) {
  Rig rig;
  GenerateRequest r = rig.request(9, 8);
  int failures = 0;
  rig.worker.fail_step = [&](const flow::StepPlan& plan) { return plan.step >= 4 && failures++ < 2; };
  flow::RequestId a = rig.submit(r);
  rig.run();
  EXPECT_EQ(rig.sink.text(a).tokens, rig.alone(r));
  EXPECT_EQ(rig.engine.stats().n_failed_steps, 2u);
  EXPECT_GT(rig.engine.stats().recomputed_tokens, 0u);
  rig.worker.fail_step = [](const flow::StepPlan&) { return true; };
  flow::RequestId b = rig.submit(rig.request(9, 8, 6));
  rig.run();
  EXPECT_EQ(rig.last(b).finish, FinishReason::kError);
  EXPECT_EQ(rig.last(b).error.message, "the step failed");
}

TEST(Engine, DrainEndsTheQueueAndLetsTheRestFinish) {
  EngineOptions options = support::small_engine();
  options.sched.max_live = 1;
  Rig rig(options);
  flow::RequestId a = rig.submit(rig.request(9, 8)), b = rig.submit(rig.request(9, 8));
  rig.step();
  rig.engine.begin_drain();
  EXPECT_FALSE(rig.engine.drained());
  rig.run();
  EXPECT_EQ(rig.last(a).finish, FinishReason::kLength);
  EXPECT_EQ(rig.last(b).error.code, ErrorCode::kDraining);
  EXPECT_TRUE(rig.engine.drained());
}

TEST(Engine, StopEndsEverything) {
  Rig rig;
  flow::RequestId a = rig.submit(rig.request(9, 80));
  rig.step();
  rig.engine.stop();
  rig.step();
  EXPECT_TRUE(rig.engine.stopped());
  EXPECT_EQ(rig.last(a).error.code, ErrorCode::kDraining);
}

TEST(Engine, PriorityTakesBlocksFromLowerBandsAndNobodyStarves) {
  EngineOptions options = support::small_engine();
  options.kv.n_blocks = 12;
  options.sched.order = sched::OrderKind::kPriority;
  Rig rig(options);
  GenerateRequest low = rig.request(30, 12);
  GenerateRequest high = rig.request(30, 12, 7);
  high.band = 1;
  flow::RequestId a = rig.submit(low);
  rig.step();
  flow::RequestId b = rig.submit(high);
  rig.run();
  EXPECT_LT(rig.last(b).times.finished, rig.last(a).times.finished);
  EXPECT_EQ(rig.last(a).n_preempted, 1u);
  EXPECT_EQ(rig.sink.text(a).tokens, rig.alone(low));
  EXPECT_EQ(rig.sink.text(b).tokens, rig.alone(high));
}

TEST(Engine, DecodesNeverWaitForAPrefill) {
  Rig rig;
  flow::RequestId a = rig.submit(rig.request(9, 40));
  rig.step();
  rig.submit(rig.request(100, 2, 3));
  for (size_t n = 2; n < 8; ++n) {
    rig.step();
    EXPECT_EQ(rig.sink.text(a).tokens.size(), n);
    EXPECT_LE(rig.records.all.back().n_rows, rig.setup.options.sched.budget_tokens);
  }
}

TEST(Engine, ValidateExplainsImpossibleOptions) {
  EngineOptions options = support::small_engine();
  EXPECT_TRUE(Engine::validate(options).ok());
  options.sched.tok_cap = 9;
  EXPECT_EQ(Engine::validate(options).error().code, ErrorCode::kUsage);
  options = support::small_engine();
  options.kv.n_blocks = 0;
  EXPECT_EQ(Engine::validate(options).error().code, ErrorCode::kResource);
  options = support::small_engine();
  options.kv.groups.clear();
  EXPECT_FALSE(Engine::validate(options).ok());
}

}  // namespace
}  // namespace millrace::engine
