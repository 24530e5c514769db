// The nearest end of a constrained text: by how few bytes the text can be completed from where a parser is, and the
// next byte on that way. EndCosts knows it for every state of the rules' automata (Knuth 1977, "A generalization of
// Dijkstra's algorithm": the cost of a rule is that of the cheapest way through its automaton, where the ways through
// the rules that it names count); NearestEnd adds what the rules that wait for one another still need.
//  1. Strings whose lengths are counted beside the core (string_guard.h) count with the characters that they need.
//     Where these are of a pattern the number may be too small by some bytes; else it is exact.
//  2. How many tokens such a way takes at most is known with it, in nearly no time: literal text counts with its tokens
//     of up to ShortTexts::kMostBytes bytes, any other byte is a token.
//  3. What is said depends on the text before alone.
// Thread: EndCosts any; NearestEnd its matcher's.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "grammar/core_view.h"
#include "grammar/short_texts.h"
#include "grammar/string_guard.h"

namespace millrace::grammar {

constexpr uint32_t kNoEnd = UINT32_MAX / 4;  // no way, or none that was found; twice it fits as well

// Of a way to an end.
struct EndCost {
  uint32_t n_bytes = kNoEnd;   // the fewest
  uint32_t n_tokens = kNoEnd;  // no way of so many bytes takes more
};

class EndCosts {
 public:
  // bytes: which of them a text may be completed with. pieces: tokens. The grammar outlives this.
  EndCosts(const xgrammar::CompiledGrammar& grammar, std::span<const LengthBounds> lengths,
           const std::bitset<256>& bytes, const ShortTexts& pieces);

  // From this state to the end of its rule.
  EndCost from(int32_t state) const {
    auto i = static_cast<size_t>(state);
    return {costs_[i], n_tokens_[i]};
  }
  EndCost of_rule(int32_t rule) const { return from(starts_[static_cast<size_t>(rule)]); }
  // No text is farther from its end, as NearestEnd::next() counts tokens; kNoEnd when what must still come can grow
  // without end.
  uint32_t farthest() const { return farthest_; }
  // From the beginning of an edge to the end of the rule it is in.
  EndCost along(const CoreEdge& edge) const;
  // Tokens of a byte that is not a literal's: strings whose characters are counted may take some more than is known.
  uint32_t tokens_of_byte() const { return tokens_of_byte_; }
  // Characters of a string from here to its closing quote, or to the end of the rule, as far as bytes lead there.
  uint32_t to_quote(int32_t state) const;
  // The byte of first..last that is taken before others, of those that are not `forbidden`; none: -1.
  int pick(int first, int last, const std::bitset<256>& forbidden) const;

  const xgrammar::CompiledGrammar& grammar() const { return grammar_; }
  size_t n_bytes() const { return (2 * costs_.size() + starts_.size()) * sizeof(uint32_t) + is_end_.size() / 8; }

 private:
  using Needs = std::unordered_map<int32_t, uint32_t>;  // characters that states need besides
  // An edge with the state that it leaves.
  struct Edge {
    CoreEdge edge;
    int32_t from = 0;
  };
  std::vector<Edge> usable_edges() const;
  // States, none behind one that its way goes through.
  std::vector<int32_t> find_costs(const std::vector<Edge>& edges, const Needs& extra);
  void find_tokens(const std::vector<Edge>& edges, const Needs& extra, std::span<const int32_t> order,
                   const ShortTexts& pieces);
  uint32_t find_farthest() const;
  Needs find_needs(std::span<const LengthBounds> lengths) const;

  const xgrammar::CompiledGrammar& grammar_;
  std::bitset<256> usable_;            // bytes
  std::array<uint8_t, 256> ranked_{};  // the same, best first
  size_t n_ranked_ = 0;
  std::vector<int32_t> starts_;     // [n_rules] states
  std::vector<bool> is_end_;        // [n_states] of its rule
  std::vector<uint32_t> costs_;     // [n_states] bytes
  std::vector<uint32_t> n_tokens_;  // [n_states]
  uint32_t farthest_ = kNoEnd;      // tokens
  uint32_t tokens_of_byte_ = 1;
};

class NearestEnd {
 public:
  explicit NearestEnd(const EndCosts& costs) : costs_(costs) {}

  struct Next {
    EndCost cost;  // to the end, this one included
    uint8_t byte = 0;
  };
  // From where the parser is, with a string open or not as `guard` says; for a text that is not complete.
  Next next(const xgrammar::GrammarMatcher& parser, const StringGuard& guard);
  // Rows of the parser from this one on are no longer those that were seen.
  void forget_rows(int32_t first);
  uint64_t n_looked() const { return n_looked_; }  // places of the parser, by next()

 private:
  EndCost behind(const xgrammar::GrammarMatcher& parser, int32_t rule, int32_t row);
  EndCost cost_of(const CoreWaiting& waiting);
  bool make_row(const xgrammar::GrammarMatcher& parser, int32_t row, std::vector<int32_t>& needed);

  const EndCosts& costs_;
  // [row][rule]: what waits for the rule there, behind it
  std::unordered_map<int32_t, std::unordered_map<int32_t, EndCost>> rows_;
  int32_t last_row_ = -1;  // of rows_
  uint64_t n_looked_ = 0;
  std::vector<CorePlace> places_;
  std::vector<CoreWaiting> waiting_;
  std::vector<CoreEdge> edges_;        // of what waits
  std::vector<CoreEdge> place_edges_;  // of a place
};

}  // namespace millrace::grammar
