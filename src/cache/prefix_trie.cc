#include "cache/prefix_trie.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/macros.h"
#include "base/sha256.h"

namespace millrace::cache {
namespace {

__extension__ using Wide = unsigned __int128;

// Folded 64x64 -> 128 bit product, the mixing step of wyhash (public domain, github.com/wangyi-fudan/wyhash).
uint64_t mix(uint64_t a, uint64_t b) {
  Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace

PrefixTrie::PrefixTrie(const TrieOptions& options, Faults& faults)
    : options_(options),
      faults_(faults),
      nodes_(size_t{options.capacity} + 1),
      tokens_((size_t{options.capacity} + 1) * options.block_tokens),
      at_((size_t{options.capacity} + 1) * options.n_groups, kNullBlock),
      table_(std::bit_ceil(size_t{options.capacity} * 2 + 2)) {
  unused_.reserve(options.capacity);
  clear();
}

void PrefixTrie::clear() {
  std::ranges::fill(nodes_, Node{});
  std::ranges::fill(at_, kNullBlock);
  std::ranges::fill(table_, Entry{});
  nodes_[0].used = true;
  unused_.clear();
  for (NodeId id = options_.capacity; id > 0; --id) unused_.push_back(id);
  n_used_ = 0;
}

std::span<const TokenId> PrefixTrie::tokens(NodeId id) const {
  return std::span(tokens_).subspan(size_t{id} * options_.block_tokens, options_.block_tokens);
}

bool PrefixTrie::has_blocks(NodeId id) const {
  for (uint32_t g = 0; g < options_.n_groups; ++g) {
    if (at(id, g) != kNullBlock) return true;
  }
  return false;
}

uint32_t PrefixTrie::hash_of(NodeId parent, uint32_t scope, std::span<const TokenId> tokens) const {
  uint64_t h = options_.hash_secret ^ mix((uint64_t{parent} << 32 | scope) ^ 0xa0761d6478bd642f, 0xe7037ed1a0b428db);
  for (TokenId token : tokens) h = mix(h ^ static_cast<uint32_t>(token), 0x8ebc6af09c88c6e3);
  h = mix(h, 0x589965cc75374cc3);
  return static_cast<uint32_t>(options_.hash_bits >= 64 ? h : h & ((uint64_t{1} << options_.hash_bits) - 1));
}

bool PrefixTrie::equals(NodeId id, NodeId parent, uint32_t scope, std::span<const TokenId> tokens) const {
  const Node& node = nodes_[id];
  return node.parent == parent && node.scope == scope && std::ranges::equal(this->tokens(id), tokens);
}

NodeId PrefixTrie::find(NodeId parent, uint32_t scope, std::span<const TokenId> tokens) const {
  NodeId first = nodes_[parent].first_child;  // straight runs need no hash
  if (first == kNoNode) return kNoNode;
  if (equals(first, parent, scope, tokens)) return first;
  if (nodes_[first].next_sibling == kNoNode) return kNoNode;
  uint32_t hash = hash_of(parent, scope, tokens);
  size_t mask = table_.size() - 1;
  for (size_t i = hash & mask; table_[i].id != kNoNode; i = (i + 1) & mask) {
    if (table_[i].hash == hash && equals(table_[i].id, parent, scope, tokens)) return table_[i].id;
  }
  return kNoNode;
}

NodeId PrefixTrie::insert(NodeId parent, uint32_t scope, std::span<const TokenId> tokens) {
  CHECK(tokens.size() == options_.block_tokens, "{} tokens, want {}", tokens.size(), options_.block_tokens);
  bool below = faults_.sound(nodes_[parent].used, "content is published below what is gone", parent);
  if (!below || unused_.empty()) return kNoNode;
  NodeId id = unused_.back();
  unused_.pop_back();
  Node& node = nodes_[id];
  node = Node{};
  node.parent = parent;
  node.scope = scope;
  uint32_t hash = hash_of(parent, scope, tokens);
  node.hash = hash;
  node.used = true;
  node.serial = ++n_inserted_;
  node.next_sibling = nodes_[parent].first_child;
  if (node.next_sibling != kNoNode) nodes_[node.next_sibling].prev_sibling = id;
  nodes_[parent].first_child = id;
  std::ranges::copy(tokens, tokens_.begin() + static_cast<std::ptrdiff_t>(size_t{id} * options_.block_tokens));
  size_t mask = table_.size() - 1;
  size_t i = hash & mask;
  while (table_[i].id != kNoNode) i = (i + 1) & mask;
  table_[i] = {.id = id, .hash = hash};
  ++n_used_;
  if (log_ != nullptr) names_[id] = name_below(parent, scope, tokens);
  return id;
}

void PrefixTrie::erase(NodeId id) {
  Node& node = nodes_[id];
  bool leaf = id != kNoNode && node.used && node.first_child == kNoNode && !has_blocks(id);
  if (!faults_.sound(leaf, "content is forgotten before what holds it", id)) return;
  size_t mask = table_.size() - 1;
  size_t hole = node.hash & mask;
  while (table_[hole].id != id) hole = (hole + 1) & mask;
  // Shift back what probed past the hole (Knuth, TAOCP vol. 3, 6.4, algorithm R).
  for (size_t i = (hole + 1) & mask; table_[i].id != kNoNode; i = (i + 1) & mask) {
    size_t home = table_[i].hash & mask;
    if (((i - home) & mask) >= ((i - hole) & mask)) {
      table_[hole] = table_[i];
      hole = i;
    }
  }
  table_[hole] = {};
  if (node.prev_sibling != kNoNode) {
    nodes_[node.prev_sibling].next_sibling = node.next_sibling;
  } else {
    nodes_[node.parent].first_child = node.next_sibling;
  }
  if (node.next_sibling != kNoNode) nodes_[node.next_sibling].prev_sibling = node.prev_sibling;
  node = Node{};
  unused_.push_back(id);
  --n_used_;
}

void PrefixTrie::watch(ChangeLog* log) {
  CHECK(n_used_ == 0, "{} nodes are there already", n_used_);
  log_ = log;
  names_.assign(nodes_.size(), 0);
}

// The first 8 bytes of SHA-256 over the name before it and the tokens.
uint64_t PrefixTrie::name_below(NodeId parent, uint32_t scope, std::span<const TokenId> tokens) const {
  uint64_t before = names_[parent];
  if (parent == kNoNode) {
    auto root = roots_.find(scope);
    before = root != roots_.end() ? root->second : scope;
  }
  Sha256 digest;
  digest.update({reinterpret_cast<const char*>(&before), sizeof(before)});
  digest.update({reinterpret_cast<const char*>(tokens.data()), tokens.size_bytes()});
  std::array<uint8_t, 32> sum = digest.finish();
  uint64_t name = 0;
  std::memcpy(&name, sum.data(), sizeof(name));
  return name;
}

void PrefixTrie::note_change(NodeId id, uint32_t kv_group, bool stored) {
  const Node& node = nodes_[id];
  if (node.loose) return;
  BlockChange change{.stored = stored,
                     .at_root = node.parent == kNoNode,
                     .kv_group = kv_group,
                     .scope = node.scope,
                     .name = names_[id],
                     .parent = names_[node.parent],
                     .first_token = log_->tokens.size()};
  if (stored) {
    std::span<const TokenId> own = tokens(id);
    log_->tokens.insert(log_->tokens.end(), own.begin(), own.end());
  }
  log_->changes.push_back(change);
}

void PrefixTrie::subtree(NodeId id, std::vector<NodeId>& out) const {
  size_t next = out.size();
  out.push_back(id);
  for (; next < out.size(); ++next) {
    for (NodeId child = nodes_[out[next]].first_child; child != kNoNode; child = nodes_[child].next_sibling) {
      out.push_back(child);
    }
  }
}

std::string PrefixTrie::check_integrity() const {
  std::vector<NodeId> reached;
  subtree(kNoNode, reached);
  if (reached.size() != size_t{n_used_} + 1) return fmt::format("{} nodes reached, {} used", reached.size(), n_used_);
  if (unused_.size() + n_used_ != options_.capacity) return "nodes were lost";
  for (NodeId id : reached) {
    if (id == kNoNode) continue;
    const Node& node = nodes_[id];
    if (!node.used) return fmt::format("node {} is reachable and unused", id);
    if (find(node.parent, node.scope, tokens(id)) != id) return fmt::format("node {} is not found", id);
    if (node.parent != kNoNode && nodes_[node.parent].scope != node.scope) {
      return fmt::format("node {} lies in another scope than its parent", id);
    }
    if (!has_blocks(id) && node.first_child == kNoNode && node.n_tails == 0)
      return fmt::format("node {} is useless", id);
  }
  size_t entries = table_.size() - static_cast<size_t>(std::ranges::count(table_, kNoNode, &Entry::id));
  if (entries != n_used_) return fmt::format("{} hash entries for {} nodes", entries, n_used_);
  return {};
}

}  // namespace millrace::cache
