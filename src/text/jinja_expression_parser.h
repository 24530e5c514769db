// The tokens of a template and the expression half of its grammar (jinja2 3.1, parser.py); statements: jinja_parser.cc.
// Errors are kept in error_ and every function returns null or false after one: small frames, no Result on the stack.
// Thread: one parse.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/jinja_ast.h"
#include "text/jinja_lexer.h"

namespace millrace::text::jinja {

struct BinaryRow;

class ExpressionParser {
 protected:
  ExpressionParser(std::vector<Token> tokens, int64_t max_depth)
      : tokens_(std::move(tokens)), max_depth_(max_depth), program_(std::make_unique<Program>()) {}

  const Token& peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  const Token& next() {
    const Token& token = peek();
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }
  bool at_operator(std::string_view text) const { return peek().kind == TokenKind::kOperator && peek().text == text; }
  bool at_name(std::string_view text) const { return peek().kind == TokenKind::kName && peek().text == text; }
  bool skip_operator(std::string_view text) { return at_operator(text) && (next(), true); }
  bool skip_name(std::string_view text) { return at_name(text) && (next(), true); }
  std::nullptr_t fail(std::string_view what);
  bool expect_operator(std::string_view text);
  bool end_block();
  std::optional<NameId> name();
  bool enter();
  Expr* make(ExprKind kind);
  Stmt* make(StmtKind kind);

  const Expr* expression(bool with_condition = true);
  const BinaryRow* binary_here(int level) const;
  const Expr* binary(int level);
  const Expr* extend(const Expr* left, int level);
  const Expr* concat(const Expr* left);
  const Expr* comparison(const Expr* left);
  const Expr* unary(bool with_filters);
  Expr* constant(Value value);
  const Expr* primary();
  const Expr* name_or_constant();
  const Expr* tuple(bool with_condition, bool parenthesised);
  bool at_tuple_end() const;
  const Expr* list();
  const Expr* dict();
  const Expr* call_of(const Expr* callee);
  const Expr* postfix(const Expr* out);
  const Expr* attribute(const Expr* of);
  const Expr* subscript(const Expr* of);
  const Expr* slice_or_expression();
  void arguments(Expr& call);
  std::string dotted_name();
  const Expr* filters(const Expr* out);
  const Expr* filter(const Expr* input);
  const Expr* test(const Expr* input);
  bool at_test_argument() const;
  bool is_content(const Expr* expr) const;
  void note_test(const Expr& test, std::string_view called);

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int64_t max_depth_;
  int64_t depth_ = 0;
  int conditional_ = 0;  // inside an if: unknown filters and tests are errors only when reached
  int loops_ = 0;
  bool varargs_seen_ = false;
  bool kwargs_seen_ = false;
  std::string ended_by_;
  std::unique_ptr<Program> program_;
  bool failed_ = false;
  Error error_;
};

}  // namespace millrace::text::jinja
