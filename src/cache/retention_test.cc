// Retention and leases of KvCache against a naive model: a list of (priority, time of last use, depth) per prefix, of
// which the least is evicted. One sequence at a time, as in the golden traces.
#include <gtest/gtest.h>

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <random>
#include <span>
#include <tuple>

#include "cache/kv_cache.h"

namespace millrace::cache {
namespace {

flow::KvGeometry geometry(uint32_t n_blocks) {
  return {.block_tokens = 1, .n_blocks = n_blocks, .block_bytes = 1, .max_len = 256, .groups = {{}}};
}

struct Edits {
  std::vector<flow::BlockDelta> blocks;
  std::vector<flow::CopyOp> copies;
  PlanEdits both() { return {.blocks = &blocks, .copies = &copies}; }
};

// Prefixes by content. Worth of an entry: priority first, then time of use, then nearness to the root.
class Reference {
 public:
  explicit Reference(size_t capacity) : capacity_(capacity) {}

  size_t match(std::span<const TokenId> tokens) const {
    size_t n = 0;
    while (n + 1 < tokens.size() && entries_.contains(prefix(tokens, n + 1))) ++n;
    return n;
  }
  // The sequence ran and ended: its prefixes were used now.
  void use(std::span<const TokenId> tokens, uint8_t priority) {
    ++now_;
    for (size_t n = 1; n <= tokens.size(); ++n) {
      Entry& entry = entries_[prefix(tokens, n)];
      entry.priority = std::max(entry.priority, priority);
      entry.used = now_;
    }
  }
  // Makes room for n_new entries without touching the first `kept` prefixes of `tokens`.
  void evict_for(size_t n_new, std::span<const TokenId> tokens, size_t kept) {
    while (entries_.size() + n_new > capacity_) {
      auto worst = entries_.end();
      for (auto it = entries_.begin(); it != entries_.end(); ++it) {
        bool held = it->first.size() <= kept && std::ranges::equal(it->first, tokens.first(it->first.size()));
        if (!held && (worst == entries_.end() || key(*it) < key(*worst))) worst = it;
      }
      ASSERT_NE(worst, entries_.end());
      entries_.erase(worst);
    }
  }

 private:
  struct Entry {
    uint8_t priority = 0;
    uint64_t used = 0;
  };
  using Map = std::map<std::vector<TokenId>, Entry>;
  static std::vector<TokenId> prefix(std::span<const TokenId> tokens, size_t n) {
    return {tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(n)};
  }
  static std::tuple<uint8_t, uint64_t, size_t> key(const Map::value_type& e) {
    return {e.second.priority, e.second.used, SIZE_MAX - e.first.size()};
  }
  size_t capacity_;
  Map entries_;
  uint64_t now_ = 0;
};

std::vector<TokenId> random_tokens(std::mt19937_64& rng) {
  std::vector<TokenId> tokens(2 + rng() % 12);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<TokenId>(rng() % 10 == 0 ? rng() % 3 : i % 2);
  return tokens;
}

TEST(Retention, EvictionIsThatOfTheReference) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 rng(seed);
    uint32_t capacity = 15 + static_cast<uint32_t>(rng() % 40);
    KvCache cache(geometry(capacity), {});
    Reference reference(capacity);
    for (uint64_t step = 1; step <= 150 && !testing::Test::HasFailure(); ++step) {
      std::vector<TokenId> tokens = random_tokens(rng);
      TokenView view{.prompt = tokens, .outputs = {}};
      SeqBlocks seq;
      seq.priority = rng() % 4 == 0 ? static_cast<uint8_t>(rng() % kPriorities) : uint8_t{0};
      uint32_t matched = cache.match(seq, view, UINT32_MAX);
      ASSERT_EQ(matched, reference.match(tokens));
      // the last block may be cached already: it is computed again and takes the place of the old one
      reference.evict_for(tokens.size() - matched, tokens, matched);
      Edits edits;
      cache.extend(seq, matched, static_cast<uint32_t>(tokens.size()) - matched, step, edits.both());
      cache.publish(seq, view, view.size());
      cache.settle();
      cache.retire(step);
      uint8_t priority = seq.priority;
      cache.release(seq);
      reference.use(tokens, priority);
      ASSERT_EQ(cache.check_integrity({}), "");
    }
  }
}

// Runs one sequence and gives its table to `then`.
template <class Then>
void run(KvCache& cache, const std::vector<TokenId>& tokens, uint64_t step, Then then, uint8_t priority = 0) {
  TokenView view{.prompt = tokens, .outputs = {}};
  SeqBlocks seq;
  seq.priority = priority;
  uint32_t matched = cache.match(seq, view, UINT32_MAX);
  Edits edits;
  cache.extend(seq, matched, view.size() - matched, step, edits.both());
  cache.publish(seq, view, view.size());
  cache.settle();
  cache.retire(step);
  then(seq, matched);
  cache.release(seq);
  ASSERT_EQ(cache.check_integrity({}), "");
}

