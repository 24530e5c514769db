// KvCache against a naive model: what every block contains is recorded when it is written, and a match must be the
// longest prefix whose blocks all exist with exactly that content.
#include "cache/kv_cache.h"

#include <gtest/gtest.h>

#include <fmt/core.h>

#include <algorithm>
#include <deque>
#include <random>

namespace millrace::cache {
namespace {

using flow::KvGroup;
using flow::KvGroupKind;

flow::KvGeometry geometry(uint32_t block_tokens, uint32_t n_blocks, std::vector<uint32_t> windows) {
  flow::KvGeometry kv{
      .block_tokens = block_tokens, .n_blocks = n_blocks, .block_bytes = 1, .max_len = 256, .groups = {}};
  for (uint32_t window : windows) {
    kv.groups.push_back(
        {.kind = window == 0 ? KvGroupKind::kFull : KvGroupKind::kWindow, .window_tokens = window, .layers = {}});
  }
  return kv;
}

struct Edits {
  std::vector<flow::BlockDelta> blocks;
  std::vector<flow::CopyOp> copies;
  PlanEdits both() { return {.blocks = &blocks, .copies = &copies}; }
};

struct Sequence {
  std::vector<TokenId> tokens;
  uint32_t computed = 0;
  SeqBlocks kv;
  TokenView view() const { return {.prompt = tokens, .outputs = {}}; }
};

// What block `id` holds: its scope, KvGroup and the whole prefix that ends with it.
struct Content {
  uint32_t scope = 0;
  uint32_t kv_group = 0;
  std::vector<TokenId> prefix;
  bool operator==(const Content&) const = default;
};

class Model {
 public:
  Model(flow::KvGeometry kv, unsigned hash_bits)
      : kv_(kv), cache_(kv, {.hash_bits = hash_bits}), content_(kv.n_blocks) {}

  void run(uint64_t seed) {
    rng_.seed(seed);
    for (int i = 0; i < 300 && !testing::Test::HasFailure(); ++i) {
      if (live_.size() < 4 && below(3) == 0) start();
      if (!live_.empty()) {
        Sequence& seq = live_[below(static_cast<uint32_t>(live_.size()))];
        if (below(5) == 0) {
          cache_.release(seq.kv);
          std::swap(seq, live_.back());
          live_.pop_back();
        } else {
          grow(seq);
        }
      }
      audit();
    }
    for (Sequence& seq : live_) cache_.release(seq.kv);
    live_.clear();
    cache_.retire(step_);
    audit();
    EXPECT_EQ(cache_.pool().counts().active + cache_.pool().counts().cooling, 0u);
    cache_.reset();
    EXPECT_EQ(cache_.pool().counts().free, kv_.n_blocks);
  }

 private:
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(rng_() % n); }

  void start() {
    Sequence seq;
    uint32_t n = 1 + below(kv_.block_tokens * 5);
    uint32_t stem = below(2);
    for (uint32_t i = 0; i < n; ++i) seq.tokens.push_back(below(12) == 0 ? TokenId(below(3)) : TokenId(i % 7 + stem));
    seq.kv.scope = below(2);
    uint32_t longest = reference_match(seq);
    seq.computed = cache_.match(seq.kv, seq.view(), UINT32_MAX);
    EXPECT_EQ(seq.computed, longest);
    for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
      for (uint32_t i = seq.kv.first_live[g]; i < seq.kv.table[g].size(); ++i) {
        EXPECT_EQ(content_[seq.kv.table[g][i]], content_of(seq, g, i));
      }
    }
    live_.push_back(std::move(seq));
  }

