#include "grammar/regex_match.h"

#include <algorithm>
#include <vector>

#include "base/macros.h"
#include "grammar/characters.h"
#include "grammar/regex.h"

namespace millrace::grammar {
namespace {

// Positions of a text, one bit each.
using Positions = std::vector<bool>;

bool none(const Positions& positions) { return std::ranges::find(positions, true) == positions.end(); }

void join(Positions& into, const Positions& more) {
  for (size_t i = 0; i < more.size(); ++i) into[i] = into[i] || more[i];
}

// Where a match of the expression can end when it begins at one of the positions.
Positions ends(const Rules& rules, ExprId id, std::string_view text, const Positions& begins) {
  const Expr& expr = rules.at(id);
  Positions out(begins.size(), false);
  switch (expr.kind) {
    case ExprKind::kText:
      for (size_t i = 0; i < begins.size(); ++i) {
        if (begins[i] && text.substr(i, expr.text.size()) == expr.text) out[i + expr.text.size()] = true;
      }
      return out;
    case ExprKind::kSet:
      for (size_t i = 0; i < text.size(); ++i) {
        if (!begins[i]) continue;
        Character c = character_at(text, i);
        if (c.value != kNotUtf8 && contains(expr.set, c.value)) out[i + c.n_bytes] = true;
      }
      return out;
    case ExprKind::kSequence:
      out = begins;
      for (ExprId part : expr.parts) out = ends(rules, part, text, out);
      return out;
    case ExprKind::kChoice:
      for (ExprId part : expr.parts) join(out, ends(rules, part, text, begins));
      return out;
    case ExprKind::kRepeat: {
      Positions at = begins;
      if (expr.min == 0) out = begins;
      // beyond one repetition per byte only empty ones follow
      auto most = static_cast<uint32_t>(std::min<uint64_t>(expr.max, uint64_t{expr.min} + text.size() + 1));
      for (uint32_t n = 1; n <= most && !none(at); ++n) {
        Positions next = ends(rules, expr.parts[0], text, at);
        if (n > expr.min + 1 && next == at) break;
        at = std::move(next);
        if (n >= expr.min) join(out, at);
        if (n < expr.min && n > text.size() + 1) n = expr.min - 1;  // only empty repetitions are left
      }
      return out;
    }
    case ExprKind::kRule:
      return ends(rules, rules.body(expr.rule), text, begins);
    case ExprKind::kTags:
      return out;
  }
  return out;
}

}  // namespace

bool matches(const Rules& rules, ExprId expr, std::string_view text) {
  Positions begins(text.size() + 1, false);
  begins[0] = true;
  return ends(rules, expr, text, begins)[text.size()];
}

Result<bool> matches_pattern(std::string_view pattern, std::string_view text) {
  Rules rules;
  ExprId expr = TRY(add_regex(rules, pattern, {.search = true}));
  return matches(rules, expr, text);
}

}  // namespace millrace::grammar
