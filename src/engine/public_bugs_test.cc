// Bugs that other engines shipped, as properties of this one; each test names the issue. All but the last play traces
// through tests/support/trace_world.h, which checks books, rules and texts after every turn.
#include <gtest/gtest.h>

#include "sched/place_list.h"
#include "tests/support/memory_tier.h"
#include "tests/support/trace_world.h"

namespace millrace::engine {
namespace {

using support::Trace;
using support::TraceAct;
using support::TraceResult;

Trace quiet_trace(uint32_t n_blocks, uint32_t depth) {
  Trace trace{.seed = 1, .calm = true};
  trace.options.kv = {.block_tokens = 4, .n_blocks = n_blocks, .block_bytes = 1, .max_len = 80, .groups = {{}}};
  sched::SchedOptions& sched = trace.options.sched;
  sched.max_live = 4;
  sched.tok_cap = 40;
  sched.budget_tokens = 32;
  sched.depth = depth;
  trace.worker = {
      .kv = trace.options.kv, .tok_cap = 40, .n_vocab = 50, .eos = 0, .eos_per_mille = 0, .delay = depth - 1};
  return trace;
}

// A request of its own prompt that is submitted now; returns its index.
uint32_t submit(Trace& trace, uint32_t n_prompt, uint32_t max_tokens, int16_t band = 0) {
  flow::GenerateRequest request;
  request.id = trace.requests.size() + 1;
  request.band = band;
  for (uint32_t i = 0; i < n_prompt; ++i) {
    request.prompt.push_back(static_cast<TokenId>(1 + (i * 7 + trace.requests.size() * 11) % 48));
  }
  request.sampling.max_tokens = max_tokens;
  request.sampling.ignore_eos = true;
  trace.requests.push_back(std::move(request));
  auto index = static_cast<uint32_t>(trace.requests.size() - 1);
  trace.events.push_back({.act = TraceAct::kSubmit, .request = index, .advance = 0});
  return index;
}

void act(Trace& trace, TraceAct what, uint32_t request = 0) {
  trace.events.push_back({.act = what, .request = request});
}

void wait(Trace& trace, int n_turns) {
  for (int i = 0; i < n_turns; ++i) act(trace, TraceAct::kWait);
}

// vLLM #45388: a request whose gate opened was only looked for behind a head that could not be scheduled.
TEST(PublicBugs, Vllm45388AnOpenedGateIsSeenBehindABlockedHead) {
  Trace trace = quiet_trace(16, 1);
  submit(trace, 20, 30);
  wait(trace, 2);
  uint32_t gated = submit(trace, 8, 4);
  act(trace, TraceAct::kPark, gated);
  submit(trace, 60, 2);  // the head of the queue, too large for now
  wait(trace, 3);
  act(trace, TraceAct::kResume, gated);
  wait(trace, 60);
  EXPECT_EQ(support::run_trace(trace).fault, "");
}

// vLLM #49674: victims that free nothing at once led to a cascade of preemptions.
TEST(PublicBugs, Vllm49674PreemptionYieldsBlocksAtOnceWhateverTheDepth) {
  for (uint32_t depth : {1u, 2u}) {
    for (uint32_t n_blocks = 20; n_blocks < 32; ++n_blocks) {
      Trace trace = quiet_trace(n_blocks, depth);
      for (int i = 0; i < 4; ++i) submit(trace, 12, 40);
      wait(trace, 200);
      TraceResult result = support::run_trace(trace);
      EXPECT_EQ(result.fault, "") << n_blocks;
      EXPECT_LE(result.stats.n_preemptions, 12u) << n_blocks;
    }
  }
}

// SGLang #14972: with steps overlapped, a retracted request could not get its blocks: what steps in flight would add
// was not counted when they were planned. Proposals in flight are rows of that kind, too.
TEST(PublicBugs, Sglang14972WhatStepsInFlightAddIsCountedWhenTheyArePlanned) {
  uint64_t n_preemptions = 0;
  for (uint32_t max_draft : {0u, 4u}) {
    for (uint32_t n_blocks = 20; n_blocks < 32; ++n_blocks) {
      Trace trace = quiet_trace(n_blocks, 2);
      trace.worker.max_draft = max_draft;
      for (int i = 0; i < 4; ++i) submit(trace, 15, 40);
      wait(trace, 200);
      TraceResult result = support::run_trace(trace);
      EXPECT_EQ(result.fault, "") << n_blocks << " blocks, proposals " << max_draft;
      EXPECT_EQ(result.stats.n_finished_length, 4u);
      n_preemptions += result.stats.n_preemptions;
    }
  }
  EXPECT_GT(n_preemptions, 10u);
}

// vLLM #41190: the late output of a step was given to the next life of a preempted sequence.
TEST(PublicBugs, Vllm41190LateOutputIsNotCountedInTheNextLife) {
  uint64_t n_preemptions = 0;
  for (int when = 1; when < 30; ++when) {
    Trace trace = quiet_trace(20, 2);
    trace.options.sched.order = sched::OrderKind::kPriority;
    submit(trace, 16, 30);
    submit(trace, 15, 30);
    wait(trace, when);
    submit(trace, 60, 10, 5);  // takes what the others hold
    wait(trace, 200);
    TraceResult result = support::run_trace(trace);
    EXPECT_EQ(result.fault, "") << when;
    n_preemptions += result.stats.n_preemptions;
  }
  EXPECT_GT(n_preemptions, 20u);
}

// vLLM #31731: one big request blocked all behind it for ever, or starved behind them.
TEST(PublicBugs, Vllm31731ABigRequestNeitherBlocksNorStarves) {
  for (const sched::OrderRow& row : sched::order_rows()) {
    SCOPED_TRACE(row.name);
    Trace trace = quiet_trace(21, 1);
    trace.options.sched.order = row.kind;
    trace.options.max_queued_requests = 1000;
    submit(trace, 30, 20);
    wait(trace, 1);
    uint32_t big = submit(trace, 70, 1);
    for (int i = 0; i < 100; ++i) {
      submit(trace, 6, 2);
      wait(trace, 1);
    }
    act(trace, TraceAct::kCancel, big);  // too late: it has ended, or the trace is cut short with it in the queue
    TraceResult result = support::run_trace(trace);
    EXPECT_EQ(result.fault, "");
    EXPECT_EQ(result.stats.n_finished_cancelled, 0u) << "the big request was still waiting";
  }
}

// vLLM #41951: a preempted request went to the end of the queue.
TEST(PublicBugs, Vllm41951APreemptedRequestKeepsItsPlace) {
  sched::SchedOptions options;
  options.max_live = 2;
  for (const sched::OrderRow& row : sched::order_rows()) {
    options.order = row.kind;
    flow::KvGeometry kv{.block_tokens = 4, .n_blocks = 8, .block_bytes = 1, .max_len = 30, .groups = {{}}};
    cache::KvCache cache(kv, {});
    sched::SeqTable seqs(options);
    sched::PlaceList list(options);
    sched::CostModel cost;
    flow::GenerateRequest request;
    request.prompt = {1, 2, 3};
    sched::SeqId first = seqs.create(request, 0, 1, 0).id;
    for (uint64_t i = 2; i < 9; ++i) seqs.create(request, 0, i, 0);
    seqs.admit(seqs.at(first), 0);
    seqs.preempt(seqs.at(first), 1);
    list.build({.seqs = seqs, .cache = cache, .cost = cost, .now = 2}, true);
    EXPECT_EQ(list.ids().front(), first) << row.name;
  }
}

// vLLM #53130: skipped requests were counted as running until the limit was reached for ever.
TEST(PublicBugs, Vllm53130ParkedRequestsUseNoSlot) {
  Trace trace = quiet_trace(64, 1);
  trace.calm = false;
  trace.options.sched.max_live = 1;
  for (int i = 0; i < 5; ++i) {
    uint32_t parked = submit(trace, 8, 4);
    act(trace, TraceAct::kPark, parked);
  }
  submit(trace, 8, 4);
  wait(trace, 40);
  TraceResult result = support::run_trace(trace);
  EXPECT_EQ(result.fault, "");
  EXPECT_EQ(result.stats.n_finished_length, 6u);
}

// vLLM #39734: a request below the length limit and above the pool waited for ever.
TEST(PublicBugs, Vllm39734WhatCanNeverFitIsRefused) {
  Trace trace = quiet_trace(10, 1);
  submit(trace, 60, 4);  // 15 blocks
  submit(trace, 30, 4);
  wait(trace, 40);
  TraceResult result = support::run_trace(trace);
  EXPECT_EQ(result.fault, "");
  EXPECT_EQ(result.stats.n_refused, 1u);
  EXPECT_EQ(result.stats.n_finished_length, 1u);
}

// SGLang #12224 and its kin: several ways to end, and two of them gave blocks back twice.
TEST(PublicBugs, Sglang12224ACancelAtAnyTurnReleasesOnce) {
  for (uint32_t depth : {1u, 2u}) {
    for (int when = 0; when < 40; ++when) {
      Trace trace = quiet_trace(24, depth);
      uint32_t a = submit(trace, 30, 12);
      uint32_t b = submit(trace, 30, 12);
      trace.requests[b].n = 3;
      wait(trace, when);
      act(trace, TraceAct::kCancel, a);
      act(trace, TraceAct::kCancel, a);
      wait(trace, 1);
      act(trace, TraceAct::kCancel, b);
      EXPECT_EQ(support::run_trace(trace).fault, "") << when;
    }
  }
}

// SGLang #35270: blocks that two requests had shared were counted twice as evictable, and the check of an idle server
// ended it.
TEST(PublicBugs, Sglang35270AnIdleServerCountsWhatWasSharedOnce) {
  uint64_t n_hits = 0;
  for (uint32_t depth : {1u, 2u}) {
    Trace trace = quiet_trace(40, depth);
    for (int round = 0; round < 8; ++round) {
      uint32_t first = submit(trace, 30, 6);
      uint32_t twin = submit(trace, 30, 3);
      trace.requests[first].prompt = trace.requests[twin].prompt = trace.requests[0].prompt;
      trace.requests[twin].n = 2;
      wait(trace, round % 2 == 0 ? 30 : 5);  // idle in between, or not
      if (round % 3 == 2) act(trace, TraceAct::kCancel, first);
    }
    wait(trace, 60);
    TraceResult result = support::run_trace(trace);
    EXPECT_EQ(result.fault, "");
    n_hits += result.stats.prefix_hit_tokens;
  }
  EXPECT_GT(n_hits, 200u);
}

// vLLM #43884: taking blocks for one group of layers evicted the hit of another.
TEST(PublicBugs, Vllm43884HitsOfAllGroupsSurviveTheAllocation) {
  uint64_t n_hits = 0;
  for (uint32_t n_blocks = 24; n_blocks < 48; ++n_blocks) {
    Trace trace = quiet_trace(n_blocks, 1);
    trace.options.kv.groups = {{}, {.kind = flow::KvGroupKind::kWindow, .window_tokens = 12, .layers = {}}};
    trace.worker.kv = trace.options.kv;
    for (int round = 0; round < 6; ++round) {
      uint32_t index = submit(trace, 36, 3);
      if (round >= 2) trace.requests[index].prompt = trace.requests[index - 2].prompt;
      wait(trace, 4);
    }
    TraceResult result = support::run_trace(trace);
    EXPECT_EQ(result.fault, "") << n_blocks;
    n_hits += result.stats.prefix_hit_tokens;
  }
  EXPECT_GT(n_hits, 0u);
}

// vllm-ascend #13501: blocks below a window were given away while a step in flight still read them.
TEST(PublicBugs, VllmAscend13501WindowBlocksOutliveTheStepsThatReadThem) {
  for (uint32_t n_blocks = 14; n_blocks < 30; ++n_blocks) {
    Trace trace = quiet_trace(n_blocks, 2);
    trace.options.kv.groups = {{.kind = flow::KvGroupKind::kWindow, .window_tokens = 5, .layers = {}}};
    trace.worker.kv = trace.options.kv;
    for (int i = 0; i < 4; ++i) submit(trace, 30, 30);
    wait(trace, 120);
    EXPECT_EQ(support::run_trace(trace).fault, "") << n_blocks;
  }
}

// vllm-ascend #14055, vLLM #45357: blocks that a step in flight writes were given back and filled by a transfer.
// FakeWorker says so when a block is filled while a step is in flight, and any mix-up changes the text.
TEST(PublicBugs, Vllm45357BlocksOfAStepInFlightAreNotFilledFromBelow) {
  EngineOptions options = quiet_trace(22, 2).options;
  support::FakeWorkerOptions model{.kv = options.kv, .tok_cap = 40, .n_vocab = 50, .delay = 1};
  support::FakeWorker worker(model);
  support::MemoryTier tier(worker, [](uint32_t) { return false; });
  options.tier = &tier;
  options.tier_saves_all = true;
  support::CollectSink sink;
  support::FakeClock clock;
  Engine engine(options, worker, sink, clock);
  Trace asks;  // two conversations that push each other out of the pool, beside one that decodes all the time
  for (int turn = 0; turn < 6; ++turn) {
    submit(asks, 40, 8);
    if (turn >= 2) asks.requests.back().prompt = asks.requests[asks.requests.size() - 5].prompt;
    submit(asks, 4, 30);
  }
  for (const flow::GenerateRequest& ask : asks.requests) {
    ASSERT_TRUE(engine.submit(flow::GenerateRequest(ask)).ok());
    for (int turns = ask.prompt.size() > 4 ? 40 : 4; turns > 0; --turns) {
      clock.advance(kMillisecond);
      engine.step();
    }
  }
  for (int turns = 0; turns < 2000 && (engine.step() || engine.stats().has_work); ++turns) clock.advance(kMillisecond);
  for (const flow::GenerateRequest& ask : asks.requests) {
    EXPECT_EQ(sink.text(ask.id).tokens, support::reference_text(model, ask, 0, engine.max_len()).tokens) << ask.id;
  }
  for (const std::string& text : worker.violations()) ADD_FAILURE() << text;
  EXPECT_GT(engine.stats().tier_loaded_tokens, 0u);
}

// S7: tenants that always have requests waiting get service in proportion to their weights, however much of it one of
// them finds in the cache or how many requests it queues.
TEST(Fairness, BackloggedTenantsGetServiceByWeight) {
  constexpr uint32_t kTenants = 3;
  constexpr int64_t kRunning = 4 * (60 * int64_t{sched::kPromptUnits} + 10 * int64_t{sched::kOutputUnits});
  for (sched::OrderKind kind : {sched::OrderKind::kVtc, sched::OrderKind::kDlpm, sched::OrderKind::kLpm}) {
    SCOPED_TRACE(sched::row_of(kind).name);
    Trace trace = quiet_trace(200, 1);
    trace.options.sched.order = kind;
    trace.options.sched.quantum = 200;
    trace.options.max_queued_requests = 1000;
    support::FakeWorker worker(trace.worker);
    support::CollectSink sink;
    support::FakeClock clock;
    Engine engine(trace.options, worker, sink, clock);
    flow::RequestId id = 0;
    auto top_up = [&](uint32_t tenant, uint32_t n_queued) {
      for (; n_queued < (tenant == 1 ? 100u : 8u); ++n_queued) {
        flow::GenerateRequest request;
        request.id = ++id;
        request.tenant = tenant;
        request.weight = tenant;
        for (uint32_t i = 0; i < 50; ++i) {
          request.prompt.push_back(tenant == 1 ? static_cast<TokenId>(i) : static_cast<TokenId>((id * 13 + i) % 49));
        }
        request.prompt.push_back(static_cast<TokenId>(id % 49));
        request.sampling.max_tokens = 1 + static_cast<uint32_t>(id % 10);
        request.sampling.ignore_eos = true;
        ASSERT_TRUE(engine.submit(std::move(request)).ok());
      }
    };
    int64_t widest = 0;
    for (int step = 0; step < 2000; ++step) {
      const sched::TenantBook& book = engine.sequences().tenants();
      int64_t least = INT64_MAX, most = 0;
      for (uint32_t tenant = 1; tenant <= kTenants; ++tenant) {
        uint32_t n_queued = 0;
        int64_t served = 0;
        for (sched::TenantIdx i = 0; i < book.size(); ++i) {
          if (book.at(i).tenant != tenant) continue;
          n_queued = book.at(i).n_queued;
          served = static_cast<int64_t>(book.at(i).served) / tenant;
        }
        least = std::min(least, served);
        most = std::max(most, served);
        top_up(tenant, n_queued);
      }
      widest = std::max(widest, most - least);
      clock.advance(kMillisecond);
      engine.step();
    }
    int64_t bound = 2 * (kRunning + int64_t{trace.options.sched.quantum});
    if (kind == sched::OrderKind::kLpm) {
      EXPECT_GT(widest, 4 * bound);  // what the others prevent
    } else {
      EXPECT_LE(widest, bound);
    }
  }
}

}  // namespace
}  // namespace millrace::engine
