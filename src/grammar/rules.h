// Rules: a context-free grammar over Unicode characters, as plain data. Every front end (JSON schema, regex, GBNF,
// choice) builds one; to_ebnf() writes it for the core, so text of a client never reaches the core's own parsers.
//  1. Expressions refer to earlier expressions and to rules by index; only rules make cycles.
//  2. Nothing here recurses deeper than the nesting of one rule's expression, which the front ends bound.
// Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "grammar/string_guard.h"

namespace millrace::grammar {

using ExprId = uint32_t;
using RuleId = uint32_t;
constexpr uint32_t kUnbounded = UINT32_MAX;
constexpr uint32_t kLastCharacter = 0x10FFFF;

// Characters first..last, both included.
struct CharRange {
  uint32_t first = 0;
  uint32_t last = 0;
  bool operator==(const CharRange&) const = default;
};
using CharSet = std::vector<CharRange>;  // sorted, disjoint, not touching

// Sorts and joins; surrogates are taken out.
CharSet normalised(const CharSet& set);
CharSet complement(const CharSet& set);
CharSet intersection(const CharSet& a, const CharSet& b);
bool contains(const CharSet& set, uint32_t character);

enum class ExprKind : uint8_t { kText, kSet, kRule, kSequence, kChoice, kRepeat, kTags };

struct Expr {
  ExprKind kind = ExprKind::kText;
  std::string text;                                  // kText: UTF-8, may be empty
  CharSet set;                                       // kSet: one character of it; an empty set matches nothing
  std::vector<ExprId> parts;                         // kSequence, kChoice, kRepeat (one)
  RuleId rule = 0;                                   // kRule
  uint32_t min = 0;                                  // kRepeat
  uint32_t max = kUnbounded;                         // kRepeat
  bool lazy = false;                                 // kRepeat: as few as will do, for who asks what matched where
  std::vector<std::pair<std::string, RuleId>> tags;  // kTags: free text; after each such text, the rule
  std::vector<std::string> excluded;                 // kTags: texts that never come
  bool repeats = true;                               // kTags: free text goes on after a rule
};

class Rules {
 public:
  ExprId text(std::string_view utf8);
  ExprId set(CharSet set);
  ExprId rule(RuleId id);
  ExprId sequence(std::vector<ExprId> parts);
  ExprId choice(std::vector<ExprId> parts);
  ExprId repeat(ExprId part, uint32_t min, uint32_t max, bool lazy = false);
  ExprId optional(ExprId part) { return repeat(part, 0, 1); }
  ExprId tags(std::vector<std::pair<std::string, RuleId>> tags, std::vector<std::string> excluded, bool repeats);

  // A new rule, whose body may be set later, once.
  RuleId add_rule();
  RuleId add_rule(ExprId body);
  void set_body(RuleId rule, ExprId body);

  // Places where a JSON string with these bounds may begin take this text besides (string_guard.h).
  ExprId length_marker_of(const LengthBounds& bounds);

  RuleId root = 0;
  std::vector<LengthBounds> lengths;  // by number of their marker
  std::optional<Error> left_out;      // of a schema: what could not be generated, the reason when nothing is left
  const Expr& at(ExprId id) const { return exprs_[id]; }
  bool matches_nothing(ExprId id) const { return at(id).kind == ExprKind::kSet && at(id).set.empty(); }
  ExprId body(RuleId rule) const { return bodies_[rule]; }
  size_t n_rules() const { return bodies_.size(); }
  size_t n_exprs() const { return exprs_.size(); }

 private:
  ExprId add(Expr expr);
  std::vector<Expr> exprs_;
  std::vector<ExprId> bodies_;
};

struct RuleLimits {
  uint64_t rules = 20'000;
  uint64_t states = 100'000;  // see n_states()
};

// Characters and classes after every repetition is written out, except repetitions of one class or text, which the core
// counts: those weigh no more than kCountedStates. Saturates.
uint64_t n_states(const Rules& rules);
constexpr uint64_t kCountedStates = 256;

// kInvalidGrammar when the grammar is over a limit or when nothing matches it ("no text matches this grammar"); rules
// that match nothing are cut out of the others.
Result<void> check_rules(Rules& rules, const RuleLimits& limits);

// The text that xgrammar's EBNF parser reads; the root rule is called root.
std::string to_ebnf(const Rules& rules);

}  // namespace millrace::grammar
