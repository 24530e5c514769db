#include "grammar/rules.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>

#include "base/macros.h"

namespace millrace::grammar {
namespace {

constexpr ExprId kNoBody = UINT32_MAX;
constexpr uint32_t kFirstSurrogate = 0xD800;
constexpr uint32_t kLastSurrogate = 0xDFFF;

uint64_t saturating_mul(uint64_t a, uint64_t b) {
  constexpr uint64_t kMost = uint64_t{1} << 60;
  if (a == 0 || b == 0) return 0;
  return a > kMost / b ? kMost : a * b;
}

// Which rules, and which expressions, match at least one text.
struct Productive {
  std::vector<bool> rules;
  std::vector<bool> exprs;
};

bool expr_productive(const Rules& rules, const Expr& expr, const Productive& known) {
  auto is_good = [&](ExprId part) { return known.exprs[part]; };
  switch (expr.kind) {
    case ExprKind::kText:
    case ExprKind::kTags:
      return true;
    case ExprKind::kSet:
      return !expr.set.empty();
    case ExprKind::kRule:
      return rules.body(expr.rule) != kNoBody && known.rules[expr.rule];
    case ExprKind::kSequence:
      return std::ranges::all_of(expr.parts, is_good);
    case ExprKind::kChoice:
      return std::ranges::any_of(expr.parts, is_good);
    case ExprKind::kRepeat:
      return expr.min == 0 || is_good(expr.parts[0]);
  }
  return false;
}

// From what matches by itself to what is made of it: each expression and rule is looked at when a part of it turns out
// to match, so the work is linear in the size of the grammar.
class ProductiveSearch {
 public:
  explicit ProductiveSearch(const Rules& rules)
      : rules_(rules),
        known_{std::vector<bool>(rules.n_rules(), false), std::vector<bool>(rules.n_exprs(), false)},
        users_of_expr_(rules.n_exprs()),
        users_of_rule_(rules.n_rules()),
        rules_of_expr_(rules.n_exprs()) {}

  Productive run() {
    for (ExprId id = 0; id < rules_.n_exprs(); ++id) {
      const Expr& expr = rules_.at(id);
      for (ExprId part : expr.parts) users_of_expr_[part].push_back(id);
      if (expr.kind == ExprKind::kRule) users_of_rule_[expr.rule].push_back(id);
    }
    for (RuleId rule = 0; rule < rules_.n_rules(); ++rule) {
      if (rules_.body(rule) != kNoBody) rules_of_expr_[rules_.body(rule)].push_back(rule);
    }
    for (ExprId id = 0; id < rules_.n_exprs(); ++id) look_at(id);
    while (!open_.empty()) {
      ExprId id = open_.back();
      open_.pop_back();
      for (ExprId user : users_of_expr_[id]) look_at(user);
      for (RuleId rule : rules_of_expr_[id]) {
        known_.rules[rule] = true;
        for (ExprId user : users_of_rule_[rule]) look_at(user);
      }
    }
    return std::move(known_);
  }

 private:
  void look_at(ExprId id) {
    if (known_.exprs[id] || !expr_productive(rules_, rules_.at(id), known_)) return;
    known_.exprs[id] = true;
    open_.push_back(id);
  }

