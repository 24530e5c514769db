#include "engine/kv_events.h"

#include <array>
#include <cstring>
#include <utility>

#include "base/sha256.h"

namespace millrace::engine {
namespace {

constexpr size_t kMostScopes = 65'536;  // salts are chosen by clients

// Equal salts give equal names on every server; requests without one have 0.
uint64_t root_of(std::string_view salt) {
  if (salt.empty()) return 0;
  Sha256 digest;
  digest.update(salt);
  std::array<uint8_t, 32> sum = digest.finish();
  uint64_t root = 0;
  std::memcpy(&root, sum.data(), sizeof(root));
  return root;
}

}  // namespace

KvEvents::KvEvents(cache::KvCache& cache, Hear hear)
    : cache_(cache),
      trie_(cache.trie()),
      hear_(std::move(hear)),
      block_tokens_(cache.geometry().block_tokens),
      n_groups_(static_cast<uint32_t>(cache.geometry().groups.size())) {
  cache.watch(&log_);
  for (const flow::KvGroup& group : cache.geometry().groups) windows_.push_back(group.window_tokens);
  salts_.emplace(0, "");
}

void KvEvents::open_scope(uint32_t scope, std::string_view salt) {
  if (salts_.contains(scope) || salts_.size() >= kMostScopes) return;
  salts_.emplace(scope, salt);
  cache_.name_scope(scope, root_of(salt));
}

void KvEvents::note_below(const flow::TierName& entry, cache::NodeId node, uint32_t kv_groups) {
  Below& told = below_[entry];
  uint32_t more = kv_groups & ~told.kv_groups;
  if (more == 0) return;
  told = {.name = trie_.name(node), .scope = trie_.node(node).scope, .kv_groups = told.kv_groups | kv_groups};
  const cache::PrefixTrie::Node& place = trie_.node(node);
  cache::BlockChange change{.stored = true,
                            .at_root = place.parent == cache::kNoNode,
                            .scope = place.scope,
                            .name = told.name,
                            .parent = trie_.name(place.parent),
                            .first_token = below_log_.tokens.size()};
  std::span<const TokenId> tokens = trie_.tokens(node);
  below_log_.tokens.insert(below_log_.tokens.end(), tokens.begin(), tokens.end());
  for (change.kv_group = 0; change.kv_group < n_groups_; ++change.kv_group) {
    if ((more >> change.kv_group & 1) != 0) below_log_.changes.push_back(change);
  }
}

void KvEvents::forget_below(const flow::TierName& entry) {
  auto told = below_.find(entry);
  if (told == below_.end()) return;
  for (uint32_t g = 0; g < n_groups_; ++g) {
    if ((told->second.kv_groups >> g & 1) == 0) continue;
    below_log_.changes.push_back({.kv_group = g, .scope = told->second.scope, .name = told->second.name});
  }
  below_.erase(told);
}

void KvEvents::clear() {
  log_.clear();
  below_log_.clear();
  below_.clear();
  events_.clear();
  events_.push_back({.kind = flow::KvEventKind::kCleared});
}

void KvEvents::add(const cache::ChangeLog& log, const cache::BlockChange& change, flow::KvMedium medium) {
  auto salt = salts_.find(change.scope);
  if (salt == salts_.end()) return;
  flow::KvEventKind kind = change.stored ? flow::KvEventKind::kStored : flow::KvEventKind::kRemoved;
  flow::KvEvent* last = events_.empty() ? nullptr : &events_.back();
  bool goes_on = last != nullptr && last->kind == kind && last->medium == medium && last->kv_group == change.kv_group &&
                 (!change.stored || (!change.at_root && last->names.back() == change.parent));
  if (!goes_on) {
    last = &events_.emplace_back();
    last->kind = kind;
    last->medium = medium;
    last->kv_group = change.kv_group;
    last->window_tokens = windows_[change.kv_group];
    if (change.stored && !change.at_root) last->parent = change.parent;
    if (change.stored) last->cache_salt = salt->second;
  }
  last->names.push_back(change.name);
  if (!change.stored) return;
  auto first = log.tokens.begin() + static_cast<std::ptrdiff_t>(change.first_token);
  last->tokens.insert(last->tokens.end(), first, first + block_tokens_);
}

// One KvGroup after the other, so that its runs are not torn apart.
void KvEvents::add_all(cache::ChangeLog& log, flow::KvMedium medium) {
  for (uint32_t g = 0; g < n_groups_; ++g) {
    for (const cache::BlockChange& change : log.changes) {
      if (change.kv_group == g) add(log, change, medium);
    }
  }
  log.clear();
}

void KvEvents::hand_over() {
  add_all(log_, flow::KvMedium::kPool);
  add_all(below_log_, flow::KvMedium::kDisk);
  if (events_.empty()) return;
  hear_(events_);
  events_.clear();
}

}  // namespace millrace::engine
