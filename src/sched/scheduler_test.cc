// The rules of the one list, without an engine: order, budget, bypass and barrier, admission, victims.
#include "sched/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>

#include "sched/plan_hash.h"

namespace millrace::sched {
namespace {

flow::KvGeometry geometry(uint32_t n_blocks) {
  return {.block_tokens = 4, .n_blocks = n_blocks, .block_bytes = 1, .max_len = 100, .groups = {{}}};
}

SchedOptions small() {
  SchedOptions options;
  options.max_live = 4;
  options.tok_cap = 40;
  options.budget_tokens = 16;
  return options;
}

// Plans and pretends that every sampled token is 1.
class Bench {
 public:
  Bench(const SchedOptions& options, uint32_t n_blocks)
      : kv_(geometry(n_blocks)), cache_(kv_, {}), seqs_(options), sched_(options, kv_) {}

  Seq& add(uint32_t n_prompt, uint32_t max_tokens, TokenId first, int16_t band = 0) {
    flow::GenerateRequest& request = requests_.emplace_back();
    request.id = ++number_;
    request.arrival = now_;
    request.band = band;
    for (uint32_t i = 0; i < n_prompt; ++i) request.prompt.push_back(first + static_cast<TokenId>(i));
    request.sampling.max_tokens = max_tokens;
    return seqs_.create(request, 0, number_, now_);
  }

  bool step() {
    ++now_;
    if (!sched_.plan(seqs_, cache_, now_, record_)) return false;
    for (size_t i = 0; i < record_.seqs.size(); ++i) {
      Seq& seq = seqs_.at(record_.seqs[i]);
      --seq.progress.in_flight;
      if (!record_.plan.shares[i].sample) continue;
      --seq.progress.placeholders;
      seq.outputs.push_back(1);
      if (seq.outputs.size() < seq.request->sampling.max_tokens) continue;
      seqs_.end(seq);
      cache_.release(seq.kv);
    }
    cache_.retire(record_.plan.step);
    return true;
  }

  const flow::Share* share_of(const Seq& seq) const {
    for (size_t i = 0; i < record_.seqs.size(); ++i) {
      if (record_.seqs[i] == seq.id) return &record_.plan.shares[i];
    }
    return nullptr;
  }

  flow::KvGeometry kv_;
  cache::KvCache cache_;
  SeqTable seqs_;
  Scheduler sched_;
  PlanRecord record_;
  std::deque<flow::GenerateRequest> requests_;
  uint64_t number_ = 0;
  Tick now_ = 0;
};

TEST(Scheduler, DecodesComeFirstAndPrefillsShareTheRest) {
  Bench bench(small(), 64);
  Seq& a = bench.add(5, 9, 1);
  bench.step();
  Seq& b = bench.add(30, 9, 20);
  Seq& c = bench.add(10, 9, 60);
  bench.step();
  EXPECT_EQ(bench.share_of(a)->q_len, 1u);
  EXPECT_EQ(bench.share_of(b)->q_len, 15u);
  EXPECT_EQ(bench.share_of(c), nullptr);
  bench.step();
  EXPECT_EQ(bench.share_of(b)->ctx, 15u);
  EXPECT_TRUE(bench.share_of(b)->sample);
  bench.step();
  EXPECT_EQ(bench.share_of(c)->q_len, 10u);
  EXPECT_EQ(bench.record_.plan.n_rows(), 12u);
}

TEST(Scheduler, ABlockedRequestIsBypassedThenABarrier) {
  SchedOptions options = small();
  options.k_bypass = 3;
  Bench bench(options, 10);
  bench.add(8, 25, 1);
  bench.step();
  Seq& big = bench.add(36, 1, 100);  // 9 blocks while 2 or more are held
  int n_small = 0;
  for (int i = 0; i < 5; ++i) {
    Seq& tiny = bench.add(2, 1, TokenId(200 + 10 * i));
    bench.step();
    n_small += bench.share_of(tiny) != nullptr ? 1 : 0;
  }
  EXPECT_EQ(n_small, 3);  // being passed over three times makes the big one a barrier
  EXPECT_TRUE(bench.seqs_.is_barrier(big, bench.now_));
  for (int i = 0; i < 70 && big.outputs.empty(); ++i) bench.step();
  EXPECT_EQ(big.outputs.size(), 1u);
}

TEST(Scheduler, TheTailPaysForTheHead) {
  Bench bench(small(), 8);
  Seq& old = bench.add(8, 20, 1);
  Seq& young = bench.add(8, 20, 50);
  uint32_t preemptions = 0;
  while (bench.step()) {
    preemptions += bench.record_.n_preempted;
    if (old.state == SeqState::kLive) {
      EXPECT_NE(bench.share_of(old), nullptr);
    }
  }
  EXPECT_EQ(old.rank.n_preempted, 0u);
  EXPECT_GT(young.rank.n_preempted, 0u);
  EXPECT_EQ(young.rank.n_preempted_by_others, 0u);
  EXPECT_EQ(preemptions, young.rank.n_preempted);
  EXPECT_EQ(young.outputs.size(), 20u);
}

TEST(Scheduler, NoEvictPeakNeverPreempts) {
  SchedOptions options = small();
  options.admit = AdmitKind::kNoEvictPeak;
  Bench bench(options, 9);
  for (TokenId i = 0; i < 6; ++i) bench.add(6, 10 + static_cast<uint32_t>(i), 1 + 40 * i);
  size_t most = 0;
  while (bench.step()) {
    EXPECT_EQ(bench.record_.n_preempted, 0u);
    most = std::max(most, bench.seqs_.live().size());
  }
  EXPECT_GE(most, 2u);
  EXPECT_TRUE(bench.seqs_.n_waiting() == 0);
}

TEST(Scheduler, PriorityOrdersTheQueueByBand) {
  SchedOptions options = small();
  options.max_live = 1;
  options.order = OrderKind::kPriority;
  Bench bench(options, 32);
  bench.add(4, 2, 1);
  bench.step();
  Seq& low = bench.add(4, 2, 20, 0);
  Seq& high = bench.add(4, 2, 40, 3);
  while (high.outputs.empty()) bench.step();
  EXPECT_TRUE(low.outputs.empty());
}

TEST(Scheduler, EqualEventsGiveEqualHashes) {
  auto hashes = [](TokenId first) {
    Bench bench(small(), 32);
    bench.add(9, 5, first);
    bench.add(9, 5, 7);
    uint64_t all = 0;
    while (bench.step()) all = all * 31 + bench.record_.plan.state_hash;
    return all;
  };
  EXPECT_EQ(hashes(1), hashes(1));
  EXPECT_NE(hashes(1), hashes(2));
}

}  // namespace
}  // namespace millrace::sched
