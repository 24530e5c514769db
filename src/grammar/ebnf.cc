#include "grammar/ebnf.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/macros.h"
#include "grammar/characters.h"

namespace millrace::grammar {
namespace {

bool name_byte(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}
// A dot alone is any character, so no name begins with one.
bool name_start(unsigned char c) { return name_byte(c) && c != '.' && c != '-'; }

void append_utf8(std::string& out, uint32_t c) {
  auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

struct Named {
  RuleId id = 0;
  bool defined = false;
  size_t first_use = 0;  // byte offset
};

class Parser {
 public:
  Parser(std::string_view text, const EbnfLimits& limits) : text_(text), in_(text), limits_(limits) {}

  Result<Rules> parse() {
    skip_space();
    while (!in_.at_end()) TRY(rule());
    auto root = names_.find("root");
    if (root == names_.end() || !root->second.defined) return fail_at(0, "there is no rule \"root\"");
    const std::pair<const std::string, Named>* missing = nullptr;
    for (const auto& entry : names_) {  // the first in the text, whatever the order of the table
      if (!entry.second.defined && (missing == nullptr || entry.second.first_use < missing->second.first_use)) {
        missing = &entry;
      }
    }
    if (missing != nullptr) {
      return fail_at(missing->second.first_use,
                     fmt::format("rule \"{}\" is not defined", quote_for_message(missing->first)));
    }
    rules_.root = root->second.id;
    return std::move(rules_);
  }

 private:
  Error fail_at(size_t position, std::string_view what) const {
    auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(position), '\n');
    return {ErrorCode::kInvalidGrammar, fmt::format("grammar line {}: {}", line, what), ""};
  }
  Error fail(std::string_view what) const { return fail_at(std::min(in_.position(), text_.size()), what); }

  void skip_space() {
    while (!in_.at_end()) {
      unsigned char c = in_.peek();
      if (c == '#') {
        while (!in_.at_end() && in_.peek() != '\n') in_.next();
      } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        in_.next();
      } else {
        return;
      }
    }
  }

  std::string_view name() {
    size_t start = in_.position();
    while (name_byte(in_.peek())) in_.next();
    return text_.substr(start, in_.position() - start);
  }

  // A name and ::= come next: the rule before ends here.
  bool at_rule() const {
    CharReader ahead = in_;
    if (!name_start(ahead.peek())) return false;
    while (name_byte(ahead.peek())) ahead.next();
    while (ahead.peek() == ' ' || ahead.peek() == '\t') ahead.next();
    return ahead.take("::=");
  }

  Named& named(std::string_view name, size_t at) {
    auto [entry, is_new] = names_.try_emplace(std::string(name));
    if (is_new) entry->second = {.id = rules_.add_rule(), .first_use = at};
    return entry->second;
  }

  Result<void> rule() {
    size_t start = in_.position();
    if (!at_rule()) return fail("a rule begins with its name and ::=");
    std::string_view called = name();
    Named& row = named(called, start);
    if (row.defined) return fail_at(start, fmt::format("rule \"{}\" is defined twice", quote_for_message(called)));
    row.defined = true;
    RuleId id = row.id;
    if (static_cast<int64_t>(rules_.n_rules()) > limits_.rules) {
      return fail_at(start, fmt::format("more than {} rules", limits_.rules));
    }
    skip_space();
    in_.take("::=");
    ExprId body = TRY(alternatives(0));
    rules_.set_body(id, body);
    return {};
  }

  Result<ExprId> alternatives(int64_t depth) {
    if (depth > limits_.nesting)
      return Error{ErrorCode::kInvalidGrammar, fmt::format("grammar nesting deeper than {}", limits_.nesting), ""};
    std::vector<ExprId> parts;
    do {
      parts.push_back(TRY(sequence(depth)));
    } while (in_.take('|'));
    return rules_.choice(std::move(parts));
  }

  Result<ExprId> sequence(int64_t depth) {
    std::vector<ExprId> parts;
    for (skip_space(); !in_.at_end(); skip_space()) {
      unsigned char c = in_.peek();
      if (c == '|' || c == ')' || at_rule()) break;
      ExprId part = TRY(element(depth));
      part = TRY(repeated(part));
      parts.push_back(part);
    }
    if (depth == 0 && in_.peek() == ')') return fail("unmatched )");
    if (parts.empty()) return rules_.text("");
    return rules_.sequence(std::move(parts));
  }

  Result<ExprId> element(int64_t depth) {
    size_t start = in_.position();
    unsigned char c = in_.peek();
    if (c == '"' || c == '\'') return literal();
    if (c == '[') return character_class();
    if (in_.take('.')) return rules_.set({{0, 0xD7FF}, {0xE000, kLastCharacter}});
    if (in_.take('(')) {
      if (in_.peek() == '=') return fail_at(start, "look-ahead is not supported");
      ExprId inside = TRY(alternatives(depth + 1));
      if (!in_.take(')')) return fail_at(start, "a ( without )");
      return inside;
    }
    if (name_start(c)) {
      std::string_view called = name();
      if (in_.peek() == '(') return fail_at(start, fmt::format("macro {} is not supported", quote_for_message(called)));
      return rules_.rule(named(called, start).id);
    }
    if (c == '<' || c == '!') return fail_at(start, "token literals are not supported");
    if (c == '*' || c == '+' || c == '?' || c == '{') return fail_at(start, "nothing to repeat");
    return fail_at(start, fmt::format("unexpected \"{}\"", quote_for_message(text_.substr(start, 1))));
  }

