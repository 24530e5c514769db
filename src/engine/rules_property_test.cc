// Random traces through the real engine over FakeWorker, with every combination of policies: after every turn the books
// balance and the rules of scheduling hold, and every text is that of the request alone. Rules checked:
// docs/contracts/cache.md and step.md, S1..S10 of docs/proofs.md. A failing trace is shrunk and printed.
// MILLRACE_SEEDS=N plays N seeds from MILLRACE_FIRST_SEED on instead of the usual ones, and says how many events they
// were.
#include <gtest/gtest.h>

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "tests/support/trace_world.h"

namespace millrace::engine {
namespace {

using support::Trace;
using support::TraceResult;

constexpr uint32_t kTurns = 120;

// Seeds that broke something once: they are always played. What each was is in the history of this list.
constexpr uint64_t kKeptSeeds[] = {1, 2, 3};

uint64_t number_from(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  if (text == nullptr) return otherwise;
  uint64_t value = otherwise;
  std::from_chars(text, text + std::strlen(text), value);
  return value;
}

struct Sums {
  uint64_t n_events = 0;
  uint64_t n_steps = 0;
  uint64_t n_preemptions = 0;
  uint64_t n_hits = 0;
  uint64_t n_failed = 0;
  uint64_t n_evictions = 0;
  uint64_t n_right = 0;  // proposals
  uint64_t n_wrong = 0;
};

bool play(uint64_t seed, Sums& sums) {
  Trace trace = support::random_trace(seed, kTurns);
  TraceResult result = support::run_trace(trace);
  if (!result.fault.empty()) {
    Trace small = support::shrink_trace(trace);
    ADD_FAILURE() << result.fault << "\nshrunk: " << support::run_trace(small).fault << "\n"
                  << support::describe(small);
    return false;
  }
  sums.n_events += result.n_events;
  sums.n_steps += result.stats.n_steps;
  sums.n_preemptions += result.stats.n_preemptions;
  sums.n_hits += result.stats.prefix_hit_tokens;
  sums.n_failed += result.stats.n_failed_steps;
  sums.n_evictions += result.stats.n_evictions;
  sums.n_right += result.stats.draft_tokens_accepted;
  sums.n_wrong += result.stats.draft_tokens - result.stats.draft_tokens_accepted;
  return true;
}

TEST(EngineRules, RandomTracesKeepTheBooksTheRulesAndTheTexts) {
  Sums sums;
  for (uint64_t seed : kKeptSeeds) {
    if (!play(seed, sums)) return;
  }
  uint64_t first = number_from("MILLRACE_FIRST_SEED", 1);
  uint64_t n_seeds = number_from("MILLRACE_SEEDS", 400);
  for (uint64_t seed = first; seed < first + n_seeds; ++seed) {
    if (!play(seed, sums)) return;
  }
  if (std::getenv("MILLRACE_SEEDS") != nullptr) fmt::print("events and turns: {}\n", sums.n_events);
  // the traces reach what they are meant to reach
  EXPECT_GT(sums.n_steps, n_seeds * 50);
  EXPECT_GT(sums.n_preemptions, n_seeds / 4);
  EXPECT_GT(sums.n_hits, n_seeds * 100);
  EXPECT_GT(sums.n_failed, n_seeds / 4);
  EXPECT_GT(sums.n_evictions, n_seeds);
  EXPECT_GT(sums.n_right, n_seeds * 10);
  EXPECT_GT(sums.n_wrong, n_seeds * 10);
}

TEST(EngineRules, SameEventsGiveSamePlansWhateverTheHash) {
  for (uint64_t seed = 1000; seed < 1040; ++seed) {
    Trace trace = support::random_trace(seed, 100);
    trace.options.trie_hash_bits = 64;
    TraceResult first = support::run_trace(trace);
    trace.options.trie_hash_bits = 8;
    trace.options.hash_secret = 0x1234567890abcdef;
    TraceResult second = support::run_trace(trace);
    ASSERT_EQ(first.fault + second.fault, "") << support::describe(trace);
    EXPECT_EQ(first.plans_hash, second.plans_hash) << seed;
  }
}

// A trace that fails is made small. The fault here: an engine that believes in more rows than the worker has.
TEST(EngineRules, ShrinkingKeepsWhatIsNeeded) {
  uint64_t seed = 1;
  Trace trace;
  TraceResult whole;
  for (; whole.fault.empty(); ++seed) {
    ASSERT_LT(seed, 100u) << "no trace fills a step";
    trace = support::random_trace(seed, kTurns);
    trace.worker.tok_cap = trace.options.sched.tok_cap / 2;
    whole = support::run_trace(trace);
  }
  Trace small = support::shrink_trace(trace);
  EXPECT_EQ(support::run_trace(small).fault.substr(0, 4), whole.fault.substr(0, 4));
  EXPECT_LT(small.events.size() * 4, trace.events.size());
}

}  // namespace
}  // namespace millrace::engine
