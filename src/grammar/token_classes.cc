#include "grammar/token_classes.h"

#include <algorithm>
#include <cctype>
#include <unordered_map>

#include "grammar/core_view.h"

namespace millrace::grammar {
namespace {

constexpr size_t kWorthIt = 1000;  // tokens that one state leaves to the parser; one by one they take some 60 us
// Letters and digits that stand for themselves, as those of names and words do, are told apart when they are few: each
// makes classes of its own, and of all of them the tree would be as large as the vocabulary.
constexpr size_t kMostLetters = 8;
constexpr uint32_t kNone = UINT32_MAX;

// Murmur3's finaliser.
uint64_t mix(uint64_t x) {
  x = (x ^ x >> 33) * 0xFF51AFD7ED558CCDull;
  x = (x ^ x >> 33) * 0xC4CEB9FE1A85EC53ull;
  return x ^ x >> 33;
}

bool is_letter(const CoreEdge& edge) { return edge.first == edge.last && std::isalnum(edge.first) != 0; }

// The tree while it grows.
struct Growing {
  uint32_t first_child = kNone;
  uint32_t next_sibling = kNone;
  uint8_t last = 0;
};

}  // namespace

TokenClasses::TokenClasses(const std::vector<std::pair<int32_t, std::string>>& sorted_tokens, size_t n_vocab,
                           const ByteClasses& class_of)
    : all_((n_vocab + 31) / 32) {
  classes_.resize(size_t{*std::max_element(class_of.begin(), class_of.end())} + 1);
  for (size_t byte = 0; byte < 256; ++byte) classes_[class_of[byte]].set(byte);

  std::vector<Growing> tree(1);
  std::vector<uint32_t> path{0};  // to the token before
  const std::string* before = nullptr;
  for (const auto& [token, text] : sorted_tokens) {
    size_t n_shared = 0;
    if (before != nullptr) {
      size_t n = std::min(text.size(), before->size());
      while (n_shared < n && text[n_shared] == (*before)[n_shared]) ++n_shared;
    }
    path.resize(n_shared + 1);
    for (size_t i = n_shared; i < text.size(); ++i) {
      uint8_t last = class_of[static_cast<unsigned char>(text[i])];
      uint32_t child = tree[path.back()].first_child;
      while (child != kNone && tree[child].last != last) child = tree[child].next_sibling;
      if (child == kNone) {
        child = static_cast<uint32_t>(tree.size());
        tree.push_back({kNone, tree[path.back()].first_child, last});
        tree[path.back()].first_child = child;
      }
      path.push_back(child);
    }
    places_.push_back({token, path.back()});
    all_[static_cast<size_t>(token) / 32] |= 1u << (token % 32);
    deepest_ = std::max(deepest_, text.size());
    before = &text;
  }

  std::vector<uint32_t> number(tree.size());
  std::vector<uint32_t> open;  // nodes on the way to the current one, the first of them the root
  nodes_.reserve(tree.size());
  for (uint32_t at = 0; at != kNone;) {
    number[at] = static_cast<uint32_t>(nodes_.size());
    nodes_.push_back({0, static_cast<uint16_t>(open.size()), tree[at].last});
    open.push_back(at);
    uint32_t next = tree[at].first_child;
    while (next == kNone && !open.empty()) {  // back to where something is left
      nodes_[number[open.back()]].end = static_cast<uint32_t>(nodes_.size());
      next = tree[open.back()].next_sibling;
      open.pop_back();
    }
    at = next;
  }
  for (Place& place : places_) place.node = number[place.node];
}

bool leaves_many(const xgrammar::CompiledGrammar& grammar) { return CoreView::most_left(grammar) >= kWorthIt; }

ByteClasses byte_classes(const xgrammar::CompiledGrammar& grammar) {
  std::vector<CoreEdge> edges;
  auto each_edge = [&](auto&& what) {
    for (int32_t state = 0; state < CoreView::n_states(grammar); ++state) {
      CoreView::edges_of(grammar, state, edges);
      for (const CoreEdge& edge : edges) {
        if (edge.kind == EdgeKind::kBytes) what(state, edge);
      }
    }
  };
  std::bitset<256> letters;
  each_edge([&](int32_t, const CoreEdge& edge) {
    if (is_letter(edge)) letters.set(static_cast<size_t>(edge.first));
  });
  bool too_many = letters.count() > kMostLetters;
  std::array<uint64_t, 257> change{};  // of the sum over the edges of a byte, at that byte
  each_edge([&](int32_t state, const CoreEdge& edge) {
    if (too_many && is_letter(edge)) return;
    uint64_t way = mix(static_cast<uint64_t>(state) << 32 | static_cast<uint32_t>(edge.target));
    change[static_cast<size_t>(edge.first)] += way;
    change[static_cast<size_t>(edge.last) + 1] -= way;
  });
  ByteClasses out{};
  std::unordered_map<uint64_t, uint8_t> known;
  uint64_t sum = 0;
  for (size_t byte = 0; byte < 256; ++byte) {
    sum += change[byte];
    out[byte] = known.try_emplace(sum, static_cast<uint8_t>(known.size())).first->second;
  }
  return out;
}

}  // namespace millrace::grammar
