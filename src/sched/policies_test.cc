// The tables of policies, and what each order does with a queue.
#include "sched/policies.h"

#include <gtest/gtest.h>

#include <deque>
#include <set>

#include "sched/place_list.h"

namespace millrace::sched {
namespace {

flow::KvGeometry geometry() {
  return {.block_tokens = 4, .n_blocks = 64, .block_bytes = 1, .max_len = 200, .groups = {{}}};
}

// A queue of requests and a cache that may know some prefixes; no engine.
class Queue {
 public:
  explicit Queue(SchedOptions options) : options_(options), cache_(geometry(), {}), seqs_(options), list_(options) {}

  // Returns the request, for the fields a test cares about, before it is entered by enter().
  flow::GenerateRequest& request(std::vector<TokenId> prompt, uint32_t tenant = 0) {
    flow::GenerateRequest& request = requests_.emplace_back();
    request.id = requests_.size();
    request.arrival = now_;
    request.tenant = tenant;
    request.prompt = std::move(prompt);
    request.sampling.max_tokens = 10;
    return request;
  }
  SeqId enter(const flow::GenerateRequest& request) {
    now_ += kMicrosecond;
    return seqs_.create(request, 0, request.id, now_).id;
  }
  SeqId add(std::vector<TokenId> prompt, uint32_t tenant = 0) { return enter(request(std::move(prompt), tenant)); }

  // The cache knows this prompt from now on.
  void warm(const std::vector<TokenId>& prompt) {
    cache::SeqBlocks blocks;
    blocks.slot = 0;
    std::vector<flow::BlockDelta> deltas;
    std::vector<flow::CopyOp> copies;
    ++step_;
    cache_.extend(blocks, 0, static_cast<uint32_t>(prompt.size()), step_, {.blocks = &deltas, .copies = &copies});
    cache_.publish(blocks, {prompt, {}}, static_cast<uint32_t>(prompt.size()));
    cache_.settle();
    cache_.retire(step_);
    cache_.release(blocks);
  }

  std::vector<SeqId> order() {
    list_.build({.seqs = seqs_, .cache = cache_, .cost = cost_, .now = now_}, true);
    return list_.ids();
  }
  // Its prompt and `n_output` tokens are computed, and it is gone.
  void serve(SeqId id, uint64_t n_output) {
    Seq& seq = seqs_.at(id);
    seqs_.admit(seq, now_);
    seqs_.tenants().charge(seq.tenant, seq.n_prompt() * kPromptUnits + n_output * kOutputUnits);
    seqs_.end(seq);
    seq.kv.slot = cache::kNoSlot;
    seqs_.destroy(seq);
  }

