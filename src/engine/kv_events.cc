#include "engine/kv_events.h"

#include <utility>

namespace millrace::engine {
namespace {

constexpr size_t kMostScopes = 65'536;  // salts are chosen by clients

}  // namespace

KvEvents::KvEvents(cache::KvCache& cache, Hear hear)
    : hear_(std::move(hear)),
      block_tokens_(cache.geometry().block_tokens),
      n_groups_(static_cast<uint32_t>(cache.geometry().groups.size())) {
  cache.watch(&log_);
  for (const flow::KvGroup& group : cache.geometry().groups) windows_.push_back(group.window_tokens);
  salts_.emplace(0, "");
}

void KvEvents::open_scope(uint32_t scope, std::string_view salt) {
  if (salts_.size() < kMostScopes) salts_.try_emplace(scope, salt);
}

void KvEvents::clear() {
  log_.clear();
  events_.clear();
  events_.push_back({.kind = flow::KvEventKind::kCleared});
}

void KvEvents::add(const cache::BlockChange& change) {
  auto salt = salts_.find(change.scope);
  if (salt == salts_.end()) return;
  flow::KvEventKind kind = change.stored ? flow::KvEventKind::kStored : flow::KvEventKind::kRemoved;
  flow::KvEvent* last = events_.empty() ? nullptr : &events_.back();
  bool goes_on = last != nullptr && last->kind == kind && last->kv_group == change.kv_group &&
                 (!change.stored || (!change.at_root && last->names.back() == change.parent));
  if (!goes_on) {
    last = &events_.emplace_back();
    last->kind = kind;
    last->kv_group = change.kv_group;
    last->window_tokens = windows_[change.kv_group];
    if (change.stored && !change.at_root) last->parent = change.parent;
    if (change.stored) last->cache_salt = salt->second;
  }
  last->names.push_back(change.name);
  if (!change.stored) return;
  auto first = log_.tokens.begin() + static_cast<std::ptrdiff_t>(change.first_token);
  last->tokens.insert(last->tokens.end(), first, first + block_tokens_);
}

// One KvGroup after the other, so that its runs are not torn apart.
void KvEvents::hand_over() {
  for (uint32_t g = 0; g < n_groups_; ++g) {
    for (const cache::BlockChange& change : log_.changes) {
      if (change.kv_group == g) add(change);
    }
  }
  log_.clear();
  if (events_.empty()) return;
  hear_(events_);
  events_.clear();
}

}  // namespace millrace::engine
