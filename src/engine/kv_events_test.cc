// An index kept from KV events alone knows what the engine's cache knows: what each prompt will find of itself.
#include "engine/kv_events.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "tests/support/fake_engine.h"

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
    while (n + kBlock < prompt.size() && known_.contains({salt, {prompt.begin(), prompt.begin() + n + kBlock}})) {
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
  EngineOptions options = support::small_engine(40, 100, 4);
  options.on_kv_events = [&mirror](std::span<KvEvent> events) { mirror.hear(events); };
  support::FakeEngine rig({.options = std::move(options)});
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
    rig.submit(std::move(request));
    if (dice() % 40 == 0) {
      rig.engine.reset_prefix_cache();
      expected = UINT32_MAX;  // the order of the two is not what is tested
    }
    rig.run_until([&] { return rig.sink.ended(id); });
    if (expected == UINT32_MAX) continue;
    EXPECT_EQ(rig.last(id).n_cached, expected) << "request " << id;
    n_hits += expected;
    if (HasFatalFailure() || HasFailure()) return;
  }
  EXPECT_GT(n_hits, 1000u);
  EXPECT_GT(rig.stats().n_evictions, 100u);
  rig.engine.reset_prefix_cache();
  rig.step();
  EXPECT_EQ(mirror.size(), 0u);
}

// Servers number their scopes as salts come: names go by the salts.
TEST(KvEvents, EqualContentHasEqualNamesOnEveryServerAndNoOtherHas) {
  auto names_of = [](const std::vector<std::string>& salts) {
    std::map<std::string, std::vector<uint64_t>> names;
    EngineOptions options = support::small_engine(100, 100, 4);
    options.on_kv_events = [&names](std::span<KvEvent> events) {
      for (const KvEvent& event : events) {
        std::vector<uint64_t>& known = names[event.cache_salt];
        known.insert(known.end(), event.names.begin(), event.names.end());
      }
    };
    support::FakeEngine rig({.options = std::move(options)});
    for (size_t i = 0; i < salts.size(); ++i) {
      GenerateRequest request{.id = i + 1, .scope = salts[i].empty() ? 0 : static_cast<uint32_t>(i + 1)};
      request.cache_salt = salts[i];
      for (TokenId token = 1; token <= 13; ++token) request.prompt.push_back(token);
      request.sampling.max_tokens = 1;
      rig.finish(std::move(request));
    }
    return names;
  };
  auto here = names_of({"red", "", "blue"});
  auto there = names_of({"blue", "green", "", "red"});
  std::set<uint64_t> all;
  for (const char* salt : {"", "red", "blue"}) {
    ASSERT_EQ(here[salt].size(), 3u);
    EXPECT_EQ(here[salt], there[salt]) << salt;
    all.insert(here[salt].begin(), here[salt].end());
  }
  EXPECT_EQ(all.size(), 9u);
}

// What is told of the disk, checked against the tokens that the names stand for.
class DiskMirror {
 public:
  void hear(std::span<KvEvent> events) {
    for (const KvEvent& event : events) {
      if (event.kind == KvEventKind::kCleared) here_.clear();
      if (event.kind == KvEventKind::kStored) add(event);
      if (event.kind != KvEventKind::kRemoved || event.medium != flow::KvMedium::kDisk) continue;
      for (uint64_t name : event.names) EXPECT_EQ(here_.erase(name), 1u) << "removed, never stored";
    }
  }
  const std::set<uint64_t>& here() const { return here_; }
  const std::vector<TokenId>& prefix(uint64_t name) const { return prefixes_.at(name); }

 private:
  void add(const KvEvent& event) {
    std::vector<TokenId> prefix;
    if (event.parent) {
      ASSERT_TRUE(prefixes_.contains(*event.parent)) << "a child before its parent";
      prefix = prefixes_.at(*event.parent);
    }
    ASSERT_EQ(event.tokens.size(), event.names.size() * kBlock);
    for (size_t i = 0; i < event.names.size(); ++i) {
      auto first = event.tokens.begin() + static_cast<std::ptrdiff_t>(i * kBlock);
      prefix.insert(prefix.end(), first, first + kBlock);
      auto [known, is_new] = prefixes_.emplace(event.names[i], prefix);
      EXPECT_EQ(known->second, prefix) << "pool and disk have one name for a prefix";
      if (event.medium != flow::KvMedium::kDisk) continue;
      EXPECT_TRUE(here_.insert(event.names[i]).second) << "stored twice";
    }
  }

  std::map<uint64_t, std::vector<TokenId>> prefixes_;  // ever told
  std::set<uint64_t> here_;
};

struct TieredRig : support::FakeEngine {
  TieredRig(DiskMirror& mirror, std::function<bool(uint32_t)> chance)
      : FakeEngine({.options = options_with(mirror), .tier = true, .chance = std::move(chance)}) {}
  static EngineOptions options_with(DiskMirror& mirror) {
    EngineOptions options = support::small_engine(40, 100, 4);
    options.tier_saves_all = true;
    options.on_kv_events = [&mirror](std::span<KvEvent> events) { mirror.hear(events); };
    return options;
  }
  GenerateRequest request(flow::RequestId id, uint32_t n_stem, uint32_t n_own) {
    GenerateRequest request;
    request.id = id;
    for (uint32_t i = 0; i < n_stem; ++i) request.prompt.push_back(static_cast<TokenId>(1 + i));
    for (uint32_t i = 0; i < n_own; ++i) request.prompt.push_back(static_cast<TokenId>(41 + (id * 3 + i * i) % 8));
    request.sampling.max_tokens = 3;
    return request;
  }
};

TEST(KvEvents, WhatLiesOnDiskIsToldWhateverHappensToIt) {
  DiskMirror mirror;
  std::mt19937_64 dice(12);
  TieredRig rig(mirror, [&dice](uint32_t odds) { return dice() % odds == 0; });
  for (flow::RequestId id = 1; id <= 200; ++id) {
    rig.finish(rig.request(id, static_cast<uint32_t>(dice() % 40), static_cast<uint32_t>(1 + dice() % 20)));
    if (dice() % 50 == 0) rig.engine.reset_prefix_cache();
    if (HasFailure()) return;
  }
  rig.tier.faults = false;
  rig.run();
  EXPECT_GT(rig.stats().tier_saved_blocks, 200u);
  EXPECT_GT(mirror.here().size(), 20u);
  EXPECT_EQ(mirror.here().size(), rig.tier.n_entries());
}

TEST(KvEvents, WhatAnEarlierProcessLeftOnDiskIsToldOnceItIsUsed) {
  auto never = [](uint32_t) { return false; };
  DiskMirror before, after;
  TieredRig first(before, never);
  first.finish(first.request(1, 0, 41));
  first.run();
  ASSERT_EQ(before.here().size(), 10u);
  TieredRig second(after, never);
  second.tier.find_entries_of(first.tier);
  second.run();
  EXPECT_EQ(after.here().size(), 0u) << "of a name alone nobody knows the tokens";
  GenerateRequest back = second.request(1, 0, 41);
  second.finish(back);
  EXPECT_EQ(second.last(1).n_cached, 40u);
  ASSERT_EQ(after.here().size(), 10u);
  size_t longest = 0;
  for (uint64_t name : after.here()) longest = std::max(longest, after.prefix(name).size());
  EXPECT_EQ(longest, 40u);
}

}  // namespace
}  // namespace millrace::engine
