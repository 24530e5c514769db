#include "text/jinja_parser.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/macros.h"
#include "text/jinja_expression_parser.h"

namespace millrace::text::jinja {
namespace {

class Parser : private ExpressionParser {
 public:
  Parser(std::vector<Token> tokens, int64_t max_depth) : ExpressionParser(std::move(tokens), max_depth) {}

  Result<std::unique_ptr<Program>> run() {
    program_->body = statements({});
    if (!failed_ && peek().kind != TokenKind::kEnd) fail("unexpected end of a block");
    if (failed_) return std::move(error_);
    return std::move(program_);
  }

 private:
  using Body = std::vector<const Stmt*>;

  bool at_end_word(std::initializer_list<std::string_view> words) const {
    return peek().kind == TokenKind::kBlockBegin && peek(1).kind == TokenKind::kName &&
           std::find(words.begin(), words.end(), peek(1).text) != words.end();
  }

  // Up to a {% word %} of the list, whose two first tokens are consumed; to the end when the list is empty.
  Body statements(std::initializer_list<std::string_view> ends) {
    Body out;
    if (failed_ || !enter()) return out;
    while (!failed_ && peek().kind != TokenKind::kEnd && !at_end_word(ends)) {
      if (const Stmt* stmt = statement()) out.push_back(stmt);
    }
    --depth_;
    if (failed_ || ends.size() == 0) return out;
    if (peek().kind == TokenKind::kEnd) {
      fail(fmt::format("end of the template, expected {}", *(ends.end() - 1)));
      return out;
    }
    next();
    ended_by_ = next().text;
    return out;
  }
  // A body that one word ends.
  Body block(std::string_view end) {
    if (!end_block()) return {};
    Body out = statements({end});
    end_block();
    return out;
  }

  const Stmt* statement() {
    if (peek().kind == TokenKind::kText) {
      Stmt* text = make(StmtKind::kText);
      text->value = literal(next().text);
      return text;
    }
    if (peek().kind == TokenKind::kPrintBegin) {
      next();
      Stmt* print = make(StmtKind::kOutput);
      print->a = tuple(true, false);
      if (!failed_ && peek().kind != TokenKind::kPrintEnd)
        fail(fmt::format("expected \"}}}}\", got \"{}\"", quote_for_message(peek().text)));
      next();
      return print;
    }
    next();
    if (peek().kind != TokenKind::kName) return fail("expected the name of a tag");
    return tag(next().text);
  }

  const Stmt* tag(const std::string& word) {
    if (word == "if") return if_tag();
    if (word == "for") return for_tag();
    if (word == "set") return set_tag();
    if (word == "macro") return macro_tag();
    if (word == "call") return call_tag();
    if (word == "with") return with_tag();
    if (word == "break" || word == "continue") {
      if (loops_ == 0) return fail(fmt::format("{} outside a loop", word));
      Stmt* out = make(word == "break" ? StmtKind::kBreak : StmtKind::kContinue);
      return end_block() ? out : nullptr;
    }
    if (word == "generation") {
      Stmt* out = make(StmtKind::kScope);
      out->body = block("endgeneration");
      return out;
    }
    if (word == "filter") {
      Stmt* out = make(StmtKind::kFilter);
      out->b = block_filters(false);
      out->body = block("endfilter");
      return out;
    }
    return fail(fmt::format("unknown tag \"{}\"", quote_for_message(word)));
  }

  const Stmt* if_tag() {
    Stmt* out = make(StmtKind::kIf);
    out->a = tuple(false, false);
    if (!end_block()) return nullptr;
    ++conditional_;
    out->body = statements({"elif", "else", "endif"});
    // an elif chain is a list in a loop here, not a recursion
    Stmt* last = out;
    while (!failed_ && ended_by_ == "elif") {
      Stmt* branch = make(StmtKind::kIf);
      branch->a = tuple(false, false);
      if (!end_block()) return nullptr;
      branch->body = statements({"elif", "else", "endif"});
      last->otherwise = {branch};
      last = branch;
    }
    if (!failed_ && ended_by_ == "else") {
      if (!end_block()) return nullptr;
      last->otherwise = statements({"endif"});
    }
    --conditional_;
    return end_block() ? out : nullptr;
  }