  const Rules& rules_;
  Productive known_;
  std::vector<std::vector<ExprId>> users_of_expr_;
  std::vector<std::vector<ExprId>> users_of_rule_;
  std::vector<std::vector<RuleId>> rules_of_expr_;
  std::vector<ExprId> open_;
};

Productive find_productive(const Rules& rules) { return ProductiveSearch(rules).run(); }

void append_character(std::string& out, uint32_t c, std::string_view special) {
  bool plain = c >= 0x20 && c < 0x7F && special.find(static_cast<char>(c)) == std::string_view::npos;
  if (plain) {
    out += static_cast<char>(c);
  } else {
    fmt::format_to(std::back_inserter(out), "\\U{:08x}", c);
  }
}

// Code points of valid UTF-8, without quotes around them.
void append_characters(std::string& out, std::string_view utf8) {
  for (size_t i = 0; i < utf8.size();) {
    auto lead = static_cast<unsigned char>(utf8[i]);
    size_t n = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    uint32_t c = n == 1 ? lead : lead & (0xFFu >> (n + 1));
    for (size_t k = 1; k < n && i + k < utf8.size(); ++k) c = c << 6 | (static_cast<unsigned char>(utf8[i + k]) & 0x3F);
    if (c == '"' || c == '\\') out += '\\';
    append_character(out, c, "");
    i += n;
  }
}

void append_text(std::string& out, std::string_view utf8) {
  out += '"';
  append_characters(out, utf8);
  out += '"';
}

void append_set(std::string& out, const CharSet& set) {
  out += '[';
  for (const CharRange& range : set) {
    append_character(out, range.first, "[]^-\\\"");
    if (range.last == range.first) continue;
    out += '-';
    append_character(out, range.last, "[]^-\\\"");
  }
  out += ']';
}

void append_tags(std::string& out, const Expr& expr) {
  out += "TagDispatch(";
  for (const auto& [text, rule] : expr.tags) {
    out += '(';
    append_text(out, text);
    fmt::format_to(std::back_inserter(out), ", r{}), ", rule);
  }
  out += expr.repeats ? "loop_after_dispatch=true" : "loop_after_dispatch=false";
  if (!expr.excluded.empty()) {
    out += ", excludes=(";
    for (const std::string& text : expr.excluded) {
      append_text(out, text);
      out += ',';
    }
    out += ')';
  }
  out += ')';
}

// The body of a rule. What the core's own parser does costs by the letter, more than most of what follows: no
// parentheses that say nothing, no empty texts, and texts side by side as one.
class BodyWriter {
 public:
  BodyWriter(std::string& out, const Rules& rules, const Productive& known) : out_(out), rules_(rules), known_(known) {}

  // Where `|` needs no parentheses.
  void alternatives(ExprId id) {
    const Expr& expr = rules_.at(id);
    if (expr.kind == ExprKind::kChoice) {
      bool first = true;
      for (ExprId part : expr.parts) {
        if (!known_.exprs[part]) continue;
        if (!std::exchange(first, false)) out_ += " | ";
        alternatives(part);
      }
      if (first) out_ += "\"\"";
      return;
    }
    n_elements_ = 0;
    elements(id);
    end_text();
    if (n_elements_ == 0) out_ += "\"\"";
  }

 private:
  // Behind what the sequence has already.
  void elements(ExprId id) {
    const Expr& expr = rules_.at(id);
    switch (expr.kind) {
      case ExprKind::kText:
        if (expr.text.empty()) return;
        if (!in_text_) {
          begin_element();
          out_ += '"';
          in_text_ = true;
        }
        append_characters(out_, expr.text);
        return;
      case ExprKind::kSet:
        begin_element();
        append_set(out_, expr.set);
        return;
      case ExprKind::kRule:
        begin_element();
        fmt::format_to(std::back_inserter(out_), "r{}", expr.rule);
        return;
      case ExprKind::kTags:
        begin_element();
        append_tags(out_, expr);
        return;
      case ExprKind::kSequence:
        for (ExprId part : expr.parts) elements(part);
        return;
      case ExprKind::kChoice:
        begin_element();
        parentheses(id);
        return;
      case ExprKind::kRepeat:
        if (known_.exprs[expr.parts[0]]) repetition(expr);
        return;
    }
  }

  void begin_element() {
    end_text();
    if (n_elements_++ > 0) out_ += ' ';
  }

  void end_text() {
    if (std::exchange(in_text_, false)) out_ += '"';
  }

  void parentheses(ExprId id) {
    size_t n_outside = n_elements_;
    out_ += '(';
    alternatives(id);
    out_ += ')';
    n_elements_ = n_outside;
  }

  // An endless one of one class goes without parentheses: a loop of the rule's own automaton, where one in parentheses
  // becomes a rule that the core's parser enters again for each character.
  void repetition(const Expr& expr) {
    const Expr& part = rules_.at(expr.parts[0]);
    begin_element();
    if (part.kind == ExprKind::kSet && expr.max == kUnbounded && expr.min <= 1) {
      append_set(out_, part.set);
      if (expr.min == 1) {
        begin_element();
        append_set(out_, part.set);
      }
      out_ += '*';
      return;
    }
    parentheses(expr.parts[0]);
    if (expr.min <= 1 && expr.max == kUnbounded) {
      out_ += expr.min == 0 ? '*' : '+';
    } else if (expr.max == kUnbounded) {
      fmt::format_to(std::back_inserter(out_), "{{{},}}", expr.min);
    } else {
      fmt::format_to(std::back_inserter(out_), "{{{},{}}}", expr.min, expr.max);
    }
  }