  Result<ExprId> repeated(ExprId part) {
    skip_space();
    if (in_.take('*')) return rules_.repeat(part, 0, kUnbounded);
    if (in_.take('+')) return rules_.repeat(part, 1, kUnbounded);
    if (in_.take('?')) return rules_.repeat(part, 0, 1);
    if (!in_.take('{')) return part;
    size_t start = in_.position();
    skip_space();
    auto low = in_.number();
    if (!low) return fail_at(start, "a repetition begins with a number below 2^30");
    uint32_t high = *low;
    skip_space();
    if (in_.take(',')) {
      skip_space();
      high = kUnbounded;
      if (in_.peek() != '}') {
        auto most = in_.number();
        if (!most) return fail_at(start, "a repetition ends with a number below 2^30 or }");
        high = *most;
      }
    }
    skip_space();
    if (!in_.take('}')) return fail_at(start, "a repetition without }");
    if (high < *low) return fail_at(start, "the minimum of a repetition is above its maximum");
    return rules_.repeat(part, *low, high);
  }

  // A character of a literal or class, with its escape.
  Result<uint32_t> character() {
    size_t start = in_.position();
    uint32_t c = in_.next();
    if (c == kNotUtf8) return fail_at(start, "invalid UTF-8");
    if (c != '\\') return c;
    if (in_.at_end()) return fail_at(start, "a backslash at the end");
    uint32_t e = in_.next();
    std::optional<uint32_t> value;
    switch (e) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'x':
        value = in_.hex(2);
        break;
      case 'u':
        value = in_.hex(4);
        break;
      case 'U':
        value = in_.hex(8);
        break;
      default: {
        bool letter = (e >= 'a' && e <= 'z') || (e >= 'A' && e <= 'Z') || (e >= '0' && e <= '9');
        if (letter || e == kNotUtf8) return fail_at(start, "unknown escape");
        return e;
      }
    }
    bool good = value && *value <= kLastCharacter && !(*value >= 0xD800 && *value <= 0xDFFF);
    if (!good) return fail_at(start, "no such character");
    return *value;
  }

  Result<ExprId> literal() {
    size_t start = in_.position();
    uint32_t quote = in_.next();
    std::string text;
    while (!in_.at_end() && in_.peek() != quote && in_.peek() != '\n') append_utf8(text, TRY(character()));
    if (in_.at_end() || in_.next() != quote) return fail_at(start, "a text without its closing quote");
    return rules_.text(text);
  }

  Result<ExprId> character_class() {
    size_t start = in_.position();
    in_.take('[');
    bool negative = in_.take('^');
    CharSet set;
    while (!in_.at_end() && in_.peek() != ']' && in_.peek() != '\n') {
      size_t at = in_.position();
      CharSet named_set = class_escape();
      if (!named_set.empty()) {
        set.insert(set.end(), named_set.begin(), named_set.end());
        continue;
      }
      uint32_t low = TRY(character());
      uint32_t high = low;
      if (in_.peek() == '-' && in_.peek(1) != ']') {
        in_.next();
        high = TRY(character());
      }
      if (high < low) return fail_at(at, "a range whose end lies before its start");
      set.push_back({low, high});
    }
    if (!in_.take(']')) return fail_at(start, "a class without ]");
    set = normalised(set);
    if (negative) set = complement(set);
    return rules_.set(std::move(set));
  }

  CharSet class_escape() {
    CharSet digits = {{'0', '9'}};
    CharSet word = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    CharSet space = {{'\t', '\r'}, {' ', ' '}};
    if (in_.take("\\d")) return digits;
    if (in_.take("\\w")) return word;
    if (in_.take("\\s")) return space;
    if (in_.take("\\D")) return complement(digits);
    if (in_.take("\\W")) return complement(word);
    if (in_.take("\\S")) return complement(space);
    return {};
  }

  std::string_view text_;
  CharReader in_;
  const EbnfLimits& limits_;
  Rules rules_;
  std::unordered_map<std::string, Named> names_;
};

}  // namespace

Result<Rules> read_ebnf(std::string_view text, const EbnfLimits& limits) {
  if (static_cast<int64_t>(text.size()) > limits.bytes) {
    return Error{ErrorCode::kInvalidGrammar, fmt::format("grammar of {} bytes, limit {}", text.size(), limits.bytes),
                 ""};
  }
  return Parser(text, limits).parse();
}

}  // namespace millrace::grammar
