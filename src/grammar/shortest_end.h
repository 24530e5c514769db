// The nearest end of a constrained text: by how few bytes the text can be completed from where a parser is, and the
// next byte on that way. EndCosts knows it for every state of the rules' automata (Knuth 1977, "A generalization of
// Dijkstra's algorithm": the cost of a rule is that of the cheapest way through its automaton, where the ways through
// the rules that it names count); NearestEnd adds what the rules that wait for one another still need.
//  1. Strings whose lengths are counted beside the core (string_guard.h) count with the characters that they need.
//     Where these are of a pattern the number may be too small by some bytes; else it is exact.
//  2. What is said depends on the text before alone.
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
#include "grammar/string_guard.h"

namespace millrace::grammar {

constexpr uint32_t kNoEnd = UINT32_MAX / 4;  // no way, or none that was found; twice it fits as well

class EndCosts {
 public:
  // bytes: which of them a text may be completed with. The grammar outlives this.
  EndCosts(const xgrammar::CompiledGrammar& grammar, std::span<const LengthBounds> lengths,
           const std::bitset<256>& bytes);

  // Bytes from this state to the end of its rule.
  uint32_t from(int32_t state) const { return costs_[static_cast<size_t>(state)]; }
  uint32_t of_rule(int32_t rule) const { return from(starts_[static_cast<size_t>(rule)]); }
  // Characters of a string from here to its closing quote, or to the end of the rule, as far as bytes lead there.
  uint32_t to_quote(int32_t state) const;
  // The byte of first..last that is taken before others, of those that are not `forbidden`; none: -1.
  int pick(int first, int last, const std::bitset<256>& forbidden) const;

  const xgrammar::CompiledGrammar& grammar() const { return grammar_; }
  size_t n_bytes() const { return (costs_.size() + starts_.size()) * sizeof(uint32_t) + is_end_.size() / 8; }

 private:
  void find_costs(const std::unordered_map<int32_t, uint32_t>& extra);
  std::unordered_map<int32_t, uint32_t> find_needs(std::span<const LengthBounds> lengths) const;

  const xgrammar::CompiledGrammar& grammar_;
  std::bitset<256> usable_;            // bytes
  std::array<uint8_t, 256> ranked_{};  // the same, best first
  size_t n_ranked_ = 0;
  std::vector<int32_t> starts_;  // [n_rules] states
  std::vector<bool> is_end_;     // [n_states] of its rule
  std::vector<uint32_t> costs_;  // [n_states]
};

class NearestEnd {
 public:
  explicit NearestEnd(const EndCosts& costs) : costs_(costs) {}

  struct Next {
    uint32_t n_bytes = kNoEnd;  // to the end, this one included
    uint8_t byte = 0;
  };
  // From where the parser is, with a string open or not as `guard` says; for a text that is not complete.
  Next next(const xgrammar::GrammarMatcher& parser, const StringGuard& guard);
  // Rows of the parser from this one on are no longer those that were seen.
  void forget_rows(int32_t first);
  uint64_t n_looked() const { return n_looked_; }  // places of the parser, by next()

 private:
  uint32_t behind(const xgrammar::GrammarMatcher& parser, int32_t rule, int32_t row);
  uint32_t cost_of(const CoreWaiting& waiting);
  bool make_row(const xgrammar::GrammarMatcher& parser, int32_t row, std::vector<int32_t>& needed);

  const EndCosts& costs_;
  // [row][rule]: bytes that what waits for the rule there needs behind it
  std::unordered_map<int32_t, std::unordered_map<int32_t, uint32_t>> rows_;
  int32_t last_row_ = -1;  // of rows_
  uint64_t n_looked_ = 0;
  std::vector<CorePlace> places_;
  std::vector<CoreWaiting> waiting_;
  std::vector<CoreEdge> edges_;        // of what waits
  std::vector<CoreEdge> place_edges_;  // of a place
};

}  // namespace millrace::grammar
