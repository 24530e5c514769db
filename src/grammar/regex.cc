#include "grammar/regex.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/macros.h"
#include "grammar/characters.h"

namespace millrace::grammar {
namespace {

const CharSet kDigits = {{'0', '9'}};
const CharSet kWord = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const CharSet kSpace = {{'\t', '\r'}, {' ', ' '}};
// Without the separators 0x1C to 0x1F: white space in Python, not so in ECMA 262.
const CharSet kAscii = {{0, 0x1B}, {0x20, 0x7F}};
const CharSet kLineEnds = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

struct Quantifier {
  uint32_t min = 0;
  uint32_t max = 0;
  bool lazy = false;
};

// What a class holds so far; a complement of ASCII classes stays inside ASCII.
struct ClassBuilder {
  CharSet set;
  bool ascii_only = false;
  void add(CharRange range) { set.push_back(range); }
  void add(const CharSet& more) { set.insert(set.end(), more.begin(), more.end()); }
};

class Parser {
 public:
  Parser(Rules& rules, std::string_view text, const RegexOptions& options)
      : rules_(rules), in_(text), options_(options) {}

  Result<ExprId> parse() {
    ExprId whole = TRY(alternatives(0));
    if (!in_.at_end()) return fail("unmatched )");
    return whole;
  }

 private:
  Error fail(std::string_view what) const { return fail_at(in_.position(), what); }
  static Error fail_at(size_t position, std::string_view what) {
    return {ErrorCode::kInvalidRegex, fmt::format("regex at {}: {}", position, what), ""};
  }

  ExprId characters(CharSet set) {
    set = normalised(set);
    return options_.json_string ? json_characters(rules_, set) : rules_.set(std::move(set));
  }
  ExprId anything() { return rules_.repeat(characters({{0, kLastCharacter}}), 0, kUnbounded); }

  Result<ExprId> alternatives(int64_t depth) {
    if (depth > options_.max_nesting) return fail(fmt::format("nesting deeper than {}", options_.max_nesting));
    std::vector<ExprId> parts;
    do {
      parts.push_back(TRY(concatenation(depth)));
    } while (in_.take('|'));
    return rules_.choice(std::move(parts));
  }

  Result<ExprId> concatenation(int64_t depth) {
    std::vector<ExprId> parts;
    bool from_start = take_start_anchor(depth);
    bool to_end = false;
    while (!in_.at_end() && in_.peek() != '|' && in_.peek() != ')') {
      if (to_end) return fail("an anchor in the middle of a pattern is not supported");
      if (take_end_anchor(depth)) {
        to_end = true;
        continue;
      }
      ExprId atom = TRY(this->atom(depth));
      auto quantifier = TRY(this->quantifier());
      if (quantifier) atom = rules_.repeat(atom, quantifier->min, quantifier->max, quantifier->lazy);
      parts.push_back(atom);
    }
    if (options_.places && from_start) parts.insert(parts.begin(), rules_.rule(kTextBegin));
    if (options_.places && to_end) parts.push_back(rules_.rule(kTextEnd));
    if (options_.search && depth == 0 && !from_start) parts.insert(parts.begin(), anything());
    if (options_.search && depth == 0 && !to_end) parts.push_back(anything());
    if (parts.empty()) return rules_.text("");
    return rules_.sequence(std::move(parts));
  }

  // Anchors stand at the ends of a whole alternative only, outside of all groups.
  bool take_start_anchor(int64_t depth) { return depth == 0 && (in_.take('^') || in_.take("\\A")); }
  bool take_end_anchor(int64_t depth) { return depth == 0 && (in_.take('$') || in_.take("\\Z") || in_.take("\\z")); }

  Result<std::optional<Quantifier>> quantifier() {
    std::optional<Quantifier> found;
    size_t start = in_.position();
    if (in_.take('*')) found = {0, kUnbounded};
    if (!found && in_.take('+')) found = {1, kUnbounded};
    if (!found && in_.take('?')) found = {0, 1};
    if (!found && in_.peek() == '{' && in_.peek(1) >= '0' && in_.peek(1) <= '9') found = TRY(braces());
    if (!found && in_.peek() == '{' && in_.peek(1) == ',') {  // a text in ECMA 262, at most so many in Python
      return fail("a repetition without a minimum");
    }
    if (!found) return found;
    if (found->max < found->min) return fail_at(start, "the minimum of a repetition is above its maximum");
    found->lazy = in_.take('?');  // repeats the same texts
    bool again = in_.peek() == '*' || in_.peek() == '+' || in_.peek() == '?';
    if (again) return fail(in_.peek() == '+' ? "possessive quantifiers are not supported" : "nothing to repeat");
    return found;
  }

