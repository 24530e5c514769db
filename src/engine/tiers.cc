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

Tiers::Tiers(cache::KvCache& cache, flow::TierStore& store, bool saves_all, KvEvents* events)
    : cache_(cache),
      store_(store),
      index_(cache, store.layout()),
      saves_all_(saves_all),
      kv_events_(events),
      ids_(cache.geometry().groups.size()) {}

Tiers::~Tiers() { store_.stop(); }

Tick Tiers::begin_load(const flow::GenerateRequest& request) {
  if (!index_.open_scope(request.scope, request.cache_salt)) return 0;
  if (!request.use_prefix_cache || request.window_tokens > 0 || request.sampling.n_prompt_logprobs >= 0) return 0;
  return load_for({.scope = request.scope,
                   .priority = request.retention,
                   .tokens = {.prompt = request.prompt, .outputs = {}},
                   .waiter = {.request = request.id}});
}

Tick Tiers::load_for(const Wish& ask) {
  cache::TierLoad wish = index_.find(ask.scope, ask.tokens, store_.max_load_blocks());
  if (wish.blocks.empty()) return 0;
  uint32_t block_tokens = cache_.geometry().block_tokens;
  Tick gain = row_time_ * (wish.n_prefix_blocks - wish.n_device_blocks) * block_tokens;
  if (row_time_ > 0 && store_.load_time(wish.n_loads) >= gain) return 0;
  std::vector<TokenId> tokens(size_t{wish.n_prefix_blocks} * block_tokens);
  std::span<const TokenId> prefix = ask.tokens.slice(0, tokens);
  if (prefix.data() != tokens.data()) std::ranges::copy(prefix, tokens.begin());
  Tick until = now_ + kLoadPatience + kLoadPatiencePerToken * static_cast<Tick>(tokens.size());
  for (Load& load : loads_) {
    if (load.kv.scope != ask.scope || load.wanted.size() < wish.n_prefix_blocks) continue;
    if (!std::equal(tokens.begin(), tokens.end(), load.tokens.begin())) continue;
    load.waiting.push_back(ask.waiter);
    return until;
  }
  Load load;
  load.wanted.assign(wish.n_prefix_blocks, 0);
  for (size_t i = 0; i < wish.blocks.size(); ++i) load.wanted[wish.indices[i]] = wish.blocks[i].kv_groups;
  load.id = store_.load(std::move(wish.blocks));
  if (load.id == 0) return 0;
  ++totals_.n_loads;
  load.tokens = std::move(tokens);
  load.indices = std::move(wish.indices);
  load.n_device_blocks = wish.n_device_blocks;
  load.kv.scope = ask.scope;
  load.kv.priority = ask.priority;
  load.waiting.push_back(ask.waiter);
  loads_.push_back(std::move(load));
  return until;
}

void Tiers::forget(const LoadWaiter& waiter) {
  for (Load& load : loads_) std::erase(load.waiting, waiter);
}

bool Tiers::turn(Tick now, Tick row_time, bool idle, std::vector<LoadWaiter>& ready) {
  now_ = now;
  row_time_ = row_time;
  events_.clear();
  store_.poll(events_);
  bool busy = !events_.empty();
  for (const flow::TierEvent& event : events_) take(event);
  for (size_t i = loads_.size(); idle && i-- > 0;) {
    if (!loads_[i].staged) continue;
    busy = true;
    if (!restore_some(loads_[i])) finish(i, ready);
  }
  return save_some(idle) || busy;
}