  std::string& out_;
  const Rules& rules_;
  const Productive& known_;
  size_t n_elements_ = 0;  // of the sequence that is written
  bool in_text_ = false;   // the last of them is a text without its closing quote
};

}  // namespace

CharSet normalised(const CharSet& set) {
  CharSet cut;
  for (CharRange range : set) {
    if (range.first > range.last) continue;
    if (range.last < kFirstSurrogate || range.first > kLastSurrogate) {
      cut.push_back(range);
      continue;
    }
    if (range.first < kFirstSurrogate) cut.push_back({range.first, kFirstSurrogate - 1});
    if (range.last > kLastSurrogate) cut.push_back({kLastSurrogate + 1, range.last});
  }
  std::ranges::sort(cut, {}, &CharRange::first);
  CharSet out;
  for (const CharRange& range : cut) {
    if (!out.empty() && range.first <= out.back().last + 1) {
      out.back().last = std::max(out.back().last, range.last);
    } else {
      out.push_back(range);
    }
  }
  return out;
}

CharSet complement(const CharSet& set) {
  CharSet out;
  uint32_t next = 0;
  for (const CharRange& range : set) {
    if (range.first > next) out.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kLastCharacter) out.push_back({next, kLastCharacter});
  return normalised(out);
}

CharSet intersection(const CharSet& a, const CharSet& b) {
  CharSet out;
  for (const CharRange& x : a) {
    for (const CharRange& y : b) {
      uint32_t first = std::max(x.first, y.first);
      uint32_t last = std::min(x.last, y.last);
      if (first <= last) out.push_back({first, last});
    }
  }
  return normalised(out);
}

bool contains(const CharSet& set, uint32_t character) {
  return std::ranges::any_of(set, [&](const CharRange& r) { return r.first <= character && character <= r.last; });
}

ExprId Rules::add(Expr expr) {
  exprs_.push_back(std::move(expr));
  return static_cast<ExprId>(exprs_.size() - 1);
}

ExprId Rules::text(std::string_view utf8) { return add({.kind = ExprKind::kText, .text = std::string(utf8)}); }
ExprId Rules::set(CharSet set) { return add({.kind = ExprKind::kSet, .set = std::move(set)}); }
ExprId Rules::rule(RuleId id) { return add({.kind = ExprKind::kRule, .rule = id}); }

ExprId Rules::sequence(std::vector<ExprId> parts) {
  if (parts.size() == 1) return parts[0];
  return add({.kind = ExprKind::kSequence, .parts = std::move(parts)});
}

ExprId Rules::choice(std::vector<ExprId> parts) {
  if (parts.size() == 1) return parts[0];
  return add({.kind = ExprKind::kChoice, .parts = std::move(parts)});
}

ExprId Rules::repeat(ExprId part, uint32_t min, uint32_t max, bool lazy) {
  if (min == 1 && max == 1) return part;
  const Expr& inner = exprs_[part];
  if (inner.kind == ExprKind::kRepeat && max > 0) {  // "(x*)*" as it is has ever more ways to be read
    bool any = inner.max == kUnbounded && inner.min <= 1;
    if (any || (inner.min == 0 && inner.max == 1)) {
      return repeat(inner.parts[0], inner.min * min, any ? kUnbounded : max, lazy);
    }
  }
  return add({.kind = ExprKind::kRepeat, .parts = {part}, .min = min, .max = max, .lazy = lazy});
}

ExprId Rules::tags(std::vector<std::pair<std::string, RuleId>> tags, std::vector<std::string> excluded, bool repeats) {
  return add({.kind = ExprKind::kTags, .tags = std::move(tags), .excluded = std::move(excluded), .repeats = repeats});
}

ExprId Rules::length_marker_of(const LengthBounds& bounds) {
  auto found = std::ranges::find(lengths, bounds);
  size_t index = static_cast<size_t>(found - lengths.begin());
  if (index == kMaxLengthBounds) return set({});  // the caller refuses first
  if (found == lengths.end()) lengths.push_back(bounds);
  return text(length_marker(index));
}

RuleId Rules::add_rule() {
  bodies_.push_back(kNoBody);
  return static_cast<RuleId>(bodies_.size() - 1);
}

RuleId Rules::add_rule(ExprId body) {
  bodies_.push_back(body);
  return static_cast<RuleId>(bodies_.size() - 1);
}

void Rules::set_body(RuleId rule, ExprId body) {
  CHECK(bodies_[rule] == kNoBody, "rule {} has two bodies", rule);
  bodies_[rule] = body;
}

uint64_t n_states(const Rules& rules) {
  std::vector<uint64_t> states(rules.n_exprs(), 0);
  for (ExprId id = 0; id < rules.n_exprs(); ++id) {
    const Expr& expr = rules.at(id);
    uint64_t sum = 0;
    for (ExprId part : expr.parts) sum += states[part];
    if (expr.kind == ExprKind::kText) sum = expr.text.size();
    if (expr.kind == ExprKind::kSet || expr.kind == ExprKind::kRule) sum = 1;
    if (expr.kind == ExprKind::kTags) sum = 64;
    if (expr.kind == ExprKind::kRepeat) {
      uint64_t times = expr.max == kUnbounded ? std::max<uint64_t>(expr.min, 1) : expr.max;
      bool counted = sum <= 1;
      sum = counted ? std::min(times, kCountedStates) : saturating_mul(sum, times);
    }
    states[id] = std::min<uint64_t>(sum, uint64_t{1} << 60);
  }
  uint64_t total = 0;
  for (RuleId rule = 0; rule < rules.n_rules(); ++rule) {
    if (rules.body(rule) != kNoBody) total = std::min<uint64_t>(total + states[rules.body(rule)], uint64_t{1} << 60);
  }
  return total;
}

Result<void> check_rules(Rules& rules, const RuleLimits& limits) {
  if (rules.n_rules() > limits.rules) {
    return Error{ErrorCode::kInvalidGrammar, fmt::format("{} rules, limit {}", rules.n_rules(), limits.rules), ""};
  }
  uint64_t states = n_states(rules);
  if (states > limits.states) {
    return Error{ErrorCode::kInvalidGrammar,
                 fmt::format("repetition expands to {} states, limit {}", states, limits.states), ""};
  }
  Productive known = find_productive(rules);
  if (!known.rules[rules.root]) {
    return rules.left_out ? *rules.left_out : Error{ErrorCode::kInvalidGrammar, "no text matches", ""};
  }
  return {};
}

// Only what can be reached from the root is written, in order of rule ids (TagDispatch names rules that follow it,
// too).
std::string to_ebnf(const Rules& rules) {
  Productive known = find_productive(rules);
  std::vector<bool> reached(rules.n_rules(), false);
  std::vector<RuleId> open{rules.root};
  reached[rules.root] = true;
  while (!open.empty()) {
    RuleId rule = open.back();
    open.pop_back();
    std::vector<ExprId> exprs{rules.body(rule)};
    while (!exprs.empty()) {
      const Expr& expr = rules.at(exprs.back());
      bool used = known.exprs[exprs.back()];
      exprs.pop_back();
      if (!used) continue;
      auto reach = [&](RuleId next) {
        if (reached[next] || !known.rules[next]) return;
        reached[next] = true;
        open.push_back(next);
      };
      if (expr.kind == ExprKind::kRule) reach(expr.rule);
      for (const auto& tag : expr.tags) reach(tag.second);
      exprs.insert(exprs.end(), expr.parts.begin(), expr.parts.end());
    }
  }
  std::string out;
  fmt::format_to(std::back_inserter(out), "root ::= r{}\n", rules.root);
  for (RuleId rule = 0; rule < rules.n_rules(); ++rule) {
    if (!reached[rule]) continue;
    fmt::format_to(std::back_inserter(out), "r{} ::= ", rule);
    BodyWriter(out, rules, known).alternatives(rules.body(rule));
    out += '\n';
  }
  return out;
}

}  // namespace millrace::grammar
