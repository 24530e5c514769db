// Leases of KvCache.
#include "cache/lease.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "base/macros.h"
#include "cache/kv_cache.h"

namespace millrace::cache {

bool KvCache::lease(const LeaseAsk& ask, const SeqBlocks& seq) {
  std::vector<NodeId>& path = scratch_.path;
  path.clear();
  for (NodeId node = seq.tail; node != kNoNode; node = trie_.node(node).parent) path.push_back(node);
  std::ranges::reverse(path);
  auto most = [this](size_t n) { return max_blocks_of_sequence(kv_, static_cast<uint32_t>(n) * kv_.block_tokens, 1); };
  while (!path.empty() && most(path.size()) > leases_.quota) path.pop_back();
  Lease lease{.ask = ask, .kv = {}};
  lease.kv.scope = seq.scope;
  lease.kv.priority = seq.priority;
  lease.kv.window_tokens = seq.window_tokens;
  lease.kv.sink_tokens = seq.sink_tokens;
  if (adopt_path(lease.kv) == 0) return false;
  count_leased(lease.kv, 1);
  auto older = std::ranges::find_if(leases_.leases, [&](const Lease& other) {
    return other.ask.tenant == ask.tenant && other.ask.session == ask.session;
  });
  if (older != leases_.leases.end()) end_lease(static_cast<size_t>(older - leases_.leases.begin()));
  leases_.leases.push_back(std::move(lease));
  while (leases_.n_blocks > leases_.quota && !leases_.leases.empty())
    end_lease(lease_to_give_way(leases_.leases.size() - 1));
  return true;
}

// Of the tenant whose leases hold most blocks the one that expires first, never the newest lease.
size_t KvCache::lease_to_give_way(size_t newest) {
  auto size = [this](const Lease& lease) {
    size_t n = 0;
    for (uint32_t g = 0; g < kv_.groups.size(); ++g) n += lease.kv.table[g].size() - lease.kv.first_live[g];
    return n;
  };
  std::map<uint32_t, size_t> held;
  for (const Lease& lease : leases_.leases) held[lease.ask.tenant] += size(lease);
  size_t worst = newest;
  for (size_t i = 0; i < leases_.leases.size(); ++i) {
    if (i == newest) continue;
    const LeaseAsk& ask = leases_.leases[i].ask;
    const LeaseAsk& other = leases_.leases[worst].ask;
    size_t ours = held[ask.tenant];
    size_t theirs = held[other.tenant];
    if (worst == newest || ours > theirs || (ours == theirs && ask.expires < other.expires)) worst = i;
  }
  faults_.sound(worst != newest, "one lease is larger than the quota", leases_.n_blocks);
  return worst;
}

void KvCache::count_leased(const SeqBlocks& seq, int change) {
  for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
    for (BlockId id : seq.table[g]) {
      if (id == kNullBlock) continue;
      uint32_t& refs = leases_.refs[id];
      if (change > 0 && refs++ == 0) ++leases_.n_blocks;
      if (change < 0 && --refs == 0) --leases_.n_blocks;
    }
  }
}

void KvCache::end_lease(size_t index) {
  Lease lease = std::move(leases_.leases[index]);
  leases_.leases.erase(leases_.leases.begin() + static_cast<std::ptrdiff_t>(index));
  count_leased(lease.kv, -1);
  release(lease.kv);
}

void KvCache::expire_leases(Tick now) {
  for (size_t i = leases_.leases.size(); i-- > 0;) {
    if (leases_.leases[i].ask.expires <= now) end_lease(i);
  }
}

Tick KvCache::next_lease_expiry() const {
  Tick next = 0;
  for (const Lease& lease : leases_.leases) {
    if (next == 0 || lease.ask.expires < next) next = lease.ask.expires;
  }
  return next;
}

bool KvCache::give_up_lease() {
  auto first = std::ranges::min_element(leases_.leases, {}, [](const Lease& lease) { return lease.ask.expires; });
  if (first == leases_.leases.end()) return false;
  end_lease(static_cast<size_t>(first - leases_.leases.begin()));
  return true;
}

void KvCache::end_leases(std::string_view session) {
  for (size_t i = leases_.leases.size(); i-- > 0;) {
    if (leases_.leases[i].ask.session == session) end_lease(i);
  }
}

// After the trie forgot something: leases whose path is gone.
void KvCache::drop_lost_leases() {
  for (size_t i = leases_.leases.size(); i-- > 0;) {
    SeqBlocks& kv = leases_.leases[i].kv;
    heal(kv);
    if (kv.tail == kNoNode) end_lease(i);
  }
}

std::string KvCache::check_leases() const {
  std::vector<uint32_t> refs(pool_.size(), 0);
  uint32_t n_blocks = 0;
  for (const Lease& lease : leases_.leases) {
    if (lease.kv.slot != kNoSlot || lease.kv.tail == kNoNode) return "a lease without a path";
    for (uint32_t g = 0; g < kv_.groups.size(); ++g) {
      for (BlockId id : lease.kv.table[g]) {
        if (id != kNullBlock && refs[id]++ == 0) ++n_blocks;
      }
    }
  }
  if (refs != leases_.refs || n_blocks != leases_.n_blocks) return "leased blocks were counted wrong";
  if (n_blocks > leases_.quota) return fmt::format("leases hold {} blocks, quota {}", n_blocks, leases_.quota);
  return {};
}

}  // namespace millrace::cache
