#include "text/jinja_expression_parser.h"

#include <fmt/core.h>

#include <array>
#include <tuple>
#include <utility>

#include "text/jinja_filters.h"

namespace millrace::text::jinja {

struct BinaryRow {
  std::string_view text;
  int level;
  Op op;
};

namespace {

// Binding strength of binary operators, weakest first (jinja2 parser.py: or .. pow).
constexpr int kOr = 1;
constexpr int kAnd = 2;
constexpr int kNot = 3;
constexpr int kCompare = 4;
constexpr int kSum = 5;
constexpr int kConcat = 6;
constexpr int kProduct = 7;
constexpr int kPower = 8;

constexpr std::array kBinary = {
    BinaryRow{"==", kCompare, Op::kEq},
    BinaryRow{"!=", kCompare, Op::kNe},
    BinaryRow{"<", kCompare, Op::kLt},
    BinaryRow{"<=", kCompare, Op::kLe},
    BinaryRow{">", kCompare, Op::kGt},
    BinaryRow{">=", kCompare, Op::kGe},
    BinaryRow{"+", kSum, Op::kAdd},
    BinaryRow{"-", kSum, Op::kSubtract},
    BinaryRow{"*", kProduct, Op::kMultiply},
    BinaryRow{"/", kProduct, Op::kDivide},
    BinaryRow{"//", kProduct, Op::kFloorDivide},
    BinaryRow{"%", kProduct, Op::kModulo},
    BinaryRow{"**", kPower, Op::kPower},
};

}  // namespace

std::nullptr_t ExpressionParser::fail(std::string_view what) {
  if (!failed_) error_ = template_error(peek().line, what);
  failed_ = true;
  return nullptr;
}

bool ExpressionParser::expect_operator(std::string_view text) {
  if (!skip_operator(text)) fail(fmt::format("expected \"{}\"", text));
  return !failed_;
}

bool ExpressionParser::end_block() {
  if (failed_) return false;
  if (peek().kind != TokenKind::kBlockEnd)
    fail(fmt::format("expected the end of the tag, got \"{}\"", quote_for_message(peek().text)));
  next();
  return !failed_;
}

std::optional<NameId> ExpressionParser::name() {
  if (peek().kind != TokenKind::kName) {
    fail("expected a name");
    return std::nullopt;
  }
  return program_->intern(next().text);
}

bool ExpressionParser::enter() {
  if (++depth_ <= max_depth_) return true;
  if (!failed_) {
    error_ = Error{ErrorCode::kInvalidTemplate,
                   fmt::format("template nesting deeper than {} at line {}", max_depth_, peek().line), "chat_template"};
  }
  failed_ = true;
  return false;
}

Expr* ExpressionParser::make(ExprKind kind) {
  Expr& expr = program_->exprs.emplace_back();
  expr.kind = kind;
  expr.line = peek().line;
  return &expr;
}

Stmt* ExpressionParser::make(StmtKind kind) {
  Stmt& stmt = program_->stmts.emplace_back();
  stmt.kind = kind;
  stmt.line = peek().line;
  return &stmt;
}

const Expr* ExpressionParser::expression(bool with_condition) {
  if (failed_ || !enter()) return nullptr;
  const Expr* out = binary(kOr);
  while (with_condition && !failed_ && skip_name("if")) {
    Expr* choice = make(ExprKind::kConditional);
    ++conditional_;
    const Expr* condition = binary(kOr);
    const Expr* otherwise = !failed_ && skip_name("else") ? expression() : nullptr;
    --conditional_;
    choice->items = {condition, out, otherwise};
    out = choice;
  }
  --depth_;
  return failed_ ? nullptr : out;
}

// The operator at the cursor when it binds at least as strongly as `level`.
const BinaryRow* ExpressionParser::binary_here(int level) const {
  if (peek().kind != TokenKind::kOperator) return nullptr;
  for (const BinaryRow& row : kBinary) {
    if (row.text == peek().text) return row.level >= level ? &row : nullptr;
  }
  return nullptr;
}

const Expr* ExpressionParser::binary(int level) {
  if (failed_ || !enter()) return nullptr;
  const Expr* left = nullptr;
  if (level <= kNot && at_name("not")) {
    Expr* negation = make(ExprKind::kNot);
    next();
    negation->items = {binary(kNot)};
    left = negation;
  } else {
    left = unary(true);
  }
  while (!failed_) {
    const Expr* more = extend(left, level);
    if (more == nullptr) break;
    left = more;
  }
  --depth_;
  return failed_ ? nullptr : left;
}

// left plus one operator of at least this level and its right side; null when there is none.
const Expr* ExpressionParser::extend(const Expr* left, int level) {
  for (auto [word, word_level, kind] :
       {std::tuple("or", kOr, ExprKind::kOr), std::tuple("and", kAnd, ExprKind::kAnd)}) {
    if (at_name(word) && level <= word_level) {
      Expr* out = make(kind);
      next();
      out->items = {left, binary(word_level + 1)};
      return out;
    }
  }
  if (level <= kConcat && at_operator("~")) return concat(left);
  const BinaryRow* row = binary_here(level);
  bool in = at_name("in") || (at_name("not") && peek(1).kind == TokenKind::kName && peek(1).text == "in");
  if ((row != nullptr && row->level == kCompare) || (row == nullptr && in && level <= kCompare))
    return comparison(left);
  if (row == nullptr) return nullptr;
  Expr* out = make(ExprKind::kArithmetic);
  out->op = row->op;
  next();
  out->items = {left, binary(row->level + 1)};
  return out;
}

const Expr* ExpressionParser::concat(const Expr* left) {
  Expr* out = make(ExprKind::kConcat);
  out->items.push_back(left);
  while (!failed_ && skip_operator("~")) out->items.push_back(binary(kConcat + 1));
  return out;
}

const Expr* ExpressionParser::comparison(const Expr* left) {
  Expr* out = make(ExprKind::kCompare);
  out->items.push_back(left);
  while (!failed_) {
    const BinaryRow* row = binary_here(kCompare);
    Op op = Op::kIn;
    if (row != nullptr && row->level == kCompare) {
      op = row->op;
      next();
    } else if (at_name("in")) {
      next();
    } else if (at_name("not") && peek(1).kind == TokenKind::kName && peek(1).text == "in") {
      next();
      next();
      op = Op::kNotIn;
    } else {
      break;
    }
    out->ops.push_back(op);
    out->items.push_back(binary(kSum));
  }
  return out;
}

const Expr* ExpressionParser::unary(bool with_filters) {
  if (failed_ || !enter()) return nullptr;
  const Expr* out = nullptr;
  if (at_operator("-") || at_operator("+")) {
    Expr* sign = make(at_operator("-") ? ExprKind::kNegative : ExprKind::kPositive);
    next();
    sign->items = {unary(false)};
    out = sign;
  } else {
    out = primary();
  }
  out = postfix(out);
  if (with_filters) out = filters(out);
  --depth_;
  return failed_ ? nullptr : out;
}

Expr* ExpressionParser::constant(Value value) {
  Expr* out = make(ExprKind::kConst);
  out->value = std::move(value);
  return out;
}

const Expr* ExpressionParser::primary() {
  const Token& token = peek();
  switch (token.kind) {
    case TokenKind::kName:
      return name_or_constant();
    case TokenKind::kString: {
      std::string text;
      Expr* out = constant({});
      while (peek().kind == TokenKind::kString) text += next().text;
      out->value = literal(std::move(text));
      return out;
    }
    case TokenKind::kInt:
      return constant(next().integer);
    case TokenKind::kFloat:
      return constant(next().real);
    default:
      break;
  }
  if (at_operator("(")) {
    next();
    const Expr* out = tuple(true, true);
    return expect_operator(")") ? out : nullptr;
  }
  if (at_operator("[")) return list();
  if (at_operator("{")) return dict();
  return fail(fmt::format("unexpected \"{}\"", quote_for_message(token.text)));
}

const Expr* ExpressionParser::name_or_constant() {
  const std::string& text = peek().text;
  if (text == "true" || text == "True" || text == "false" || text == "False") {
    Expr* out = constant(text[0] == 't' || text[0] == 'T');
    next();
    return out;
  }
  if (text == "none" || text == "None") {
    Expr* out = constant(None{});
    next();
    return out;
  }
  if (text == "varargs") varargs_seen_ = true;
  if (text == "kwargs") kwargs_seen_ = true;
  Expr* out = make(ExprKind::kName);
  out->name = program_->intern(next().text);
  return out;
}

// Expressions separated by commas: a tuple, or the one expression itself.
const Expr* ExpressionParser::tuple(bool with_condition, bool parenthesised) {
  Expr* out = make(ExprKind::kTuple);
  bool comma = false;
  while (!failed_ && !at_tuple_end()) {
    out->items.push_back(expression(with_condition));
    if (!skip_operator(",")) break;
    comma = true;
  }
  if (failed_) return nullptr;
  if (!comma && out->items.size() == 1) return out->items[0];
  if (out->items.empty() && !parenthesised) return fail("expected an expression");
  return out;
}

bool ExpressionParser::at_tuple_end() const {
  return peek().kind == TokenKind::kPrintEnd || peek().kind == TokenKind::kBlockEnd || at_operator(")") ||
         at_name("recursive");
}

const Expr* ExpressionParser::list() {
  Expr* out = make(ExprKind::kList);
  next();
  while (!failed_ && !at_operator("]")) {
    out->items.push_back(expression());
    if (!skip_operator(",")) break;
  }
  return expect_operator("]") ? out : nullptr;
}

const Expr* ExpressionParser::dict() {
  Expr* out = make(ExprKind::kDict);
  next();
  while (!failed_ && !at_operator("}")) {
    out->items.push_back(expression());
    if (!expect_operator(":")) return nullptr;
    out->items.push_back(expression());
    if (!skip_operator(",")) break;
  }
  return expect_operator("}") ? out : nullptr;
}

const Expr* ExpressionParser::call_of(const Expr* callee) {
  Expr* call = make(ExprKind::kCall);
  call->items.push_back(callee);
  arguments(*call);
  return call;
}

const Expr* ExpressionParser::postfix(const Expr* out) {
  while (!failed_) {
    if (at_operator(".")) {
      out = attribute(out);
    } else if (at_operator("[")) {
      out = subscript(out);
    } else if (at_operator("(")) {
      out = call_of(out);
    } else {
      break;
    }
  }
  return failed_ ? nullptr : out;
}

const Expr* ExpressionParser::attribute(const Expr* of) {
  next();
  if (peek().kind == TokenKind::kInt) {
    Expr* out = make(ExprKind::kItem);
    out->items = {of, constant(next().integer)};
    return out;
  }
  Expr* out = make(ExprKind::kAttribute);
  auto id = name();
  if (!id) return nullptr;
  out->name = *id;
  out->items = {of};
  return out;
}

const Expr* ExpressionParser::subscript(const Expr* of) {
  Expr* out = make(ExprKind::kItem);
  next();
  std::vector<const Expr*> keys;
  while (!failed_ && !at_operator("]")) {
    keys.push_back(slice_or_expression());
    if (!skip_operator(",")) break;
  }
  if (!failed_ && keys.empty()) return fail("expected a subscript");
  if (!expect_operator("]")) return nullptr;
  const Expr* key = keys[0];
  if (keys.size() > 1) {
    Expr* several = make(ExprKind::kTuple);
    several->items = std::move(keys);
    key = several;
  }
  out->items = {of, key};
  return out;
}

const Expr* ExpressionParser::slice_or_expression() {
  const Expr* begin = at_operator(":") ? nullptr : expression();
  if (failed_ || !at_operator(":")) return begin;
  Expr* out = make(ExprKind::kSlice);
  out->items = {begin, nullptr, nullptr};
  for (size_t part = 1; part <= 2 && skip_operator(":"); ++part) {
    if (!at_operator(":") && !at_operator("]") && !at_operator(",")) out->items[part] = expression();
  }
  return out;
}

// ( ... ) after a callee, filter or test, appended to call.
void ExpressionParser::arguments(Expr& call) {
  next();
  while (!failed_ && !at_operator(")")) {
    if (skip_operator("**")) {
      call.star_star = expression();
    } else if (skip_operator("*")) {
      call.star = expression();
    } else if (peek().kind == TokenKind::kName && peek(1).kind == TokenKind::kOperator && peek(1).text == "=") {
      auto id = name();
      next();
      call.named.emplace_back(*id, expression());
    } else if (!call.named.empty()) {
      fail("positional argument after a named one");
    } else {
      call.items.push_back(expression());
    }
    if (!skip_operator(",")) break;
  }
  if (!failed_) expect_operator(")");
}

// A name of letters and dots, as filters and tests have.
std::string ExpressionParser::dotted_name() {
  auto id = name();
  std::string out = id ? program_->names[*id] : "";
  while (!failed_ && at_operator(".")) {
    next();
    auto part = name();
    if (part) out += "." + program_->names[*part];
  }
  return out;
}

const Expr* ExpressionParser::filters(const Expr* out) {
  while (!failed_) {
    if (at_operator("|")) {
      out = filter(out);
    } else if (at_name("is")) {
      out = test(out);
    } else if (at_operator("(")) {
      out = call_of(out);
    } else {
      break;
    }
  }
  return failed_ ? nullptr : out;
}

const Expr* ExpressionParser::filter(const Expr* input) {
  next();
  Expr* out = make(ExprKind::kFilter);
  std::string called = dotted_name();
  if (failed_) return nullptr;
  out->name = program_->intern(called);
  out->filter = find_filter(called);
  if (out->filter == nullptr && conditional_ == 0)
    return fail(fmt::format("unknown filter \"{}\"", quote_for_message(called)));
  out->items.push_back(input);
  if (at_operator("(")) arguments(*out);
  return out;
}

const Expr* ExpressionParser::test(const Expr* input) {
  next();
  bool negated = skip_name("not");
  Expr* out = make(ExprKind::kTest);
  std::string called = dotted_name();
  if (failed_) return nullptr;
  out->name = program_->intern(called);
  out->predicate = find_predicate(called);
  if (out->predicate == nullptr && conditional_ == 0)
    return fail(fmt::format("unknown test \"{}\"", quote_for_message(called)));
  out->items.push_back(input);
  note_test(*out, called);
  if (at_operator("(")) {
    arguments(*out);
  } else if (at_test_argument()) {
    out->items.push_back(postfix(primary()));
  }
  if (!negated) return out;
  Expr* negation = make(ExprKind::kNot);
  negation->items = {out};
  return negation;
}

bool ExpressionParser::at_test_argument() const {
  switch (peek().kind) {
    case TokenKind::kString:
    case TokenKind::kInt:
    case TokenKind::kFloat:
      return true;
    case TokenKind::kOperator:
      return peek().text == "[" || peek().text == "{";
    case TokenKind::kName:
      for (std::string_view word : {"else", "or", "and", "if", "is", "in", "not", "recursive"}) {
        if (peek().text == word) return false;
      }
      return true;
    default:
      return false;
  }
}

bool ExpressionParser::is_content(const Expr* expr) const {
  while (expr != nullptr && expr->kind == ExprKind::kFilter) expr = expr->items[0];
  if (expr == nullptr) return false;
  if (expr->kind == ExprKind::kAttribute || expr->kind == ExprKind::kName)
    return expr->name != kBlockText && program_->names[expr->name] == "content";
  if (expr->kind != ExprKind::kItem || expr->items[1] == nullptr) return false;
  const Text* key = expr->items[1]->value.text();
  return key != nullptr && key->bytes == "content";
}

void ExpressionParser::note_test(const Expr& test, std::string_view called) {
  bool kind_test = called == "string" || called == "iterable" || called == "sequence" || called == "mapping";
  if (kind_test && is_content(test.items[0])) program_->tests_content_text = true;
}

}  // namespace millrace::text::jinja