  SchedOptions options_;
  cache::KvCache cache_;
  SeqTable seqs_;
  PlaceList list_;
  CostModel cost_;
  std::deque<flow::GenerateRequest> requests_;
  uint64_t step_ = 0;
  Tick now_ = kSecond;
};

SchedOptions with_order(OrderKind kind) {
  SchedOptions options;
  options.order = kind;
  return options;
}

std::vector<TokenId> range(TokenId first, size_t n) {
  std::vector<TokenId> out;
  for (size_t i = 0; i < n; ++i) out.push_back(first + static_cast<TokenId>(i));
  return out;
}

std::vector<TokenId> joined(std::vector<TokenId> a, const std::vector<TokenId>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

using Ids = std::vector<SeqId>;

TEST(Policies, RowsAreInOrderOfTheirKindsAndNamesAreUnique) {
  std::set<std::string_view> names;
  auto check = [&](auto rows) {
    for (const auto& row : rows) {
      EXPECT_EQ(row_of(row.kind).name, row.name);
      EXPECT_TRUE(names.insert(row.name).second) << row.name;
      EXPECT_NE(row.make(SchedOptions{}), nullptr);
      EXPECT_FALSE(row.what.empty());
      EXPECT_EQ(find_row(rows, row.name), &row);
    }
    EXPECT_EQ(find_row(rows, "no such policy"), nullptr);
  };
  check(order_rows());
  check(admit_rows());
  check(budget_rows());
}

TEST(Policies, EveryOrderListsEveryWaitingRequestOnce) {
  for (const OrderRow& row : order_rows()) {
    SCOPED_TRACE(row.name);
    Queue queue(with_order(row.kind));
    std::set<SeqId> all;
    for (uint32_t i = 0; i < 60; ++i) {
      flow::GenerateRequest& request = queue.request(range(static_cast<TokenId>(i % 7), 1 + i % 13), i % 5);
      request.band = static_cast<int16_t>(i % 3);
      all.insert(queue.enter(request));
    }
    Ids order = queue.order();
    EXPECT_EQ(order.size(), all.size());
    EXPECT_EQ(std::set<SeqId>(order.begin(), order.end()), all);
    if (!row.bands) continue;
    for (size_t i = 1; i < order.size(); ++i) {
      EXPECT_GE(queue.seqs_.at(order[i - 1]).request->band, queue.seqs_.at(order[i]).request->band);
    }
  }
}

TEST(Policies, NoOrderLooksAtMoreThanItsCandidates) {
  for (const OrderRow& row : order_rows()) {
    SCOPED_TRACE(row.name);
    SchedOptions options = with_order(row.kind);
    options.n_candidates = 10;
    Queue queue(options);
    for (uint32_t i = 0; i < 40; ++i) queue.add(range(TokenId(i), 5), i % 20);
    EXPECT_EQ(queue.order().size(), 10u);
  }
}

TEST(Policies, FcfsServesByArrivalWhateverTheBand) {
  Queue queue(with_order(OrderKind::kFcfs));
  Ids ids;
  for (int band : {0, 5, -5}) {
    flow::GenerateRequest& request = queue.request(range(1, 4));
    request.band = static_cast<int16_t>(band);
    ids.push_back(queue.enter(request));
  }
  EXPECT_EQ(queue.order(), ids);
}

TEST(Policies, EdfServesTheLeastSlackAndRelegatesTheHopeless) {
  Queue queue(with_order(OrderKind::kEdf));
  for (int i = 0; i < 10; ++i) queue.cost_.observe({.n_prefill = 100}, 100 * kMillisecond);  // 1 ms a row
  auto due_in = [&](Tick ms, uint32_t n_prompt) {
    flow::GenerateRequest& request = queue.request(range(1, n_prompt));
    request.deadline = queue.now_ + ms * kMillisecond;
    return queue.enter(request);
  };
  SeqId hopeless = due_in(50, 100);
  SeqId relaxed = due_in(900, 10);
  SeqId none = queue.add(range(1, 10));
  SeqId tight_and_long = due_in(500, 180);
  SeqId soon = due_in(300, 10);
  flow::GenerateRequest& slo = queue.request(range(1, 10));
  slo.ttft_slo = 200 * kMillisecond;
  slo.deadline = queue.now_ + 100 * kSecond;
  SeqId first = queue.enter(slo);
  EXPECT_EQ(queue.order(), (Ids{first, soon, tight_and_long, relaxed, none, hopeless}));
}

TEST(Policies, LpmServesTheLongestCachedPrefix) {
  Queue queue(with_order(OrderKind::kLpm));
  queue.warm(range(1, 12));
  queue.warm(range(100, 4));
  SeqId nothing = queue.add(range(50, 9));
  SeqId some = queue.add(range(100, 9));
  SeqId most = queue.add(range(1, 13));
  SeqId half = queue.add(joined(range(1, 8), range(70, 5)));
  EXPECT_EQ(queue.order(), (Ids{most, half, some, nothing}));
  queue.warm(range(50, 9));  // the memo sees it
  EXPECT_EQ(queue.order(), (Ids{most, nothing, half, some}));
  queue.cache_.reset();
  EXPECT_EQ(queue.order(), (Ids{nothing, some, most, half}));
}

TEST(Policies, DfsServesRelativesTogether) {
  Queue queue(with_order(OrderKind::kDfs));
  SeqId a1 = queue.add(joined(range(1, 8), range(40, 4)));
  SeqId b1 = queue.add(range(200, 9));
  SeqId a2 = queue.add(joined(range(1, 4), range(60, 4)));
  SeqId a3 = queue.add(joined(range(1, 8), range(50, 4)));
  SeqId b2 = queue.add(range(200, 8));
  EXPECT_EQ(queue.order(), (Ids{a1, a3, a2, b2, b1}));
  queue.serve(a1, 1);
  SeqId a4 = queue.add(joined(range(1, 8), range(45, 4)));
  EXPECT_EQ(queue.order(), (Ids{a4, a3, a2, b2, b1})) << "a subtree that was begun is finished";
}

TEST(Policies, VtcServesWhoGotLeast) {
  Queue queue(with_order(OrderKind::kVtc));
  Ids a;
  for (int i = 0; i < 3; ++i) a.push_back(queue.add(range(1, 10), 1));
  SeqId b = queue.add(range(1, 10), 2);
  EXPECT_EQ(queue.order(), (Ids{a[0], b, a[1], a[2]}));
  queue.serve(a[0], 100);
  EXPECT_EQ(queue.order(), (Ids{b, a[1], a[2]}));
  SeqId late = queue.add(range(1, 10), 3);  // comes without a lead: its counter starts at the least
  EXPECT_EQ(queue.order(), (Ids{b, late, a[1], a[2]}));
}

TEST(Policies, VtcWeightsCount) {
  Queue queue(with_order(OrderKind::kVtc));
  Ids light, heavy;
  for (int i = 0; i < 4; ++i) {
    light.push_back(queue.add(range(1, 10), 1));
    flow::GenerateRequest& request = queue.request(range(1, 10), 2);
    request.weight = 3;
    heavy.push_back(queue.enter(request));
  }
  EXPECT_EQ(queue.order(), (Ids{light[0], heavy[0], heavy[1], heavy[2], light[1], heavy[3], light[2], light[3]}));
}

TEST(Policies, DlpmFollowsPrefixesWithinTheQuantum) {
  SchedOptions options = with_order(OrderKind::kDlpm);
  options.quantum = 20;
  Queue queue(options);
  queue.warm(range(1, 8));
  Ids cached, other;
  for (int i = 0; i < 4; ++i) cached.push_back(queue.add(joined(range(1, 8), range(TokenId(100 * i + 100), 8)), 1));
  for (int i = 0; i < 2; ++i) other.push_back(queue.add(range(TokenId(100 * i + 500), 16), 2));
  // 8 uncached tokens each: three requests use up the first quantum of 20
  EXPECT_EQ(queue.order(), (Ids{cached[0], cached[1], cached[2], other[0], other[1], cached[3]}));
  for (int i = 0; i < 3; ++i) queue.serve(cached[static_cast<size_t>(i)], 0);
  EXPECT_EQ(queue.order(), (Ids{other[0], other[1], cached[3]}));
}

TEST(Policies, AFloodDoesNotHideTheOthers) {
  for (OrderKind kind : {OrderKind::kVtc, OrderKind::kDlpm}) {
    SCOPED_TRACE(row_of(kind).name);
    SchedOptions options = with_order(kind);
    options.n_candidates = 16;
    Queue queue(options);
    for (int i = 0; i < 200; ++i) queue.add(range(1, 8), 1);
    SeqId small = queue.add(range(1, 8), 2);
    Ids order = queue.order();
    auto place = std::find(order.begin(), order.end(), small) - order.begin();
    EXPECT_LT(place, 2);
  }
}

TEST(Policies, DlpmServesWhoAsksSeldomAtOnce) {
  Queue queue(with_order(OrderKind::kDlpm));
  Ids big;
  for (int i = 0; i < 4; ++i) big.push_back(queue.add(range(1, 10), 1));
  EXPECT_EQ(queue.order(), big);
  queue.serve(big[0], 50);
  SeqId small = queue.add(range(1, 10), 2);  // a tenant nobody met before has its quantum whole
  EXPECT_EQ(queue.order(), (Ids{small, big[1], big[2], big[3]}));
  queue.serve(small, 10);
  small = queue.add(range(1, 10), 2);  // it was away: what it had left is still its own
  EXPECT_EQ(queue.order(), (Ids{small, big[1], big[2], big[3]}));
}

TEST(Policies, ABarrierIsFirstAmongThoseThatNeverRan) {
  for (const OrderRow& row : order_rows()) {
    SCOPED_TRACE(row.name);
    Queue queue(with_order(row.kind));
    queue.warm(range(1, 8));
    SeqId old = queue.add(range(300, 30));
    queue.now_ += 3 * kSecond;
    queue.add(range(1, 9));
    queue.add(range(1, 9));
    EXPECT_EQ(queue.order().front(), old);
  }
}

}  // namespace
}  // namespace millrace::sched