  void grow(Sequence& seq) {
    if (seq.computed == seq.tokens.size()) seq.tokens.push_back(TokenId(below(3)));
    uint32_t n = 1 + below(static_cast<uint32_t>(seq.tokens.size()) - seq.computed);
    Edits edits;
    cache_.slide(seq.kv, seq.computed, edits.blocks);
    if (cache_.blocks_needed(seq.kv, seq.computed, n) > cache_.available()) return;
    cache_.extend(seq.kv, seq.computed, n, ++step_, edits.both());
    for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
      for (uint32_t i = seq.computed / kv_.block_tokens; i < seq.kv.table[g].size(); ++i) {
        content_[seq.kv.table[g][i]] = content_of(seq, g, i);
      }
    }
    seq.computed += n;
    cache_.publish(seq.kv, seq.view(), seq.computed);
    cache_.settle();
    if (below(2) == 0) cache_.retire(step_);
  }

  Content content_of(const Sequence& seq, uint32_t g, uint32_t index) const {
    size_t end = std::min<size_t>(seq.tokens.size(), size_t{index + 1} * kv_.block_tokens);
    return {seq.kv.scope, g, {seq.tokens.begin(), seq.tokens.begin() + static_cast<std::ptrdiff_t>(end)}};
  }

  bool published(const Content& wanted) const {
    for (BlockId id = 0; id < kv_.n_blocks; ++id) {
      if (cache_.pool().block(id).node != kNoNode && content_[id] == wanted) return true;
    }
    return false;
  }

  // With windows alone a path may be gone although its end is there, so those geometries run with a roomy pool.
  uint32_t reference_match(const Sequence& seq) const {
    for (auto n = static_cast<uint32_t>((seq.tokens.size() - 1) / kv_.block_tokens); n > 0; --n) {
      bool all = true;
      for (uint32_t g = 0; g < kv_.groups.size() && all; ++g) {
        uint32_t first = first_visible_block(kv_.groups[g], kv_.block_tokens, n * kv_.block_tokens);
        for (uint32_t i = first; i < n && all; ++i) all = published(content_of(seq, g, i));
      }
      if (all) return n * kv_.block_tokens;
    }
    return 0;
  }

  void audit() {
    std::vector<const SeqBlocks*> holders;
    for (const Sequence& seq : live_) holders.push_back(&seq.kv);
    EXPECT_EQ(cache_.check_integrity(holders), "");
  }

  flow::KvGeometry kv_;
  KvCache cache_;
  std::vector<Content> content_;
  std::deque<Sequence> live_;
  std::mt19937_64 rng_;
  uint64_t step_ = 0;
};

TEST(KvCache, MatchesAreTheLongestExactPrefixes) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    for (unsigned hash_bits : {64u, 8u, 1u}) {
      SCOPED_TRACE(fmt::format("seed {} hash bits {}", seed, hash_bits));
      Model(geometry(4, 24, {0}), hash_bits).run(seed);
      Model(geometry(4, 40, {0, 6}), hash_bits).run(seed);
      Model(geometry(1, 60, {0, 0, 3}), hash_bits).run(seed);
      Model(geometry(4, 500, {9}), hash_bits).run(seed);
      if (HasFailure()) return;
    }
  }
}

TEST(KvCache, ForkSharesBlocksAndCopiesTheLastOne) {
  KvCache cache(geometry(4, 16, {0}), {});
  Sequence parent{.tokens = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, .computed = 0, .kv = {}};
  Edits edits;
  cache.extend(parent.kv, 0, 10, 1, edits.both());
  cache.publish(parent.kv, parent.view(), 10);
  cache.settle();
  SeqBlocks child;
  ASSERT_TRUE(cache.fork(child, parent.kv, 9));
  EXPECT_EQ(child.table[0], parent.kv.table[0]);
  EXPECT_EQ(cache.pool().counts().active, 3u);
  EXPECT_EQ(cache.blocks_needed(child, 9, 1), 1u);
  cache.extend(child, 9, 1, 2, edits.both());
  ASSERT_EQ(edits.copies.size(), 1u);
  EXPECT_EQ(edits.copies[0].src, parent.kv.table[0][2]);
  EXPECT_EQ(edits.copies[0].dst, child.table[0][2]);
  EXPECT_EQ(edits.copies[0].tokens, 1u);
  EXPECT_EQ(cache.blocks_needed(parent.kv, 10, 1), 0u);  // alone with its tail again
  std::vector<const SeqBlocks*> holders = {&parent.kv, &child};
  EXPECT_EQ(cache.check_integrity(holders), "");
  cache.release(parent.kv);
  EXPECT_EQ(cache.blocks_needed(child, 10, 4), 1u);
  cache.release(child);
}

