// An index kept from KV events alone knows what the engine's cache knows: what each prompt will find of itself.
#include "engine/kv_events.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "engine/engine.h"
#include "tests/support/collect_sink.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_worker.h"

namespace millrace::engine {
namespace {

using flow::GenerateRequest;
using flow::KvEvent;
using flow::KvEventKind;

constexpr uint32_t kBlock = 4;

// What a router keeps: for each block its prefix as tokens, found by the tokens again.
class Mirror {
 public:
  void hear(std::span<KvEvent> events) {
    for (const KvEvent& event : events) {
      if (event.kind == KvEventKind::kCleared) {
        prefixes_.clear();
        known_.clear();
      } else if (event.kind == KvEventKind::kRemoved) {
        for (uint64_t name : event.names) remove(name);
      } else {
        add(event);
      }
    }
  }
  // Tokens of the longest prefix that is known, of all but the last token.
  uint32_t hits(const std::vector<TokenId>& prompt, const std::string& salt) const {
    uint32_t n = 0;
    while (n + kBlock < prompt.size() &&
           known_.contains({salt, {prompt.begin(), prompt.begin() + static_cast<std::ptrdiff_t>(n + kBlock)}})) {
      n += kBlock;
    }
    return n;
  }
  size_t size() const { return known_.size(); }

 private:
  using Prefix = std::pair<std::string, std::vector<TokenId>>;  // salt, tokens

  void add(const KvEvent& event) {
    ASSERT_EQ(event.tokens.size(), event.names.size() * kBlock);
    Prefix prefix{event.cache_salt, {}};
    if (event.parent) {
      ASSERT_TRUE(prefixes_.contains(*event.parent)) << "a child before its parent";
      prefix = prefixes_.at(*event.parent);
      ASSERT_EQ(prefix.first, event.cache_salt);
    }
    for (size_t i = 0; i < event.names.size(); ++i) {
      for (size_t t = 0; t < kBlock; ++t) prefix.second.push_back(event.tokens[i * kBlock + t]);
      EXPECT_TRUE(prefixes_.emplace(event.names[i], prefix).second) << "stored twice";
      EXPECT_TRUE(known_.insert(prefix).second);
    }
  }
  void remove(uint64_t name) {
    auto found = prefixes_.find(name);
    ASSERT_NE(found, prefixes_.end()) << "removed, never stored";
    known_.erase(found->second);
    prefixes_.erase(found);
  }

  std::map<uint64_t, Prefix> prefixes_;
  std::set<Prefix> known_;
};

TEST(KvEvents, AnIndexFromEventsKnowsWhatEachPromptWillFind) {
  Mirror mirror;
  EngineOptions options;
  options.kv = {.block_tokens = kBlock, .n_blocks = 40, .block_bytes = 1, .max_len = 100, .groups = {{}}};
  options.sched.max_live = 4;
  options.sched.tok_cap = 64;
  options.sched.budget_tokens = 32;
  options.on_kv_events = [&mirror](std::span<KvEvent> events) { mirror.hear(events); };
  support::FakeClock clock;
  support::CollectSink sink;
  support::FakeWorker worker({.kv = options.kv, .tok_cap = 64, .n_vocab = 50});
  Engine engine(options, worker, sink, clock);
  std::mt19937_64 dice(11);
  uint64_t n_hits = 0;
  for (flow::RequestId id = 1; id <= 400; ++id) {
    GenerateRequest request;
    request.id = id;
    request.scope = static_cast<uint32_t>(dice() % 3);
    request.cache_salt = request.scope == 0 ? "" : request.scope == 1 ? "salt" : "other";
    auto n_stem = static_cast<TokenId>(dice() % 40);
    for (TokenId i = 0; i < n_stem; ++i) request.prompt.push_back(1 + i);
    for (uint64_t i = dice() % 20 + 1; i > 0; --i) request.prompt.push_back(static_cast<TokenId>(41 + dice() % 5));
    request.sampling.max_tokens = static_cast<uint32_t>(1 + dice() % 10);
    uint32_t expected = mirror.hits(request.prompt, request.cache_salt);
    ASSERT_TRUE(engine.submit(std::move(request)).ok());
    if (dice() % 40 == 0) {
      engine.reset_prefix_cache();
      expected = UINT32_MAX;  // the order of the two is not what is tested
    }
    for (int turns = 0; turns < 100 && !sink.ended(id); ++turns) {
      clock.advance(kMillisecond);
      engine.step();
    }
    ASSERT_TRUE(sink.ended(id));
    if (expected == UINT32_MAX) continue;
    EXPECT_EQ(sink.text(id).events.back().n_cached, expected) << "request " << id;
    n_hits += expected;
    if (HasFatalFailure() || HasFailure()) return;
  }
  EXPECT_GT(n_hits, 1000u);
  EXPECT_GT(engine.stats().n_evictions, 100u);
  engine.reset_prefix_cache();
  engine.step();
  EXPECT_EQ(mirror.size(), 0u);
}

}  // namespace
}  // namespace millrace::engine
