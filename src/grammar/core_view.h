// CoreView: what the core knows of a constraint, read only: the automata of a compiled grammar's rules, and the states
// that the parser of a matcher is in. The functions stand in core_view.inl.h, which is compiled behind the core's own
// grammar_matcher.cc (cmake/xgrammar.cmake), since only that file knows its parser.
// In C++17, for the core includes it. Thread: any for automata; a matcher one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace xgrammar {
class CompiledGrammar;
class GrammarMatcher;
}  // namespace xgrammar

namespace millrace::grammar {

class TokenClasses;

enum class EdgeKind : uint8_t { kBytes, kFree, kRule, kRepeat, kOther };

struct CoreEdge {
  EdgeKind kind = EdgeKind::kOther;
  int32_t first = 0;   // kBytes: the first byte that leads along it; kRule, kRepeat: the rule
  int32_t last = 0;    // kBytes: the last one; kRepeat: how often the rule comes at least
  int32_t target = 0;  // state
};

// A place of the parser: a state of a rule's automaton, and where in the text that rule began.
struct CorePlace {
  int32_t rule = 0;
  int32_t state = 0;
  int32_t row = -1;   // behind so many bytes; -1: the whole constraint
  int32_t count = 0;  // times that the repetition at `state` has had before
};

// A place that goes on when `rule` is complete.
struct CoreWaiting {
  int32_t rule = 0;
  CorePlace place;
};

// States are numbered over all rules.
class CoreView {
 public:
  static int32_t n_rules(const xgrammar::CompiledGrammar& grammar);
  static int32_t n_states(const xgrammar::CompiledGrammar& grammar);
  static int32_t start_of(const xgrammar::CompiledGrammar& grammar, int32_t rule);
  static const std::vector<int32_t>& ends_of(const xgrammar::CompiledGrammar& grammar, int32_t rule);
  static void edges_of(const xgrammar::CompiledGrammar& grammar, int32_t state, std::vector<CoreEdge>& edges);

  // The most tokens that the mask of one state leaves to the parser.
  static size_t most_left(const xgrammar::CompiledGrammar& grammar);
  // The matcher makes masks by them from now on, where it is worth it (parse_walk.inl.h). They outlive it.
  static void use(xgrammar::GrammarMatcher& matcher, const TokenClasses* classes);

  // Rows of the parser: one before the text and one for each byte.
  static int32_t n_rows(const xgrammar::GrammarMatcher& matcher);
  // The places from which bytes lead on.
  static void places(const xgrammar::GrammarMatcher& matcher, std::vector<CorePlace>& places);
  // How many places wait for what began at the last row.
  static int32_t n_waiting(const xgrammar::GrammarMatcher& matcher);
  // What waits for a rule that began at this row.
  static void waiting(const xgrammar::GrammarMatcher& matcher, int32_t row, std::vector<CoreWaiting>& waiting);
};

}  // namespace millrace::grammar
