#include "cache/kv_cache.h"

#include <algorithm>

#include "base/macros.h"

namespace millrace::cache {
namespace {

bool has_full_group(const flow::KvGeometry& kv) {
  return std::ranges::any_of(kv.groups, [](const flow::KvGroup& g) { return g.kind == flow::KvGroupKind::kFull; });
}

// With a Full KvGroup every node holds a block, but for those of sequences with a window of their own. With windows
// alone, nodes above the windows are kept to lead to them.
TrieOptions trie_options(const flow::KvGeometry& kv, const CacheOptions& options) {
  return {.block_tokens = kv.block_tokens,
          .n_groups = static_cast<uint32_t>(kv.groups.size()),
          .capacity = has_full_group(kv) ? 2 * kv.n_blocks : 4 * kv.n_blocks,
          .hash_secret = options.hash_secret,
          .hash_bits = options.hash_bits};
}

}  // namespace

KvCache::KvCache(const flow::KvGeometry& kv, const CacheOptions& options)
    : kv_(kv),
      options_(options),
      faults_(options.contain_faults),
      pool_(kv.n_blocks, faults_),
      trie_(trie_options(kv, options), faults_) {
  scratch_.block.resize(kv.block_tokens);
  scratch_.dropped.resize(kv.n_blocks);
  scratch_.path.reserve(kv.max_len / kv.block_tokens + 1);
  carried_.reserve(64);
  exchanges_.reserve(64);
  scratch_.counted.reserve(kv.n_blocks);
  leases_.refs.resize(kv.n_blocks);
  leases_.quota = static_cast<uint32_t>(uint64_t{kv.n_blocks} * options.lease_percent / 100);
}

void KvCache::reserve(SeqBlocks& seq, uint32_t n_tokens) const {
  for (size_t g = 0; g < kv_.groups.size(); ++g) seq.table[g].reserve(ceil_div(n_tokens, kv_.block_tokens));
}

// --- a sequence gets its first blocks

uint32_t KvCache::match(SeqBlocks& seq, const TokenView& tokens, uint32_t max_tokens) {
  if (!faults_.sound(seq.table[0].empty() && seq.tail == kNoNode, "match on a table that is in use", seq.slot)) {
    release(seq);
  }
  scratch_.path.clear();
  if (!options_.match_prefixes || tokens.size() == 0) return 0;
  uint32_t most = std::min(max_tokens, tokens.size() - 1) / kv_.block_tokens;
  for (NodeId node = kNoNode; scratch_.path.size() < most;) {
    auto begin = static_cast<uint32_t>(scratch_.path.size()) * kv_.block_tokens;
    node = trie_.find(node, seq.scope, tokens.slice(begin, scratch_.block));
    if (node == kNoNode) break;
    scratch_.path.push_back(node);
  }
  uint32_t n_blocks = adopt_path(seq);
  bool shared = true;
  for (uint32_t i = 0; i < n_blocks; ++i) {
    BlockId first = seq.table[0][i];
    shared = shared && first != kNullBlock && pool_.block(first).ref > 1;
    if (shared) totals_.n_shared_tokens += kv_.block_tokens;
    uint16_t& hits = trie_.node(scratch_.path[i]).hits;
    hits = static_cast<uint16_t>(std::min(hits + 1, int{UINT16_MAX}));
  }
  return n_blocks * kv_.block_tokens;
}

// The sequence gets and holds what it can use of scratch_.path. Returns its length in blocks.
uint32_t KvCache::adopt_path(SeqBlocks& seq) {
  uint32_t n_blocks = usable_prefix(seq);
  if (n_blocks == 0) return 0;
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    VisibleBlocks visible = visible_blocks(kv_.groups[g], kv_.block_tokens, seq, n_blocks * kv_.block_tokens);
    seq.table[g].assign(n_blocks, kNullBlock);
    seq.first_live[g] = visible.first;
    for (uint32_t i = 0; i < n_blocks; ++i) {
      if (!visible.contains(i)) continue;
      BlockId id = trie_.at(scratch_.path[i], g);
      is_of(id, scratch_.path[i]);
      seq.table[g][i] = id;
      pool_.hold(id);
    }
  }
  seq.n_published = seq.n_adopted = n_blocks;
  move_tail(seq, scratch_.path[n_blocks - 1]);
  raise_priority(seq.tail, seq.priority);
  return n_blocks;
}