  // Names, tuples of names and namespace.attribute on the left of = and in for loops.
  const Expr* target() {
    std::vector<const Expr*> parts;
    Expr* several = make(ExprKind::kTuple);
    bool parenthesised = skip_operator("(");
    bool comma = false;
    while (!failed_) {
      Expr* one = make(ExprKind::kName);
      auto id = name();
      if (!id) return nullptr;
      one->name = *id;
      if (at_operator(".")) {
        next();
        Expr* attribute = make(ExprKind::kAttribute);
        auto key = name();
        if (!key) return nullptr;
        attribute->name = *key;
        attribute->items = {one};
        one = attribute;
      }
      several->items.push_back(one);
      if (!skip_operator(",")) break;
      comma = true;
    }
    if (parenthesised && !expect_operator(")")) return nullptr;
    return !comma && several->items.size() == 1 ? several->items[0] : several;
  }

  const Stmt* for_tag() {
    Stmt* out = make(StmtKind::kFor);
    out->a = target();
    if (failed_) return nullptr;
    if (!skip_name("in")) return fail("expected \"in\"");
    out->b = tuple(false, false);
    if (is_content(out->b)) program_->iterates_content = true;
    if (!failed_ && skip_name("if")) out->c = expression();
    if (at_name("recursive")) return fail("recursive loops are not supported");
    if (!end_block()) return nullptr;
    ++loops_;
    out->body = statements({"else", "endfor"});
    --loops_;
    if (!failed_ && ended_by_ == "else") {
      if (!end_block()) return nullptr;
      out->otherwise = statements({"endfor"});
    }
    return end_block() ? out : nullptr;
  }

  // The filters after a block: {% filter a | b %} begins with a name, {% set x | a %} with a bar.
  const Expr* block_filters(bool bar_first) {
    Expr* input = make(ExprKind::kName);
    input->name = kBlockText;
    if (bar_first && !at_operator("|")) return nullptr;
    const Expr* out = input;
    if (!bar_first) {
      --at_;  // filter() skips one token: the bar, or the word before the first name
      out = filter(input);
    }
    while (!failed_ && at_operator("|")) out = filter(out);
    return out;
  }

  const Stmt* set_tag() {
    Stmt* out = make(StmtKind::kSet);
    out->a = target();
    if (failed_) return nullptr;
    if (skip_operator("=")) {
      out->b = tuple(true, false);
      return end_block() ? out : nullptr;
    }
    out->kind = StmtKind::kSetBlock;
    out->b = block_filters(true);
    out->body = block("endset");
    return out;
  }

  void params(Stmt& out) {
    if (!expect_operator("(")) return;
    while (!failed_ && !at_operator(")")) {
      auto id = name();
      if (!id) return;
      out.params.push_back({*id, skip_operator("=") ? expression() : nullptr});
      if (!skip_operator(",")) break;
    }
    if (!failed_) expect_operator(")");
  }

  void macro_body(Stmt& out, std::string_view end) {
    bool varargs = std::exchange(varargs_seen_, false);
    bool kwargs = std::exchange(kwargs_seen_, false);
    int loops = std::exchange(loops_, 0);
    out.body = block(end);
    loops_ = loops;
    out.uses_varargs = std::exchange(varargs_seen_, varargs);
    out.uses_kwargs = std::exchange(kwargs_seen_, kwargs);
  }

  const Stmt* macro_tag() {
    Stmt* out = make(StmtKind::kMacro);
    auto id = name();
    if (!id) return nullptr;
    out->name = *id;
    params(*out);
    macro_body(*out, "endmacro");
    return out;
  }

  const Stmt* call_tag() {
    Stmt* out = make(StmtKind::kCall);
    out->name = program_->intern("caller");
    if (at_operator("(")) params(*out);
    out->a = expression();
    if (failed_) return nullptr;
    if (out->a->kind != ExprKind::kCall) return fail("call needs a call");
    macro_body(*out, "endcall");
    return out;
  }

  const Stmt* with_tag() {
    Stmt* out = make(StmtKind::kScope);
    while (!failed_ && peek().kind == TokenKind::kName) {
      auto id = name();
      if (!expect_operator("=")) return nullptr;
      out->params.push_back({*id, expression()});
      if (!skip_operator(",")) break;
    }
    out->body = block("endwith");
    return out;
  }
};

}  // namespace

Result<std::unique_ptr<Program>> parse_template(std::string_view source, int64_t max_depth) {
  return Parser(TRY(lex(source)), max_depth).run();
}

}  // namespace millrace::text::jinja
