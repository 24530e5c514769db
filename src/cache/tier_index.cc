#include "cache/tier_index.h"

#include <algorithm>

#include "base/byte_reader.h"
#include "base/macros.h"
#include "base/sha256.h"

namespace millrace::cache {
namespace {

constexpr size_t kMostScopes = 65'536;  // 64 bytes each; salts are chosen by clients

}  // namespace

flow::TierName tier_root(const flow::TierName& layout, std::string_view salt) {
  Sha256 digest;
  digest.update(as_text(layout));
  digest.update(salt);
  return digest.finish();
}

// Tokens in the byte order of the machine: names are read on machines that share its layout only.
flow::TierName tier_child(const flow::TierName& parent, std::span<const TokenId> tokens) {
  Sha256 digest;
  digest.update(as_text(parent));
  digest.update({reinterpret_cast<const char*>(tokens.data()), tokens.size_bytes()});
  return digest.finish();
}

bool TierIndex::open_scope(uint32_t scope, std::string_view salt) {
  if (scopes_.contains(scope)) return true;
  if (scopes_.size() >= kMostScopes) return false;
  scopes_.emplace(scope, tier_root(layout_, salt));
  return true;
}

uint32_t TierIndex::kv_groups(const flow::TierName& name) const {
  auto found = entries_.find(name);
  return found == entries_.end() ? 0 : found->second;
}

flow::TierName TierIndex::name_of(NodeId node) {
  const PrefixTrie& trie = cache_.trie();
  memo_.resize(size_t{trie.capacity()} + 1);
  climb_.clear();
  NodeId known = node;
  for (; known != kNoNode && memo_[known].serial != trie.node(known).serial; known = trie.node(known).parent) {
    climb_.push_back(known);
  }
  auto root = scopes_.find(trie.node(node).scope);
  CHECK(root != scopes_.end(), "scope {} was not opened", trie.node(node).scope);
  flow::TierName name = known == kNoNode ? root->second : memo_[known].name;
  for (size_t i = climb_.size(); i-- > 0;) {
    name = tier_child(name, trie.tokens(climb_[i]));
    memo_[climb_[i]] = {.serial = trie.node(climb_[i]).serial, .name = name};
  }
  return name;
}

// Fills places_ as far as trie or entries know the tokens.
void TierIndex::walk(uint32_t scope, const TokenView& tokens) {
  const PrefixTrie& trie = cache_.trie();
  uint32_t block_tokens = cache_.geometry().block_tokens;
  std::vector<TokenId> block(block_tokens);
  uint32_t most = tokens.size() == 0 ? 0 : (tokens.size() - 1) / block_tokens;
  places_.clear();
  flow::TierName name = scopes_.at(scope);
  NodeId node = kNoNode;
  bool in_trie = true;
  for (uint32_t i = 0; i < most; ++i) {
    auto content = tokens.slice(i * block_tokens, block);
    name = tier_child(name, content);
    node = in_trie ? trie.find(node, scope, content) : kNoNode;
    in_trie = node != kNoNode;
    uint32_t below = kv_groups(name);
    if (!in_trie && below == 0) return;
    places_.push_back({.node = node, .below = below, .name = name});
  }
}

bool TierIndex::on_device(const Place& place, uint32_t kv_group) const {
  return place.node != kNoNode && cache_.trie().at(place.node, kv_group) != kNullBlock;
}

// As KvCache::match: the longest prefix whose visible blocks all exist.
uint32_t TierIndex::usable(uint32_t length, bool with_entries) const {
  const flow::KvGeometry& kv = cache_.geometry();
  for (bool stable = false; !stable;) {
    stable = true;
    for (uint32_t g = 0; g < kv.groups.size(); ++g) {
      uint32_t first = first_visible_block(kv.groups[g], kv.block_tokens, length * kv.block_tokens);
      for (uint32_t i = length; i > first; --i) {
        const Place& place = places_[i - 1];
        if (on_device(place, g) || (with_entries && (place.below >> g & 1) != 0)) continue;
        length = i - 1;
        stable = false;
        first = first_visible_block(kv.groups[g], kv.block_tokens, length * kv.block_tokens);
      }
    }
  }
  return length;
}

TierLoad TierIndex::loads_for(const TokenView& tokens, uint32_t length, const flow::TierName& root) {
  const flow::KvGeometry& kv = cache_.geometry();
  std::vector<TokenId> block(kv.block_tokens);
  TierLoad load;
  load.n_prefix_blocks = length;
  for (uint32_t i = 0; i < length; ++i) {
    uint32_t lacks = 0;
    for (uint32_t g = 0; g < kv.groups.size(); ++g) {
      bool visible = i >= first_visible_block(kv.groups[g], kv.block_tokens, length * kv.block_tokens);
      if (!visible || on_device(places_[i], g)) continue;
      lacks |= uint32_t{1} << g;
      ++load.n_loads;
    }
    if (lacks == 0) continue;
    auto content = tokens.slice(i * kv.block_tokens, block);
    load.indices.push_back(i);
    load.blocks.push_back({.name = places_[i].name,
                           .parent = i == 0 ? root : places_[i - 1].name,
                           .tokens = {content.begin(), content.end()},
                           .kv_groups = lacks});
  }
  return load;
}

TierLoad TierIndex::find(uint32_t scope, const TokenView& tokens, uint32_t max_loads) {
  if (entries_.empty()) return {};
  walk(scope, tokens);
  auto known = static_cast<uint32_t>(places_.size());
  uint32_t now = usable(known, false);
  for (uint32_t length = usable(known, true); length > now;) {
    TierLoad load = loads_for(tokens, length, scopes_.at(scope));
    if (load.n_loads <= max_loads) {
      load.n_device_blocks = now;
      return load;
    }
    uint32_t too_many = load.n_loads - max_loads;
    uint32_t fewer = std::max<uint32_t>(1, too_many / static_cast<uint32_t>(cache_.geometry().groups.size()));
    length = usable(length > fewer ? length - fewer : 0, true);
  }
  return {};
}

}  // namespace millrace::cache