// The largest L such that all KvGroups have the blocks of scratch_.path that a query at position L * block_tokens sees.
uint32_t KvCache::usable_prefix(const SeqBlocks& seq) const {
  auto length = static_cast<uint32_t>(scratch_.path.size());
  for (bool stable = false; !stable;) {
    stable = true;
    for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
      VisibleBlocks visible = visible_blocks(kv_.groups[g], kv_.block_tokens, seq, length * kv_.block_tokens);
      for (uint32_t i = length; i > 0; --i) {
        if (!visible.contains(i - 1) || trie_.at(scratch_.path[i - 1], g) != kNullBlock) continue;
        length = i - 1;
        stable = false;
        visible = visible_blocks(kv_.groups[g], kv_.block_tokens, seq, length * kv_.block_tokens);
      }
    }
  }
  return length;
}

bool KvCache::fork(SeqBlocks& seq, const SeqBlocks& from, uint32_t n_tokens) {
  if (!faults_.sound(seq.table[0].empty() && seq.tail == kNoNode, "fork into a table that is in use", seq.slot)) {
    return false;
  }
  uint32_t n_blocks = ceil_div(n_tokens, kv_.block_tokens);
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    VisibleBlocks visible = visible_blocks(kv_.groups[g], kv_.block_tokens, seq, n_tokens);
    if (from.table[g].size() < n_blocks || from.first_live[g] > std::max(visible.first, visible.n_sinks)) return false;
  }
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    VisibleBlocks visible = visible_blocks(kv_.groups[g], kv_.block_tokens, seq, n_tokens);
    seq.table[g].assign(n_blocks, kNullBlock);
    seq.first_live[g] = std::min(visible.first, n_blocks);
    for (uint32_t i = 0; i < n_blocks; ++i) {
      if (!visible.contains(i)) continue;
      seq.table[g][i] = from.table[g][i];
      pool_.hold(seq.table[g][i]);
    }
  }
  NodeId tail = from.tail;
  uint32_t n_published = from.n_published;
  for (; n_published > n_tokens / kv_.block_tokens; --n_published) tail = trie_.node(tail).parent;
  seq.n_published = seq.n_adopted = n_published;
  seq.may_publish = from.may_publish;
  move_tail(seq, tail);
  return true;
}

void KvCache::announce(const SeqBlocks& seq, std::vector<flow::BlockDelta>& out) const {
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    for (uint32_t i = 0; i < seq.table[g].size(); ++i) {
      out.push_back({.slot = seq.slot, .kv_group = g, .index = i, .id = seq.table[g][i]});
    }
  }
}

// --- a sequence grows

void KvCache::slide(SeqBlocks& seq, uint32_t computed, std::vector<flow::BlockDelta>& out) {
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    auto size = static_cast<uint32_t>(seq.table[g].size());
    VisibleBlocks visible = visible_blocks(kv_.groups[g], kv_.block_tokens, seq, computed);
    uint32_t first = std::min(visible.first, size);
    for (uint32_t i = std::max(seq.first_live[g], visible.n_sinks); i < first; ++i) {
      pool_.release(seq.table[g][i], seq.last_step);
      seq.table[g][i] = kNullBlock;
      out.push_back({.slot = seq.slot, .kv_group = g, .index = i, .id = kNullBlock});
    }
    seq.first_live[g] = std::max(seq.first_live[g], first);
  }
}

bool KvCache::needs_copy(BlockId id) const { return pool_.block(id).ref > 1 || pool_.block(id).node != kNoNode; }

// By the one sequence that holds it. What is in quarantine is found later.
bool KvCache::writable(BlockId id) const {
  const Block& block = pool_.block(id);
  return block.state == BlockState::kQuarantined || (block.ref == 1 && block.node == kNoNode);
}

uint32_t KvCache::blocks_needed(const SeqBlocks& seq, uint32_t computed, uint32_t n_rows) const {
  uint32_t end = ceil_div(computed + n_rows, kv_.block_tokens);
  uint32_t last = computed / kv_.block_tokens;
  uint32_t need = 0;
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    auto size = static_cast<uint32_t>(seq.table[g].size());
    if (end > size) need += end - size;
    if (last < size && needs_copy(seq.table[g][last])) ++need;
  }
  return need;
}

