// What is fixed at a place is a beginning of every text that may follow there, so it is no longer than the shortest of
// them. The bound is the longest of these shortest rests: by rounds from below, since rules may use each other.
#include "grammar/forced_text.h"

#include <algorithm>
#include <vector>

namespace millrace::grammar {
namespace {

constexpr uint64_t kFar = uint64_t{1} << 40;  // stands for all beyond
constexpr uint64_t kSetBytes = 4;             // of one character, at most
constexpr int kRounds = 64;
// By so much the rest may grow while rules nest twice as deep (32 rules inside one another): some bytes that close
// each.
constexpr uint64_t kMostGrowth = 256;

uint64_t times(uint64_t n, uint64_t bytes) { return bytes == 0 ? 0 : n > kFar / bytes ? kFar : n * bytes; }
uint64_t sum(uint64_t a, uint64_t b) { return std::min(a + b, kFar); }

class Lengths {
 public:
  explicit Lengths(const Rules& rules)
      : rules_(rules),
        least_(rules.n_exprs(), kFar),
        rest_(rules.n_exprs(), 0),
        rule_least_(rules.n_rules(), kFar),
        rule_rest_(rules.n_rules(), 0) {}

  // One round over all expressions; parts come before what is made of them. False when nothing changed.
  bool round(bool rests) {
    bool changed = false;
    for (ExprId id = 0; id < rules_.n_exprs(); ++id) {
      uint64_t& value = rests ? rest_[id] : least_[id];
      uint64_t now = rests ? rest_of(rules_.at(id)) : least_of(rules_.at(id));
      changed = changed || now != value;
      value = now;
    }
    for (RuleId rule = 0; rule < rules_.n_rules(); ++rule) {
      if (rules_.body(rule) >= rules_.n_exprs()) continue;
      (rests ? rule_rest_ : rule_least_)[rule] = (rests ? rest_ : least_)[rules_.body(rule)];
    }
    return changed;
  }
  uint64_t longest_rest() const { return *std::ranges::max_element(rest_); }

 private:
  // The shortest text of an expression.
  uint64_t least_of(const Expr& expr) const {
    uint64_t out = 0;
    switch (expr.kind) {
      case ExprKind::kText:
        return expr.text.size();
      case ExprKind::kSet:
        return expr.set.empty() ? kFar : kSetBytes;
      case ExprKind::kRule:
        return rule_least_[expr.rule];
      case ExprKind::kSequence:
        for (ExprId part : expr.parts) out = sum(out, least_[part]);
        return out;
      case ExprKind::kChoice:
        out = kFar;
        for (ExprId part : expr.parts) out = std::min(out, least_[part]);
        return out;
      case ExprKind::kRepeat:
        return times(expr.min, least_[expr.parts[0]]);
      case ExprKind::kTags:
        return 0;
    }
    return kFar;
  }

  // The longest of the shortest rests inside an expression. A part that nothing matches is never entered.
  uint64_t rest_of(const Expr& expr) const {
    uint64_t out = 0;
    uint64_t behind = 0;
    switch (expr.kind) {
      case ExprKind::kText:
        return expr.text.size();
      case ExprKind::kSet:
        return kSetBytes;
      case ExprKind::kRule:
        return rule_least_[expr.rule] < kFar ? rule_rest_[expr.rule] : 0;
      case ExprKind::kSequence:
        for (size_t i = expr.parts.size(); i-- > 0;) {
          out = std::max(out, sum(rest_[expr.parts[i]], behind));
          behind = sum(behind, least_[expr.parts[i]]);
        }
        return behind < kFar ? out : 0;
      case ExprKind::kChoice:
        for (ExprId part : expr.parts) out = std::max(out, rest_[part]);
        return out;
      case ExprKind::kRepeat:
        if (expr.max == 0 || least_[expr.parts[0]] == kFar) return 0;
        return sum(rest_[expr.parts[0]], times(std::max(expr.min, 1u) - 1, least_[expr.parts[0]]));
      case ExprKind::kTags:
        for (const auto& [text, rule] : expr.tags) {
          out = std::max({out, uint64_t{text.size()} + rule_least_[rule], rule_rest_[rule]});
        }
        return out;
    }
    return kFar;
  }

  const Rules& rules_;
  std::vector<uint64_t> least_;  // [n_exprs]
  std::vector<uint64_t> rest_;   // [n_exprs]
  std::vector<uint64_t> rule_least_;
  std::vector<uint64_t> rule_rest_;
};

}  // namespace

bool forced_text_is_short(const Rules& rules) {
  Lengths lengths(rules);
  for (int i = 0; lengths.round(false); ++i) {
    if (i == kRounds) return false;
  }
  uint64_t half_way = 0;
  for (int i = 0; lengths.round(true); ++i) {
    if (lengths.longest_rest() > kMostForcedBytes) return false;
    if (i == kRounds / 2) half_way = lengths.longest_rest();
    if (i == kRounds) return lengths.longest_rest() - half_way <= kMostGrowth;
  }
  return true;
}

}  // namespace millrace::grammar