  Result<std::optional<Quantifier>> braces() {
    size_t start = in_.position();
    in_.take('{');
    auto low = in_.number();
    if (!low) return fail_at(start, "a repetition is too large");
    Quantifier found{*low, *low};
    if (in_.take(',')) {
      found.max = kUnbounded;
      if (in_.peek() != '}') {
        auto high = in_.number();
        if (!high) return fail("a repetition ends with a number or }");
        found.max = *high;
      }
    }
    if (!in_.take('}')) return fail_at(start, "a repetition without }");
    return std::optional(found);
  }

  Result<ExprId> group(int64_t depth) {
    size_t start = in_.position() - 1;
    bool captures = true;
    if (in_.take('?')) {
      captures = in_.peek() != ':';
      if (in_.take("=") || in_.take("!") || in_.take("<=") || in_.take("<!")) {
        return fail_at(start, "look-around is not supported");
      }
      if (in_.take("P=") || in_.take("P>")) return fail_at(start, "back-references are not supported");
      if (in_.take("P<") || in_.take("<")) {
        while (!in_.at_end() && in_.peek() != '>') in_.next();
        if (!in_.take('>')) return fail_at(start, "a group name without >");
      } else if (!in_.take(':')) {
        return fail_at(start, "flags and conditions are not supported");
      }
    }
    std::optional<RuleId> as_rule;
    if (captures && options_.places) as_rule = rules_.add_rule();
    ExprId inside = TRY(alternatives(depth + 1));
    if (!in_.take(')')) return fail_at(start, "a group without )");
    if (!as_rule) return inside;
    rules_.set_body(*as_rule, inside);
    return rules_.rule(*as_rule);
  }

  Result<ExprId> atom(int64_t depth) {
    size_t start = in_.position();
    uint32_t c = in_.next();
    switch (c) {
      case '*':
      case '+':
      case '?':
        return fail_at(start, "nothing to repeat");
      case '{':
        if (in_.peek() >= '0' && in_.peek() <= '9') return fail_at(start, "nothing to repeat");
        break;
      case '^':
      case '$':
        if (in_.peek() == '*' || in_.peek() == '+' || in_.peek() == '?' || in_.peek() == '{') {
          return fail("nothing to repeat");
        }
        return fail_at(start, "an anchor in the middle of a pattern is not supported");
      case '(':
        return group(depth);
      case '[':
        return character_class(start);
      case '.':
        return characters(complement(kLineEnds));
      case '\\': {
        ClassBuilder one;
        TRY(escape(one, false));
        return characters(std::move(one.set));
      }
      case kNotUtf8:
        return fail_at(start, "invalid UTF-8");
      default:
        break;
    }
    return characters({{c, c}});
  }

  // One class escape or character behind a backslash; returns the character when it is a single one.
  Result<std::optional<uint32_t>> escape(ClassBuilder& out, bool in_class) {
    size_t start = in_.position() - 1;
    if (in_.at_end()) return fail_at(start, "a backslash at the end");
    uint32_t c = in_.next();
    auto negated = [&](const CharSet& set) {
      out.add(options_.places ? complement(set) : intersection(complement(set), kAscii));
      out.ascii_only = true;
    };
    auto positive = [&](const CharSet& set) {
      out.add(set);
      out.ascii_only = true;
    };
    std::optional<uint32_t> none;
    switch (c) {
      case 'd':
        return positive(kDigits), none;
      case 'w':
        return positive(kWord), none;
      case 's':
        return positive(kSpace), none;
      case 'D':
        return negated(kDigits), none;
      case 'W':
        return negated(kWord), none;
      case 'S':
        return negated(kSpace), none;
      case 'p':
      case 'P':
        return fail_at(start, "\\p{...} is not supported");
      case 'B':
      case 'k':
      case 'A':
      case 'Z':
      case 'z':
        return fail_at(start, "this escape is not supported here");
      case 'b':
        if (!in_class) return fail_at(start, "word boundaries are not supported");
        break;
      default:
        break;
    }
    bool octal = c == '0' && in_.peek() >= '0' && in_.peek() <= '9';
    if (octal) return fail_at(start, "octal escapes are not supported");
    if (c >= '1' && c <= '9') return fail_at(start, "back-references are not supported");
    uint32_t character = TRY(single_escape(c, start));
    out.add({character, character});
    return std::optional(character);
  }

