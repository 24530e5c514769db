// TokenClasses: a vocabulary as one constraint sees it. Bytes that none of its rules tells apart are one class, and
// tokens that are the same classes one after the other are allowed or not together: of 150,000 tokens some thousand are
// left to follow, as a tree of classes. For masks of states that leave most tokens to the core's parser
// (parse_walk.inl.h). Any classes do: the walk looks whether the bytes of one are alike where it is.
// Thread: any. In C++17, for the core includes it.
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace xgrammar {
class CompiledGrammar;
}

namespace millrace::grammar {

using ByteClasses = std::array<uint8_t, 256>;  // of each byte: the classes are 0, 1, and so on

class TokenClasses {
 public:
  // A beginning of tokens: in the order in which each stands before those that go on from it.
  struct Node {
    uint32_t end = 0;    // the first node that does not go on from this one
    uint16_t depth = 0;  // bytes
    uint8_t last = 0;    // the class of the last of them
  };
  struct Place {
    int32_t token = 0;
    uint32_t node = 0;
  };

  // sorted_tokens by text, at most kLongest bytes each, of n_vocab.
  TokenClasses(const std::vector<std::pair<int32_t, std::string>>& sorted_tokens, size_t n_vocab,
               const ByteClasses& class_of);

  static constexpr size_t kLongest = UINT16_MAX;

  const std::vector<std::bitset<256>>& classes() const { return classes_; }  // the bytes of each
  const std::vector<Node>& nodes() const { return nodes_; }                  // the first: no byte
  const std::vector<Place>& places() const { return places_; }               // in the order of the tokens
  const std::vector<uint32_t>& all() const { return all_; }                  // bits of the tokens, [n_vocab / 32, up]
  size_t deepest() const { return deepest_; }
  size_t n_bytes() const { return nodes_.size() * sizeof(Node) + places_.size() * sizeof(Place); }

 private:
  std::vector<std::bitset<256>> classes_;
  std::vector<Node> nodes_;
  std::vector<Place> places_;
  std::vector<uint32_t> all_;
  size_t deepest_ = 0;
};

// Whether a grammar has a state that leaves many tokens to the parser.
bool leaves_many(const xgrammar::CompiledGrammar& grammar);
// Bytes are of one class when they lead from the same states to the same ones.
ByteClasses byte_classes(const xgrammar::CompiledGrammar& grammar);

}  // namespace millrace::grammar
