#include "engine/tiers.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/macros.h"

namespace millrace::engine {
namespace {

// Bytes copied per turn of the loop: 1 to 2 ms of memory bandwidth (10 GB/s), against steps of 10 to 300 ms.
constexpr uint64_t kBytesPerTurn = 16 << 20;
constexpr size_t kMostSaves = 4096;  // noted and not yet copied; beyond, what is noted is forgotten
constexpr uint32_t kOldestPerTurn = 16;
// The deadline of a load: what SGLang's HiCache waits by default (1 s + 0.25 s per 1,024 tokens).
constexpr Tick kLoadPatience = kSecond;
constexpr Tick kLoadPatiencePerToken = kSecond / 4096;

}  // namespace

Tiers::Tiers(cache::KvCache& cache, flow::TierStore& store, bool saves_all)
    : cache_(cache), store_(store), index_(cache, store.layout()), saves_all_(saves_all) {}

Tiers::~Tiers() { store_.stop(); }

Tick Tiers::begin_load(const flow::GenerateRequest& request, Tick now, Tick row_time) {
  if (!index_.open_scope(request.scope, request.cache_salt)) return 0;
  if (!request.use_prefix_cache || request.window_tokens > 0 || request.sampling.n_prompt_logprobs >= 0) return 0;
  cache::TokenView tokens{.prompt = request.prompt, .outputs = {}};
  cache::TierLoad wish = index_.find(request.scope, tokens, store_.max_load_blocks());
  if (wish.blocks.empty()) return 0;
  uint32_t block_tokens = cache_.geometry().block_tokens;
  Tick gain = row_time * (wish.n_prefix_blocks - wish.n_device_blocks) * block_tokens;
  if (row_time > 0 && store_.load_time(wish.n_loads) >= gain) return 0;
  Tick patience = kLoadPatience + kLoadPatiencePerToken * wish.n_prefix_blocks * block_tokens;
  for (Load& load : loads_) {
    size_t shared = std::min(load.tokens.size(), size_t{wish.n_prefix_blocks} * block_tokens);
    if (load.kv.scope != request.scope || load.wanted.size() < wish.n_prefix_blocks) continue;
    if (!std::equal(request.prompt.begin(), request.prompt.begin() + static_cast<std::ptrdiff_t>(shared),
                    load.tokens.begin())) {
      continue;
    }
    load.waiting.push_back(request.id);
    return now + patience;
  }
  Load load;
  load.wanted.assign(wish.n_prefix_blocks, 0);
  for (size_t i = 0; i < wish.blocks.size(); ++i) load.wanted[wish.indices[i]] = wish.blocks[i].kv_groups;
  load.id = store_.load(std::move(wish.blocks));
  if (load.id == 0) return 0;
  ++totals_.n_loads;
  size_t n_tokens = size_t{wish.n_prefix_blocks} * block_tokens;
  load.tokens.assign(request.prompt.begin(), request.prompt.begin() + static_cast<std::ptrdiff_t>(n_tokens));
  load.indices = std::move(wish.indices);
  load.n_device_blocks = wish.n_device_blocks;
  load.kv.scope = request.scope;
  load.kv.priority = request.retention;
  load.waiting.push_back(request.id);
  loads_.push_back(std::move(load));
  return now + patience;
}

void Tiers::forget(flow::RequestId request) {
  for (Load& load : loads_) std::erase(load.waiting, request);
}

bool Tiers::turn(bool idle, std::vector<flow::RequestId>& ready) {
  events_.clear();
  store_.poll(events_);
  bool busy = !events_.empty();
  for (const flow::TierEvent& event : events_) take(event);
  if (!idle) return busy;
  for (size_t i = loads_.size(); i-- > 0;) {
    if (!loads_[i].staged) continue;
    busy = true;
    if (!restore_some(loads_[i])) finish(i, ready);
  }
  return save_some() || busy;
}

void Tiers::take(const flow::TierEvent& event) {
  switch (event.kind) {
    case flow::TierEventKind::kStored:
      index_.add(event.name, event.kv_groups);
      return;
    case flow::TierEventKind::kRemoved:
      index_.remove(event.name);
      return;
    case flow::TierEventKind::kLoaded:
      stage(event);
      return;
  }
}

void Tiers::stage(const flow::TierEvent& event) {
  auto found = std::ranges::find(loads_, event.load, &Load::id);
  CHECK(found != loads_.end(), "load {} is not known", event.load);
  Load& load = *found;
  load.staged = true;
  load.loaded.assign(load.wanted.size(), 0);
  uint32_t n = std::min(event.n_blocks, static_cast<uint32_t>(load.indices.size()));
  if (n < load.indices.size()) ++totals_.n_failed;
  for (uint32_t i = 0; i < n; ++i) load.loaded[load.indices[i]] = load.wanted[load.indices[i]];
}

// False when the load is over.
bool Tiers::restore_some(Load& load) {
  auto max_new = static_cast<uint32_t>(std::max<uint64_t>(1, kBytesPerTurn / cache_.geometry().block_bytes));
  restored_.clear();
  cache::TokenView tokens{.prompt = load.tokens, .outputs = {}};
  bool more = cache_.restore(load.kv, tokens, load.loaded, max_new, restored_);
  for (const cache::RestoredBlock& block : restored_) {
    auto at = std::ranges::lower_bound(load.indices, block.index) - load.indices.begin();
    store_.place(load.id, static_cast<uint32_t>(at), block.kv_group, block.id);
  }
  return more;
}

void Tiers::finish(size_t index, std::vector<flow::RequestId>& ready) {
  Load& load = loads_[index];
  uint32_t n_new = load.kv.n_published - std::min(load.kv.n_published, load.n_device_blocks);
  totals_.n_loaded_tokens += uint64_t{n_new} * cache_.geometry().block_tokens;
  cache_.release(load.kv);
  store_.end_load(load.id);
  ready.insert(ready.end(), load.waiting.begin(), load.waiting.end());
  loads_.erase(loads_.begin() + static_cast<std::ptrdiff_t>(index));
}

// --- copies down

uint32_t Tiers::device_groups(cache::NodeId node) const {
  uint32_t groups = 0;
  for (uint32_t g = 0; g < cache_.geometry().groups.size(); ++g) {
    if (cache_.trie().at(node, g) != cache::kNullBlock) groups |= uint32_t{1} << g;
  }
  return groups;
}

void Tiers::note(cache::NodeId node) {
  if (saves_.size() < kMostSaves && index_.is_open(cache_.trie().node(node).scope))
    saves_.push_back({.node = node, .serial = cache_.trie().node(node).serial});
}

void Tiers::note_end(const cache::SeqBlocks& seq, bool keep) {
  if (seq.window_tokens > 0) return;
  const cache::PrefixTrie& trie = cache_.trie();
  path_.clear();
  for (cache::NodeId node = seq.tail; node != cache::kNoNode; node = trie.node(node).parent) path_.push_back(node);
  for (size_t i = path_.size(); i-- > 0;) {
    if (keep || saves_all_ || trie.node(path_[i]).hits > 0) note(path_[i]);
  }
}

// When the pool runs full: what would be evicted next, after what leads to it.
void Tiers::note_oldest() {
  const cache::PoolCounts& counts = cache_.pool().counts();
  if (!saves_.empty() || counts.free + counts.cooling > cache_.pool().size() / 8) return;
  const cache::PrefixTrie& trie = cache_.trie();
  for (cache::BlockId id : cache_.pool().cached_in_order(kOldestPerTurn)) {
    path_.clear();
    cache::NodeId node = cache_.pool().block(id).node;
    if (!index_.is_open(trie.node(node).scope) || trie.node(node).loose) continue;
    for (; node != cache::kNoNode && index_.kv_groups(index_.name_of(node)) == 0; node = trie.node(node).parent) {
      path_.push_back(node);
    }
    for (size_t i = path_.size(); i-- > 0;) note(path_[i]);
  }
}

bool Tiers::save_some() {
  note_oldest();
  uint64_t bytes = 0;
  bool busy = false;
  std::vector<flow::BlockId> ids(cache_.geometry().groups.size());
  while (!saves_.empty() && bytes < kBytesPerTurn) {
    auto [node, serial] = saves_.front();
    const cache::PrefixTrie& trie = cache_.trie();
    bool alive = trie.node(node).used && trie.node(node).serial == serial;
    uint32_t groups = alive ? device_groups(node) : 0;
    flow::TierName name = groups == 0 ? flow::TierName{} : index_.name_of(node);
    if (groups == 0 || (groups & ~index_.kv_groups(name)) == 0) {
      saves_.pop_front();
      continue;
    }
    cache::NodeId parent = trie.node(node).parent;
    auto tokens = trie.tokens(node);
    flow::TierBlock block{.name = name, .parent = {}, .tokens = {tokens.begin(), tokens.end()}, .kv_groups = groups};
    block.parent = parent == cache::kNoNode ? index_.scope_name(trie.node(node).scope) : index_.name_of(parent);
    for (uint32_t g = 0; g < ids.size(); ++g) ids[g] = trie.at(node, g);
    if (!store_.save(block, ids)) return busy;  // later
    index_.add(name, groups);                   // until the store says otherwise
    bytes += cache_.geometry().block_bytes * static_cast<uint64_t>(std::popcount(groups));
    ++totals_.n_saved;
    busy = true;
    saves_.pop_front();
  }
  return busy;
}

bool Tiers::waits(flow::RequestId request) const {
  return std::ranges::any_of(
      loads_, [request](const Load& load) { return std::ranges::find(load.waiting, request) != load.waiting.end(); });
}

uint32_t Tiers::n_waiting() const {
  size_t n = 0;
  for (const Load& load : loads_) n += load.waiting.size();
  return static_cast<uint32_t>(n);
}

void Tiers::holders(std::vector<const cache::SeqBlocks*>& out) const {
  for (const Load& load : loads_) out.push_back(&load.kv);
}

void Tiers::heal() {
  for (Load& load : loads_) cache_.heal(load.kv);
}

void Tiers::reset() {
  index_.clear();
  saves_.clear();
  store_.clear();
  for (Load& load : loads_) std::ranges::fill(load.wanted, 0u);
}

}  // namespace millrace::engine