std::vector<TokenId> run_of(TokenId first, size_t n) {
  std::vector<TokenId> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = first + static_cast<TokenId>(i);
  return out;
}

constexpr auto kNothing = [](SeqBlocks&, uint32_t) {};

TEST(Retention, HighPrioritySurvivesAFloodAndIsReachable) {
  KvCache cache(geometry(20), {});
  run(cache, run_of(1000, 6), 1, kNothing, 3);
  for (uint64_t step = 2; step < 30; ++step) run(cache, run_of(static_cast<TokenId>(step) * 20, 10), step, kNothing);
  run(cache, run_of(1000, 7), 30, [](SeqBlocks&, uint32_t matched) { EXPECT_EQ(matched, 6u); });
}

TEST(Lease, HoldsUntilItExpires) {
  KvCache cache(geometry(40), {});
  LeaseAsk ask{.session = "s", .tenant = 1, .expires = 100};
  run(cache, run_of(1000, 6), 1, [&](SeqBlocks& seq, uint32_t) { EXPECT_TRUE(cache.lease(ask, seq)); });
  EXPECT_EQ(cache.n_leased(), 6u);
  EXPECT_EQ(cache.next_lease_expiry(), 100);
  for (uint64_t step = 2; step < 30; ++step) run(cache, run_of(static_cast<TokenId>(step) * 40, 30), step, kNothing);
  run(cache, run_of(1000, 7), 30, [](SeqBlocks&, uint32_t matched) { EXPECT_EQ(matched, 6u); });
  cache.expire_leases(99);
  EXPECT_EQ(cache.n_leased(), 6u);
  cache.expire_leases(100);
  EXPECT_EQ(cache.n_leased(), 0u);
  EXPECT_EQ(cache.next_lease_expiry(), 0);
  EXPECT_EQ(cache.pool().counts().active, 0u);
}

TEST(Lease, ANewerOneOfTheSessionTakesItsPlace) {
  KvCache cache(geometry(40), {});
  std::vector<TokenId> tokens = run_of(1000, 4);
  for (uint64_t turn = 1; turn <= 3; ++turn) {
    LeaseAsk ask{.session = "s", .tenant = 0, .expires = static_cast<Tick>(turn)};
    run(cache, tokens, turn, [&](SeqBlocks& seq, uint32_t) { EXPECT_TRUE(cache.lease(ask, seq)); });
    EXPECT_EQ(cache.n_leased(), tokens.size());
    tokens.push_back(TokenId(turn));
  }
  cache.reset();
  EXPECT_EQ(cache.n_leased(), 0u);
  EXPECT_EQ(cache.pool().counts().free, 40u);
}

TEST(Lease, TheQuotaIsAQuarterAndTheGreediestTenantGivesWay) {
  KvCache cache(geometry(40), {});  // quota 10
  auto hold = [&](const char* session, uint32_t tenant, TokenId first, size_t n, uint64_t step) {
    LeaseAsk ask{.session = session, .tenant = tenant, .expires = static_cast<Tick>(1000 + step)};
    run(cache, run_of(first, n), step, [&](SeqBlocks& seq, uint32_t) { EXPECT_TRUE(cache.lease(ask, seq)); });
    EXPECT_LE(cache.n_leased(), 10u);
  };
  hold("a", 1, 100, 3, 1);
  hold("b", 2, 200, 4, 2);
  hold("c", 2, 300, 3, 3);
  EXPECT_EQ(cache.n_leased(), 10u);
  hold("d", 1, 400, 2, 4);  // tenant 2 holds most: its older lease goes
  EXPECT_EQ(cache.n_leased(), 3u + 3 + 2);
  hold("e", 3, 500, 15, 5);  // larger than the quota: its begin is held, all others give way
  EXPECT_EQ(cache.n_leased(), 10u);
  EXPECT_TRUE(cache.give_up_lease());
  EXPECT_FALSE(cache.give_up_lease());
}

TEST(Lease, AFailedStepEndsTheLeasesOfWhatItComputed) {
  KvCache cache(geometry(40), {});
  run(cache, run_of(1000, 6), 1, [&](SeqBlocks& seq, uint32_t) {
    EXPECT_TRUE(cache.lease({.session = "s", .tenant = 0, .expires = 100}, seq));
    cache.poison_from(1);
    cache.heal(seq);
  });
  EXPECT_EQ(cache.n_leased(), 0u);
  EXPECT_EQ(cache.pool().counts().free, 40u);
}

}  // namespace
}  // namespace millrace::cache
