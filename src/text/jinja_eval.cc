// Expressions of the chat-template interpreter. Each kind is a function of its own, kept out of line, so that the
// frame of the recursive eval() stays small.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "text/jinja_interpreter.h"

namespace millrace::text::jinja {
namespace {

Value boolean(bool value) { return value; }

double python_modulo(double a, double b) {
  double out = std::fmod(a, b);
  return out != 0 && (out < 0) != (b < 0) ? out + b : out;
}

}  // namespace

Value Interpreter::eval(const Expr& expr) {
  if (depth_ >= kMaxEvalDepth) return fail(fmt::format("evaluation nesting deeper than {}", kMaxEvalDepth));
  if (!spend(1)) return {};
  ++depth_;
  Value out = eval_kind(expr);
  --depth_;
  return out;
}

Value Interpreter::eval_kind(const Expr& expr) {
  switch (expr.kind) {
    case ExprKind::kConst:
      return expr.value;
    case ExprKind::kName:
      return eval_name(expr);
    case ExprKind::kList:
    case ExprKind::kTuple:
      return eval_list(expr);
    case ExprKind::kDict:
      return eval_dict(expr);
    case ExprKind::kAttribute:
    case ExprKind::kItem:
      return eval_item(expr);
    case ExprKind::kSlice:
      return fail("slice outside a subscript");
    case ExprKind::kCall:
      return eval_call(expr);
    case ExprKind::kFilter:
      return eval_filter(expr);
    case ExprKind::kTest:
      return eval_test(expr);
    case ExprKind::kNot:
    case ExprKind::kAnd:
    case ExprKind::kOr:
      return eval_logic(expr);
    case ExprKind::kNegative:
    case ExprKind::kPositive:
      return eval_sign(expr);
    case ExprKind::kArithmetic:
      return eval_arithmetic(expr);
    case ExprKind::kConcat:
      return eval_concat(expr);
    case ExprKind::kCompare:
      return eval_compare(expr);
    case ExprKind::kConditional:
      return eval_conditional(expr);
  }
  return {};
}

const Value* Interpreter::find_variable(NameId name) const {
  size_t at = current_;
  while (true) {
    const Frame& frame = frames_[at];
    for (const auto& variable : frame.variables) {
      if (variable.first == name) return &variable.second;
    }
    if (at == 0) return nullptr;
    at = frame.parent;
  }
}

Value Interpreter::eval_name(const Expr& expr) {
  if (expr.name == kBlockText) return block_text_;
  if (const Value* variable = find_variable(expr.name)) return *variable;
  const std::string& name = program_.names[expr.name];
  int global = find_global(name);
  if (global >= 0) return Builtin{static_cast<uint32_t>(global)};
  return undefined(fmt::format("'{}' is undefined", name));
}

Value Interpreter::eval_list(const Expr& expr) {
  std::vector<Value> items;
  items.reserve(expr.items.size());
  for (const Expr* item : expr.items) {
    items.push_back(eval(*item));
    if (failed_) return {};
  }
  return make_list(std::move(items), expr.kind == ExprKind::kTuple);
}

Value Interpreter::eval_dict(const Expr& expr) {
  std::vector<std::pair<Value, Value>> entries;
  for (size_t i = 0; i + 1 < expr.items.size(); i += 2) {
    Value key = eval(*expr.items[i]);
    if (failed_) return {};
    Value value = eval(*expr.items[i + 1]);
    if (failed_) return {};
    entries.emplace_back(std::move(key), std::move(value));
  }
  return make_dict(std::move(entries));
}

Value Interpreter::eval_item(const Expr& expr) {
  Value of = eval(*expr.items[0]);
  if (failed_) return {};
  line_ = expr.line;
  if (expr.kind == ExprKind::kAttribute) return attribute(of, program_.names[expr.name]);
  if (expr.items[1]->kind == ExprKind::kSlice) return slice(of, *expr.items[1]);
  Value key = eval(*expr.items[1]);
  if (failed_) return {};
  return item(of, key);
}

bool Interpreter::eval_arguments(const Expr& expr, Arguments& out) {
  for (size_t i = 1; i < expr.items.size(); ++i) {
    out.positional.push_back(eval(*expr.items[i]));
    if (failed_) return false;
  }
  for (const auto& entry : expr.named) {
    out.named.emplace_back(program_.names[entry.first], eval(*entry.second));
    if (failed_) return false;
  }
  if (expr.star != nullptr) {
    Value more = eval(*expr.star);
    auto items = failed_ ? nullptr : iterate(more);
    if (failed_) return false;
    out.positional.insert(out.positional.end(), items->items.begin(), items->items.end());
  }
  if (expr.star_star != nullptr) {
    // named arguments are views: the text they point to must be one of the program's names or live in the dict
    Value more = eval(*expr.star_star);
    const Dict* dict = more.dict();
    if (!failed_ && dict == nullptr) fail("argument after ** must be a mapping");
    if (failed_) return false;
    for (const auto& entry : dict->entries) {
      if (entry.first.text() == nullptr) {
        fail("keywords must be strings");
        return false;
      }
      out.named.emplace_back(entry.first.text()->bytes, entry.second);
    }
    out.keys_owner = std::move(more);
  }
  line_ = expr.line;
  return !failed_;
}

Value Interpreter::eval_call(const Expr& expr) {
  const Expr& callee = *expr.items[0];
  Arguments arguments;
  if (callee.kind == ExprKind::kAttribute) {
    Value self = eval(*callee.items[0]);
    if (failed_) return {};
    const std::string& name = program_.names[callee.name];
    if (find_method(self, name) != nullptr) {
      if (!eval_arguments(expr, arguments)) return {};
      arguments.self = self;
      return call_method(self, name, arguments);
    }
    line_ = expr.line;
    Value function = attribute(self, name);
    if (failed_ || !eval_arguments(expr, arguments)) return {};
    return call(function, arguments);
  }
  Value function = eval(callee);
  if (failed_ || !eval_arguments(expr, arguments)) return {};
  return call(function, arguments);
}

Value Interpreter::eval_filter(const Expr& expr) {
  Arguments arguments;
  Value input = eval(*expr.items[0]);
  if (failed_ || !eval_arguments(expr, arguments)) return {};
  arguments.self = std::move(input);
  if (expr.filter == nullptr)
    return fail(fmt::format("unknown filter \"{}\"", quote_for_message(program_.names[expr.name])));
  return expr.filter->function(*this, arguments);
}

Value Interpreter::eval_test(const Expr& expr) {
  Arguments arguments;
  Value input = eval(*expr.items[0]);
  if (failed_ || !eval_arguments(expr, arguments)) return {};
  arguments.self = std::move(input);
  if (expr.predicate == nullptr)
    return fail(fmt::format("unknown test \"{}\"", quote_for_message(program_.names[expr.name])));
  return boolean(expr.predicate->function(*this, arguments));
}

Value Interpreter::eval_logic(const Expr& expr) {
  Value left = eval(*expr.items[0]);
  if (failed_) return {};
  if (expr.kind == ExprKind::kNot) return boolean(!truthy(left));
  bool decided = truthy(left) == (expr.kind == ExprKind::kOr);
  return decided ? left : eval(*expr.items[1]);
}

Value Interpreter::eval_sign(const Expr& expr) {
  Value of = eval(*expr.items[0]);
  if (failed_) return {};
  line_ = expr.line;
  bool negative = expr.kind == ExprKind::kNegative;
  if (auto integer = of.integer()) {
    if (!negative) return *integer;
    return integer_arithmetic(Op::kSubtract, 0, *integer);
  }
  if (const double* real = of.real()) return negative ? -*real : *real;
  if (of.is_undefined()) return fail(why_undefined(of));
  return fail(fmt::format("bad operand type for unary sign: '{}'", type_name(of)));
}

Value Interpreter::eval_arithmetic(const Expr& expr) {
  Value a = eval(*expr.items[0]);
  if (failed_) return {};
  Value b = eval(*expr.items[1]);
  if (failed_) return {};
  line_ = expr.line;
  if (a.is_undefined()) return fail(why_undefined(a));
  if (b.is_undefined()) return fail(why_undefined(b));
  if (expr.op == Op::kAdd) return add(a, b);
  if (expr.op == Op::kMultiply) return multiply(a, b);
  if (expr.op == Op::kModulo && a.text() != nullptr) {
    Arguments arguments;
    arguments.self = a;
    if (b.list() != nullptr && b.list()->tuple) {
      arguments.positional = b.list()->items;
    } else {
      arguments.positional.push_back(b);
    }
    return apply_filter(a, "format", std::move(arguments));
  }
  return arithmetic(expr.op, a, b);
}

Value Interpreter::add(const Value& a, const Value& b) {
  if (a.text() != nullptr && b.text() != nullptr) {
    TextBuilder out = builder();
    out.append(*a.text());
    out.append(*b.text());
    return make_text(out);
  }
  const List* left = a.list();
  const List* right = b.list();
  if (left != nullptr && right != nullptr && left->tuple == right->tuple) {
    std::vector<Value> items = left->items;
    items.insert(items.end(), right->items.begin(), right->items.end());
    return make_list(std::move(items), left->tuple);
  }
  if (a.text() != nullptr) return fail(fmt::format("can only concatenate str (not \"{}\") to str", type_name(b)));
  return arithmetic(Op::kAdd, a, b);
}

Value Interpreter::multiply(const Value& a, const Value& b) {
  if (a.integer() && (b.text() != nullptr || b.list() != nullptr)) return multiply(b, a);
  auto times = b.integer();
  if (times && *times < 0) times = 0;
  if (const Text* text = a.text(); text != nullptr && times) {
    TextBuilder out = builder();
    for (int64_t i = 0; i < *times && !out.full() && !text->bytes.empty() && touch(text->bytes.size()); ++i)
      out.append(*text);
    return make_text(out);
  }
  if (const List* list = a.list(); list != nullptr && times) {
    std::vector<Value> items;
    int64_t most = budget_.max_bytes / static_cast<int64_t>(sizeof(Value));
    if (!list->items.empty() && *times > most / static_cast<int64_t>(list->items.size())) {
      return fail_output();
    }
    for (int64_t i = 0; i < *times && !list->items.empty(); ++i)
      items.insert(items.end(), list->items.begin(), list->items.end());
    return make_list(std::move(items), list->tuple);
  }
  return arithmetic(Op::kMultiply, a, b);
}

Value Interpreter::integer_arithmetic(Op op, int64_t a, int64_t b) {
  int64_t out = 0;
  bool overflow = false;
  switch (op) {
    case Op::kAdd:
      overflow = __builtin_add_overflow(a, b, &out);
      break;
    case Op::kSubtract:
      overflow = __builtin_sub_overflow(a, b, &out);
      break;
    case Op::kMultiply:
      overflow = __builtin_mul_overflow(a, b, &out);
      break;
    case Op::kFloorDivide:
    case Op::kModulo: {
      if (b == 0) return fail("integer division or modulo by zero");
      if (b == -1) return op == Op::kModulo ? Value(int64_t{0}) : integer_arithmetic(Op::kSubtract, 0, a);
      int64_t rest = a % b;
      bool adjust = rest != 0 && (rest < 0) != (b < 0);
      out = op == Op::kModulo ? rest + (adjust ? b : 0) : a / b - (adjust ? 1 : 0);
      break;
    }
    default: {  // kPower
      if (b < 0) return std::pow(static_cast<double>(a), static_cast<double>(b));
      out = 1;
      for (int64_t i = 0; i < b && !overflow && out != 0 && !(a == 1); ++i) {
        overflow = __builtin_mul_overflow(out, a, &out);
        if (a == -1) return (b % 2 == 0) ? int64_t{1} : int64_t{-1};
      }
    }
  }
  if (overflow) return fail("integer overflow");
  return out;
}

Value Interpreter::arithmetic(Op op, const Value& a, const Value& b) {
  auto x = a.number();
  auto y = b.number();
  if (!x || !y) return fail(fmt::format("unsupported operand types: '{}' and '{}'", type_name(a), type_name(b)));
  if (op == Op::kDivide) {
    if (*y == 0) return fail("division by zero");
    return *x / *y;
  }
  if (a.integer() && b.integer()) return integer_arithmetic(op, *a.integer(), *b.integer());
  switch (op) {
    case Op::kAdd:
      return *x + *y;
    case Op::kSubtract:
      return *x - *y;
    case Op::kMultiply:
      return *x * *y;
    case Op::kPower:
      return std::pow(*x, *y);
    case Op::kModulo:
    case Op::kFloorDivide:
      if (*y == 0) return fail("float division by zero");
      return op == Op::kModulo ? python_modulo(*x, *y) : std::floor(*x / *y);
    default:
      return fail("bad operator");
  }
}

Value Interpreter::eval_concat(const Expr& expr) {
  TextBuilder out = builder();
  for (const Expr* part : expr.items) {
    Value value = eval(*part);
    if (failed_) return {};
    print(out, value);
    if (failed_) return {};
  }
  return make_text(out);
}

bool Interpreter::contains(const Value& in, const Value& what) {
  if (const Text* text = in.text()) {
    if (what.text() == nullptr) {
      fail(fmt::format("'in <string>' requires string as left operand, not {}", type_name(what)));
      return false;
    }
    return touch(text->bytes.size()) && text->bytes.find(what.text()->bytes) != std::string::npos;
  }
  if (const List* list = in.list()) {
    if (!spend(1 + list->items.size() / 16)) return false;
    return std::any_of(list->items.begin(), list->items.end(), [&](const Value& value) { return equals(value, what); });
  }
  if (const Dict* dict = in.dict()) return spend(1 + dict->entries.size() / 16) && find_key(*dict, what) != nullptr;
  if (in.is_undefined()) return false;
  fail(fmt::format("argument of type '{}' is not iterable", type_name(in)));
  return false;
}

bool Interpreter::check_less(const Value& a, const Value& b) {
  if (a.is_undefined() || b.is_undefined()) {
    fail(why_undefined(a.is_undefined() ? a : b));
    return false;
  }
  auto order = compare(a, b);
  if (!order) fail(fmt::format("'<' not supported between instances of '{}' and '{}'", type_name(a), type_name(b)));
  return order == -1;
}

bool Interpreter::compare_values(Op op, const Value& a, const Value& b) {
  auto x = a.number();
  auto y = b.number();
  if (a.text() != nullptr && b.text() != nullptr && !touch(std::min(a.text()->bytes.size(), b.text()->bytes.size())))
    return false;
  bool not_a_number = (x && std::isnan(*x)) || (y && std::isnan(*y));
  switch (op) {
    case Op::kEq:
      return equals(a, b);
    case Op::kNe:
      return !equals(a, b);
    case Op::kIn:
      return contains(b, a);
    case Op::kNotIn:
      return !contains(b, a);
    case Op::kLt:
      return check_less(a, b) && !not_a_number;
    case Op::kGt:
      return check_less(b, a) && !not_a_number;
    case Op::kLe:
      return !check_less(b, a) && !not_a_number;
    case Op::kGe:
      return !check_less(a, b) && !not_a_number;
    default:
      return false;
  }
}

Value Interpreter::eval_compare(const Expr& expr) {
  Value left = eval(*expr.items[0]);
  if (failed_) return {};
  for (size_t i = 0; i < expr.ops.size(); ++i) {
    Value right = eval(*expr.items[i + 1]);
    if (failed_) return {};
    line_ = expr.line;
    bool holds = compare_values(expr.ops[i], left, right);
    if (failed_ || !holds) return boolean(false);
    left = std::move(right);
  }
  return boolean(true);
}

Value Interpreter::eval_conditional(const Expr& expr) {
  Value condition = eval(*expr.items[0]);
  if (failed_) return {};
  if (truthy(condition)) return eval(*expr.items[1]);
  if (expr.items[2] != nullptr) return eval(*expr.items[2]);
  return undefined("the inline if-expression evaluated to false and no else section was defined.");
}

}  // namespace millrace::text::jinja