TEST(KvCache, DuplicatesAreExchangedForTheBlockThatOthersHold) {
  KvCache cache(geometry(4, 16, {0}), {});
  Sequence a{.tokens = {1, 2, 3, 4, 5}, .computed = 0, .kv = {}};
  Sequence b{.tokens = {1, 2, 3, 4, 6}, .computed = 0, .kv = {}};
  a.kv.slot = 0;
  b.kv.slot = 1;
  Edits edits;
  cache.extend(a.kv, 0, 4, 1, edits.both());
  cache.extend(b.kv, 0, 4, 1, edits.both());  // at once: neither could match the other
  cache.publish(a.kv, a.view(), 4);
  cache.publish(b.kv, b.view(), 4);
  EXPECT_TRUE(cache.carried().empty());
  cache.settle();
  EXPECT_EQ(a.kv.table[0][0], b.kv.table[0][0]);
  ASSERT_EQ(cache.carried().size(), 1u);
  EXPECT_EQ(cache.carried()[0].slot, 1u);
  EXPECT_EQ(cache.carried()[0].id, a.kv.table[0][0]);
  EXPECT_EQ(cache.pool().counts().cooling, 1u);  // step 1 still writes the duplicate
  cache.retire(1);
  EXPECT_EQ(cache.pool().counts().cooling, 0u);
  cache.release(b.kv);
  EXPECT_TRUE(cache.carried().empty());
  cache.release(a.kv);
}

TEST(KvCache, PoisonReachesDescendantsAndHolders) {
  KvCache cache(geometry(2, 16, {0}), {});
  Sequence a{.tokens = {1, 2, 3, 4, 5, 6, 7}, .computed = 0, .kv = {}};
  Edits edits;
  cache.extend(a.kv, 0, 2, 1, edits.both());
  cache.publish(a.kv, a.view(), 2);
  cache.settle();
  cache.extend(a.kv, 2, 4, 2, edits.both());
  cache.publish(a.kv, a.view(), 6);
  cache.settle();
  Sequence b{.tokens = a.tokens, .computed = 0, .kv = {}};
  EXPECT_EQ(cache.match(b.kv, b.view(), 100), 6u);
  cache.poison_from(2);
  cache.heal(a.kv);
  cache.heal(b.kv);
  EXPECT_TRUE(cache.holds_poisoned(a.kv));
  EXPECT_TRUE(cache.holds_poisoned(b.kv));
  cache.release(a.kv);
  cache.release(b.kv);
  EXPECT_EQ(cache.match(b.kv, b.view(), 100), 2u);  // the last good block
  EXPECT_FALSE(cache.holds_poisoned(b.kv));
  cache.release(b.kv);
  EXPECT_EQ(cache.check_integrity({}), "");
}

// Attention local to chunks of 10 tokens, in blocks of 4: what a query sees starts with its chunk.
TEST(KvCache, ChunksAreFreedWhenTheNextOneBegins) {
  flow::KvGroup group{.kind = flow::KvGroupKind::kChunk, .window_tokens = 10, .layers = {}};
  flow::KvGeometry kv{.block_tokens = 4, .n_blocks = 60, .block_bytes = 1, .max_len = 200, .groups = {{}, group}};
  KvCache cache(kv, {});
  Sequence seq{.tokens = std::vector<TokenId>(200, 3), .computed = 0, .kv = {}};
  Edits edits;
  for (uint64_t step = 1; seq.computed + 5 <= 100; ++step) {
    cache.slide(seq.kv, seq.computed, edits.blocks);
    EXPECT_EQ(seq.kv.first_live[1], seq.computed / 10 * 10 / 4) << seq.computed;
    EXPECT_EQ(seq.kv.first_live[0], 0u);
    cache.extend(seq.kv, seq.computed, 5, step, edits.both());
    seq.computed += 5;
    EXPECT_LE(seq.kv.table[1].size() - seq.kv.first_live[1], max_blocks_of_group(group, 4, 200, 5));
  }
  cache.release(seq.kv);
}

TEST(KvCache, WindowsHoldABoundedNumberOfBlocks) {
  flow::KvGeometry kv = geometry(4, 64, {0, 10});
  KvCache cache(kv, {});
  Sequence seq{.tokens = std::vector<TokenId>(200, 3), .computed = 0, .kv = {}};
  Edits edits;
  constexpr uint32_t kChunk = 6;
  for (uint64_t step = 1; seq.computed + kChunk <= 120; ++step) {
    cache.slide(seq.kv, seq.computed, edits.blocks);
    cache.extend(seq.kv, seq.computed, kChunk, step, edits.both());
    seq.computed += kChunk;
    EXPECT_LE(seq.kv.table[1].size() - seq.kv.first_live[1], max_blocks_of_group(kv.groups[1], 4, 200, kChunk));
  }
  EXPECT_EQ(max_blocks_of_group(kv.groups[1], 4, 200, kChunk), 5u);
  cache.release(seq.kv);
}

}  // namespace
}  // namespace millrace::cache
