#include "text/jinja_lexer.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>

#include "text/jinja_value.h"

namespace millrace::text::jinja {
namespace {

bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<uint8_t>(c) >= 0x80;
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_part(char c) { return is_name_start(c) || is_digit(c); }

// Line ends become \n, and one at the very end goes.
std::string normalise(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

size_t skip_spaces(std::string_view text, size_t at) {
  while (at < text.size() && is_space(code_point(text, at))) at += char_bytes(text, at);
  return at;
}

size_t end_without_spaces(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    size_t at = end - 1;
    while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
    if (!is_space(code_point(text, at))) break;
    end = at;
  }
  return end;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  Result<std::vector<Token>> run() {
    while (!failed_ && at_ < source_.size()) next_piece();
    if (failed_) return std::move(error_);
    add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  std::string_view rest() const { return std::string_view(source_).substr(at_); }
  bool starts(std::string_view prefix) const { return rest().substr(0, prefix.size()) == prefix; }
  void fail(std::string_view what) {
    if (!failed_) error_ = template_error(line_, what);
    failed_ = true;
  }
  void add(TokenKind kind, std::string text) {
    Token token;
    token.kind = kind;
    token.line = line_;
    token.text = std::move(text);
    tokens_.push_back(std::move(token));
  }
  void advance(size_t n) {
    for (size_t i = 0; i < n; ++i) line_ += source_[at_ + i] == '\n' ? 1u : 0u;
    at_ += n;
  }

  // Text up to the next tag, then the tag.
  void next_piece() {
    size_t open = at_;
    while (true) {
      open = source_.find('{', open);
      if (open == std::string::npos || open + 1 >= source_.size()) {
        add(TokenKind::kText, std::string(rest()));
        at_ = source_.size();
        return;
      }
      char kind = source_[open + 1];
      if (kind == '{' || kind == '%' || kind == '#') break;
      ++open;
    }
    std::string_view text = std::string_view(source_).substr(at_, open - at_);
    char kind = source_[open + 1];
    char sign = open + 2 < source_.size() ? source_[open + 2] : ' ';
    size_t keep = text.size();
    if (sign == '-') {
      keep = end_without_spaces(text);
    } else if (sign != '+' && kind != '{') {
      size_t newline = text.rfind('\n');
      size_t line_start = newline == std::string_view::npos ? 0 : newline + 1;
      if ((line_start > 0 || line_starting_) && skip_spaces(text, line_start) == text.size()) keep = line_start;
    }
    if (keep > 0) add(TokenKind::kText, std::string(text.substr(0, keep)));
    advance(open - at_ + 2);
    if (sign == '-' || sign == '+') advance(1);
    if (kind == '#') return comment();
    if (kind == '%' && raw()) return;
    add(kind == '{' ? TokenKind::kPrintBegin : TokenKind::kBlockBegin, "");
    tag(kind == '{' ? "}}" : "%}", kind == '{');
  }

  // After the closing delimiter: applies its sign and trim_blocks.
  void after_close(char sign, bool print) {
    size_t begin = at_;
    if (sign == '-') {
      advance(skip_spaces(source_, at_) - at_);
    } else if (!print && sign != '+' && starts("\n")) {
      advance(1);
    }
    line_starting_ = at_ > begin ? source_[at_ - 1] == '\n' : false;
  }

  void comment() {
    size_t end = source_.find("#}", at_);
    if (end == std::string::npos) return fail("comment is not closed");
    char sign = end > at_ ? source_[end - 1] : ' ';
    advance(end + 2 - at_);
    after_close(sign, false);
  }

  // {% raw %} ... {% endraw %}; false when the tag is another one.
  bool raw() {
    size_t at = skip_spaces(source_, at_);
    if (source_.compare(at, 3, "raw") != 0) return false;
    at = skip_spaces(source_, at + 3);
    char sign = at < source_.size() ? source_[at] : ' ';
    if (sign == '-' || sign == '+') ++at;
    if (source_.compare(at, 2, "%}") != 0) return false;
    advance(at + 2 - at_);
    after_close(sign, false);
    size_t open = at_;
    while ((open = source_.find("{%", open)) != std::string::npos) {
      size_t name = open + 2;
      char open_sign = name < source_.size() ? source_[name] : ' ';
      if (open_sign == '-' || open_sign == '+') ++name;
      name = skip_spaces(source_, name);
      if (source_.compare(name, 6, "endraw") == 0) return end_raw(open, open_sign, skip_spaces(source_, name + 6));
      open += 2;
    }
    fail("raw block is not closed");
    return true;
  }

  bool end_raw(size_t open, char open_sign, size_t close) {
    std::string_view text = std::string_view(source_).substr(at_, open - at_);
    size_t keep = text.size();
    if (open_sign == '-') {
      keep = end_without_spaces(text);
    } else if (open_sign != '+') {
      size_t newline = text.rfind('\n');
      size_t line_start = newline == std::string_view::npos ? 0 : newline + 1;
      if ((line_start > 0 || line_starting_) && skip_spaces(text, line_start) == text.size()) keep = line_start;
    }
    if (keep > 0) add(TokenKind::kText, std::string(text.substr(0, keep)));
    char sign = close < source_.size() ? source_[close] : ' ';
    if (sign == '-' || sign == '+') ++close;
    if (source_.compare(close, 2, "%}") != 0) {
      fail("raw block is not closed");
      return true;
    }
    advance(close + 2 - at_);
    after_close(sign, false);
    return true;
  }

  void tag(std::string_view close, bool print) {
    std::string brackets;
    while (!failed_) {
      advance(skip_spaces(source_, at_) - at_);
      if (at_ >= source_.size()) return fail("tag is not closed");
      bool signed_close = (source_[at_] == '-' || (source_[at_] == '+' && !print)) && rest().substr(1, 2) == close;
      if (brackets.empty() && (signed_close || starts(close))) {
        add(print ? TokenKind::kPrintEnd : TokenKind::kBlockEnd, "");
        char sign = signed_close ? source_[at_] : ' ';
        advance(signed_close ? 3 : 2);
        return after_close(sign, print);
      }
      token(brackets);
    }
  }

  void token(std::string& brackets) {
    char c = source_[at_];
    if (is_name_start(c)) {
      size_t end = at_;
      while (end < source_.size() && is_name_part(source_[end])) ++end;
      add(TokenKind::kName, source_.substr(at_, end - at_));
      return advance(end - at_);
    }
    if (is_digit(c)) return number();
    if (c == '"' || c == '\'') return string(c);
    for (std::string_view op : {"**", "//", "==", "!=", "<=", ">="}) {
      if (starts(op)) {
        add(TokenKind::kOperator, std::string(op));
        return advance(2);
      }
    }
    if (std::string_view("+-/*%~[](){}<>=.:|,;").find(c) == std::string_view::npos) {
      return fail(fmt::format("unexpected character \"{}\"", quote_for_message(rest().substr(0, 1))));
    }
    if (c == '(' || c == '[' || c == '{') brackets += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (brackets.empty() || brackets.back() != c) return fail(fmt::format("unexpected \"{}\"", c));
      brackets.pop_back();
    }
    add(TokenKind::kOperator, std::string(1, c));
    advance(1);
  }

  void number() {
    size_t end = at_;
    int base = 10;
    if (source_[at_] == '0' && at_ + 1 < source_.size()) {
      char letter = static_cast<char>(source_[at_ + 1] | 0x20);
      base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
    }
    std::string digits;
    bool real = false;
    if (base != 10) end += 2;
    auto digit_here = [&] {
      if (end >= source_.size()) return false;
      char c = source_[end];
      return is_digit(c) || c == '_' || (base == 16 && ((c | 0x20) >= 'a' && (c | 0x20) <= 'f'));
    };
    auto take = [&] {
      for (; digit_here(); ++end) {
        if (source_[end] != '_') digits += source_[end];
      }
    };
    take();
    auto digit_at = [&](size_t i) { return i < source_.size() && is_digit(source_[i]); };
    if (base == 10 && end < source_.size() && source_[end] == '.' && digit_at(end + 1)) {
      real = true;
      digits += source_[end++];
      take();
    }
    if (base == 10 && end < source_.size() && (source_[end] | 0x20) == 'e') {
      size_t sign = end + 1 < source_.size() && (source_[end + 1] == '+' || source_[end + 1] == '-') ? 1 : 0;
      if (digit_at(end + 1 + sign)) {
        real = true;
        digits += source_.substr(end, 1 + sign);
        end += 1 + sign;
        take();
      }
    }
    Token token;
    token.kind = real ? TokenKind::kFloat : TokenKind::kInt;
    token.line = line_;
    const char* last = digits.data() + digits.size();
    auto result = real ? std::from_chars(digits.data(), last, token.real)
                       : std::from_chars(digits.data(), last, token.integer, base);
    if (result.ec != std::errc() || result.ptr != last) return fail("number is out of range");
    tokens_.push_back(std::move(token));
    advance(end - at_);
  }

  std::optional<uint32_t> hex(size_t at, size_t n) const {
    if (at + n > source_.size()) return std::nullopt;
    uint32_t code = 0;
    auto [end, error] = std::from_chars(source_.data() + at, source_.data() + at + n, code, 16);
    if (error != std::errc() || end != source_.data() + at + n || code > 0x10FFFF) return std::nullopt;
    return code;
  }

  // One escape sequence after the backslash at `at`; returns where it ends.
  size_t escape(size_t at, std::string& out) {
    char c = source_[at + 1];
    constexpr std::string_view kFrom = "ntrabfv\\'\"";
    constexpr std::string_view kTo = "\n\t\r\a\b\f\v\\'\"";
    size_t simple = kFrom.find(c);
    if (simple != std::string_view::npos) {
      out += kTo[simple];
      return at + 2;
    }
    if (c == '\n') return at + 2;
    size_t n = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (n > 0) {
      auto code = hex(at + 2, n);
      if (!code) {
        fail("bad escape in a string");
        return at + 2;
      }
      append_code_point(out, *code);
      return at + 2 + n;
    }
    if (c >= '0' && c <= '7') {
      uint32_t code = 0;
      size_t end = at + 1;
      for (; end < at + 4 && end < source_.size() && source_[end] >= '0' && source_[end] <= '7'; ++end) {
        code = code * 8 + static_cast<uint32_t>(source_[end] - '0');
      }
      append_code_point(out, code);
      return end;
    }
    out += '\\';
    return at + 1;
  }

  void string(char quote) {
    std::string out;
    size_t at = at_ + 1;
    while (!failed_) {
      if (at >= source_.size()) return fail("string is not closed");
      if (source_[at] == quote) break;
      if (source_[at] == '\\' && at + 1 < source_.size()) {
        at = escape(at, out);
      } else {
        out += source_[at++];
      }
    }
    add(TokenKind::kString, std::move(out));
    advance(at + 1 - at_);
  }

  std::string source_;
  size_t at_ = 0;
  uint32_t line_ = 1;
  bool line_starting_ = true;  // nothing stands before at_ on its line
  std::vector<Token> tokens_;
  bool failed_ = false;
  Error error_;
};

}  // namespace

Error template_error(uint32_t line, std::string_view what) {
  return Error{ErrorCode::kInvalidTemplate, fmt::format("template line {}: {}", line, what), "chat_template"};
}

Result<std::vector<Token>> lex(std::string_view source) { return Lexer(normalise(source)).run(); }

}  // namespace millrace::text::jinja