  Result<uint32_t> single_escape(uint32_t c, size_t start) {
    constexpr std::pair<char, uint32_t> kNamed[] = {{'n', '\n'}, {'r', '\r'}, {'t', '\t'}, {'f', '\f'},
                                                    {'v', '\v'}, {'0', 0},    {'b', '\b'}, {'a', 7}};
    for (auto [name, value] : kNamed) {
      if (c == static_cast<uint32_t>(name)) return value;
    }
    std::optional<uint32_t> value;
    if (c == 'x') {
      value = in_.hex(2);
    } else if (c == 'u' && in_.take('{')) {
      value = in_.hex_until('}');
    } else if (c == 'u') {
      value = in_.hex(4);
      if (value && *value >= 0xD800 && *value < 0xDC00 && in_.take("\\u")) {
        auto low = in_.hex(4);
        if (!low || *low < 0xDC00 || *low > 0xDFFF) return fail_at(start, "half of a surrogate pair");
        return 0x10000 + ((*value - 0xD800) << 10) + (*low - 0xDC00);
      }
    } else if (c == 'U') {
      value = in_.hex(8);
    } else {
      bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
      if (letter || c == kNotUtf8) return fail_at(start, "unknown escape");
      return c;
    }
    bool good = value && *value <= kLastCharacter && !(*value >= 0xD800 && *value <= 0xDFFF);
    if (!good) return fail_at(start, "no such character");
    return *value;
  }

  // One end of a range inside [...]: a character, or nothing when a class escape stood there.
  Result<std::optional<uint32_t>> class_member(ClassBuilder& out) {
    uint32_t c = in_.next();
    if (c == '\\') return escape(out, true);
    if (c == kNotUtf8) return fail("invalid UTF-8");
    out.add({c, c});
    return std::optional(c);
  }

  Result<ExprId> character_class(size_t start) {
    bool negative = in_.take('^');
    ClassBuilder members;
    if (negative && in_.peek() == ']') {  // anything in ECMA 262, the character ] in Python
      return fail("\"]\" at the start of a class: write \\]");
    }
    while (!in_.at_end() && in_.peek() != ']') {
      size_t at = in_.position();
      auto low = TRY(class_member(members));
      bool range = in_.peek() == '-' && in_.peek(1) != ']' && in_.peek(1) != 0;
      if (!range) continue;
      if (!low) return fail_at(at, "a range between classes");
      in_.next();
      auto high = TRY(class_member(members));
      if (!high) return fail_at(at, "a range between classes");
      if (*high < *low) return fail_at(at, "a range whose end lies before its start");
      members.add({*low, *high});
    }
    if (!in_.take(']')) return fail_at(start, "a class without ]");
    CharSet set = normalised(members.set);
    if (negative) set = complement(set);
    if (negative && members.ascii_only && !options_.places) set = intersection(set, kAscii);
    if (set.empty()) return fail_at(start, "an empty class");
    return characters(std::move(set));
  }

  Rules& rules_;
  CharReader in_;
  const RegexOptions& options_;
};

}  // namespace

ExprId json_characters(Rules& rules, const CharSet& set) {
  constexpr std::pair<uint32_t, const char*> kShort[] = {{'"', "\\\""}, {'\\', "\\\\"}, {'\n', "\\n"}, {'\t', "\\t"},
                                                         {'\r', "\\r"}, {'\b', "\\b"},  {'\f', "\\f"}};
  const CharSet plain = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, kLastCharacter}};
  std::vector<ExprId> parts;
  CharSet as_is = intersection(set, plain);
  if (!as_is.empty()) parts.push_back(rules.set(std::move(as_is)));
  for (auto [character, written] : kShort) {
    if (contains(set, character)) parts.push_back(rules.text(written));
  }
  // the other control characters only where nothing else would be left
  for (uint32_t c = 0; parts.empty() && c < 0x20; ++c) {
    if (contains(set, c)) parts.push_back(rules.text(fmt::format("\\u{:04x}", c)));
  }
  if (parts.empty()) return rules.set({});
  return rules.choice(std::move(parts));
}

Result<ExprId> add_regex(Rules& rules, std::string_view pattern, const RegexOptions& options) {
  if (static_cast<int64_t>(pattern.size()) > options.max_bytes) {
    return Error{ErrorCode::kInvalidRegex,
                 fmt::format("regex of {} bytes, limit {}", pattern.size(), options.max_bytes), ""};
  }
  if (options.places) {
    CHECK(rules.n_rules() == 0, "a regex with places among {} rules", rules.n_rules());
    rules.add_rule(rules.text(""));
    rules.add_rule(rules.text(""));
  }
  return Parser(rules, pattern, options).parse();
}

}  // namespace millrace::grammar