void Tiers::take(const flow::TierEvent& event) {
  switch (event.kind) {
    case flow::TierEventKind::kStored:
      index_.add(event.name, event.kv_groups);
      return;
    case flow::TierEventKind::kRemoved:
      index_.remove(event.name);
      if (kv_events_ != nullptr) kv_events_->forget_below(event.name);
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

// Entries of an earlier process have no tokens until they are in the trie.
void Tiers::tell_restored(const Load& load) {
  const cache::PrefixTrie& trie = cache_.trie();
  path_.clear();
  for (cache::NodeId node = load.kv.tail; node != cache::kNoNode; node = trie.node(node).parent) path_.push_back(node);
  for (size_t i = path_.size(); i-- > 0;) {
    const flow::TierName name = index_.name_of(path_[i]);
    if (index_.kv_groups(name) != 0) kv_events_->note_below(name, path_[i], index_.kv_groups(name));
  }
}

void Tiers::finish(size_t index, std::vector<LoadWaiter>& ready) {
  Load& load = loads_[index];
  uint32_t n_new = load.kv.n_published - std::min(load.kv.n_published, load.n_device_blocks);
  totals_.n_loaded_tokens += uint64_t{n_new} * cache_.geometry().block_tokens;
  if (kv_events_ != nullptr) tell_restored(load);
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

bool Tiers::save_some(bool idle) {
  note_oldest();
  uint64_t bytes = 0;
  bool busy = false;
  while (!saves_.empty() && bytes < kBytesPerTurn) {
    auto [node, serial] = saves_.front();
    const cache::PrefixTrie& trie = cache_.trie();
    bool alive = trie.node(node).used && trie.node(node).serial == serial;
    uint32_t groups = alive ? device_groups(node) : 0;
    flow::TierName name = groups == 0 ? flow::TierName{} : index_.name_of(node);
    if (groups != 0 && (groups & ~index_.kv_groups(name)) != 0) {
      bool written = idle || trie.node(node).step <= cache_.pool().retired_step();
      if (!written || !copy_down(node, groups, name)) return busy;  // later
      bytes += cache_.geometry().block_bytes * static_cast<uint64_t>(std::popcount(groups));
      busy = true;
    }
    saves_.pop_front();
  }
  return busy;
}

// False: the store has no room now.
bool Tiers::copy_down(cache::NodeId node, uint32_t groups, const flow::TierName& name) {
  const cache::PrefixTrie& trie = cache_.trie();
  cache::NodeId parent = trie.node(node).parent;
  auto tokens = trie.tokens(node);
  flow::TierBlock block{.name = name, .parent = {}, .tokens = {tokens.begin(), tokens.end()}, .kv_groups = groups};
  block.parent = parent == cache::kNoNode ? index_.scope_name(trie.node(node).scope) : index_.name_of(parent);
  for (uint32_t g = 0; g < ids_.size(); ++g) ids_[g] = trie.at(node, g);
  if (!store_.save(block, ids_)) return false;
  index_.add(name, groups);  // until the store says otherwise
  if (kv_events_ != nullptr) kv_events_->note_below(name, node, groups);
  ++totals_.n_saved;
  return true;
}

// --- preemption

// A block of the path goes down when this sequence alone holds it: others keep theirs in the pool. What a step in
// flight still writes does not exist yet.
void Tiers::swap_out(const sched::Seq& seq) {
  if (seq.kv.window_tokens > 0 || seq.wants_prompt_logprobs() || !index_.is_open(seq.kv.scope)) return;
  const cache::PrefixTrie& trie = cache_.trie();
  const cache::BlockPool& pool = cache_.pool();
  path_.clear();
  uint32_t n_blocks = 0;
  for (cache::NodeId node = seq.kv.tail; node != cache::kNoNode; node = trie.node(node).parent) {
    uint32_t n_own = 0;
    for (uint32_t g = 0; g < ids_.size(); ++g) {
      flow::BlockId id = trie.at(node, g);
      if (id != cache::kNullBlock && pool.block(id).ref == 1) ++n_own;
    }
    if (n_own == 0) break;  // who holds a block holds those before it
    n_blocks += n_own;
    path_.push_back(node);
  }
  Tick recompute = row_time_ * static_cast<Tick>(path_.size()) * cache_.geometry().block_tokens;
  if (path_.empty() || (row_time_ > 0 && store_.load_time(n_blocks) >= recompute)) return;
  for (size_t i = path_.size(); i-- > 0;) {
    uint32_t groups = device_groups(path_[i]);
    flow::TierName name = index_.name_of(path_[i]);
    if ((groups & ~index_.kv_groups(name)) == 0) continue;
    if (trie.node(path_[i]).step > pool.retired_step() || !copy_down(path_[i], groups, name)) return;
    ++totals_.n_swapped_out;
  }
}

Tick Tiers::swap_in(const sched::Seq& seq) {
  if (seq.kv.window_tokens > 0 || seq.wants_prompt_logprobs() || !index_.is_open(seq.kv.scope)) return 0;
  Tick until = load_for({.scope = seq.kv.scope,
                         .priority = seq.kv.priority,
                         .tokens = seq.tokens(),
                         .waiter = {.request = seq.request->id, .seq = seq.id}});
  if (until != 0) ++totals_.n_swap_loads;
  return until;
}

bool Tiers::waits_for_idle() const { return std::ranges::any_of(loads_, &Load::staged); }

bool Tiers::waits(const LoadWaiter& waiter) const {
  auto serves = [&](const Load& load) { return std::ranges::find(load.waiting, waiter) != load.waiting.end(); };
  return std::ranges::any_of(loads_, serves);
}

uint32_t Tiers::n_waiting() const {
  std::ptrdiff_t n = 0;
  for (const Load& load : loads_) n += std::ranges::count(load.waiting, sched::kNoSeq, &LoadWaiter::seq);
  return static_cast<uint32_t>(n);
}

void Tiers::holders(std::vector<const cache::SeqBlocks*>& out) const {
  for (const Load& load : loads_) out.push_back(&load.kv);
}

void Tiers::holders(std::vector<cache::SeqBlocks*>& out) {
  for (Load& load : loads_) out.push_back(&load.kv);
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