bool KvCache::extend(SeqBlocks& seq, uint32_t computed, uint32_t n_rows, uint64_t step, const PlanEdits& edits) {
  uint32_t end = ceil_div(computed + n_rows, kv_.block_tokens);
  uint32_t last = computed / kv_.block_tokens;
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    std::vector<BlockId>& table = seq.table[g];
    if (last < table.size() && needs_copy(table[last])) {
      BlockId shared = table[last];
      BlockId own = take_block(g, step);
      if (own == kNullBlock) return false;
      edits.copies->push_back({.kv_group = g, .src = shared, .dst = own, .tokens = computed % kv_.block_tokens});
      table[last] = own;
      edits.blocks->push_back({.slot = seq.slot, .kv_group = g, .index = last, .id = own});
      pool_.release(shared, step);
    }
    while (table.size() < end) {
      auto index = static_cast<uint32_t>(table.size());
      BlockId own = take_block(g, step);
      if (own == kNullBlock) return false;
      table.push_back(own);
      edits.blocks->push_back({.slot = seq.slot, .kv_group = g, .index = index, .id = table.back()});
    }
    for (uint32_t i = last; i < end; ++i) {
      if (!pool_.sound(writable(table[i]), "a block is written that is shared, committed or nobody's", table[i])) {
        return false;
      }
    }
  }
  seq.last_step = step;
  return true;
}

void KvCache::truncate(SeqBlocks& seq, uint32_t n_tokens) {
  uint32_t end = ceil_div(n_tokens, kv_.block_tokens);
  if (!faults_.sound(seq.n_published <= end, "published blocks are given back", seq.slot)) return;
  for (std::vector<BlockId>& table : seq.table) {
    for (; table.size() > end; table.pop_back()) {
      if (table.back() != kNullBlock) pool_.release(table.back(), seq.last_step);
    }
  }
}

BlockId KvCache::take_block(uint32_t kv_group, uint64_t step) {
  BlockId id = pool_.take(kv_group, step);
  while (id == kNullBlock && evict_oldest()) id = pool_.take(kv_group, step);
  faults_.sound(id != kNullBlock, "no block although some were available", pool_.available());
  return id;
}

// The oldest block of a Full KvGroup is that of a leaf (parents are released after their children): the node goes with
// it. A window block, and one of a loose node, goes alone. False when there is none.
bool KvCache::evict_oldest() {
  BlockId oldest = pool_.oldest_cached();
  if (oldest == kNullBlock) return false;
  const Block& block = pool_.block(oldest);
  NodeId node = block.node;
  if (kv_.groups[block.kv_group].kind == flow::KvGroupKind::kFull && !trie_.node(node).loose) {
    bool leaf = trie_.node(node).first_child == kNoNode;
    if (!pool_.sound(leaf, "a block would be evicted before those behind it", oldest)) return true;
    totals_.n_evictions += drop_blocks(node, false);
  } else {
    ++totals_.n_evictions;
    trie_.set_at(node, block.kv_group, kNullBlock);
    pool_.clear_node(oldest);
  }
  prune(node);
  return true;
}

// --- a sequence ends or pauses

void KvCache::release(SeqBlocks& seq) {
  size_t longest = 0;
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) longest = std::max(longest, seq.table[g].size());
  for (size_t i = longest; i-- > 0;) {
    for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
      if (i < seq.table[g].size() && seq.table[g][i] != kNullBlock) pool_.release(seq.table[g][i], seq.last_step);
    }
  }
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    seq.table[g].clear();
    seq.first_live[g] = 0;
  }
  if (seq.slot != kNoSlot) std::erase_if(carried_, [&](const flow::BlockDelta& d) { return d.slot == seq.slot; });
  move_tail(seq, kNoNode);
  seq.n_published = seq.n_adopted = 0;
  seq.may_publish = true;
  seq.slot = kNoSlot;
}

void KvCache::begin_count() {
  for (BlockId id : scratch_.counted) scratch_.dropped[id] = 0;
  scratch_.counted.clear();
}

uint32_t KvCache::would_free(const SeqBlocks& seq) {
  uint32_t n = 0;
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    for (BlockId id : seq.table[g]) {
      if (id == kNullBlock) continue;
      if (scratch_.dropped[id]++ == 0) scratch_.counted.push_back(id);
      if (scratch_.dropped[id] == pool_.block(id).ref) ++n;
    }
  }
  return n;
}

}  // namespace millrace::cache
