// Runs a Program with bounded work: one fuel for steps (bytes touched count too), a cap on output and on the live
// bytes of values, on macro nesting and on evaluation depth. After the first failure every operation returns at once.
// Source of the semantics: jinja2 3.1 (runtime.py, compiler.py) under ImmutableSandboxedEnvironment.
// Thread: one render() each.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "base/result.h"
#include "text/jinja_ast.h"
#include "text/jinja_filters.h"
#include "text/jinja_value.h"

namespace millrace::text::jinja {

constexpr int kMaxMacroDepth = 64;
constexpr int kMaxEvalDepth = 384;  // nested eval() and exec() in all; keeps the whole run inside a 256 KiB stack

class Interpreter {
 public:
  Interpreter(const Program& program, const Limits& limits, int64_t now_unix);
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  void set_global(const std::string& name, Value value);
  Result<Text> run();

  // --- for filters, tests, methods and functions
  bool failed() const { return failed_; }
  // "template line 3: what"; the first failure counts.
  Value fail(std::string_view what);
  // The message as it is: raise_exception() and the limits.
  Value fail_whole(std::string message);
  // "template output exceeds 8388608 bytes"
  Value fail_output();
  // Uses fuel; false when there is none left.
  bool spend(size_t steps);
  // Fuel for touching so many bytes.
  bool touch(size_t n_bytes) { return spend(1 + n_bytes / 256); }
  Value make_text(TextBuilder& builder);
  Value make_text(const std::string& bytes);
  Value make_list(std::vector<Value> items, bool tuple = false);
  Value make_dict(std::vector<std::pair<Value, Value>> entries);
  Value make_namespace(std::vector<std::pair<std::string, Value>> attributes);
  Value undefined(std::string why) const { return Undefined{std::make_shared<const std::string>(std::move(why))}; }
  TextBuilder builder() const { return TextBuilder(static_cast<size_t>(budget_.max_bytes)); }
  int64_t max_range() const { return limits_[LimitId::kTemplateRange]; }
  int64_t now_unix() const { return now_unix_; }

  // Text of a value as {{ }} prints it; shares it when it is a string.
  std::shared_ptr<const Text> to_text(const Value& value);
  void print(TextBuilder& out, const Value& value);
  Value attribute(const Value& of, std::string_view name);
  Value item(const Value& of, const Value& key);
  // Items to loop over; fails for values that are not iterable.
  std::shared_ptr<const List> iterate(const Value& value);
  Value call(const Value& callee, const Arguments& arguments);
  Value call_method(const Value& self, std::string_view name, const Arguments& arguments);
  Value apply_filter(const Value& input, std::string_view name, Arguments arguments);
  bool apply_test(const Value& input, std::string_view name, Arguments arguments);
  Value add(const Value& a, const Value& b);        // a + b
  bool check_less(const Value& a, const Value& b);  // a < b; fails for kinds without an order
  std::string why_undefined(const Value& value) const;

 private:
  enum class Flow : uint8_t { kNext, kBreak, kContinue };
  struct Frame {
    std::vector<std::pair<NameId, Value>> variables;
    size_t parent = 0;
    uint64_t serial = 0;
  };

  // statements (jinja_interpreter.cc)
  Flow exec(const std::vector<const Stmt*>& body);
  Flow exec_one(const Stmt& stmt);
  Flow exec_if(const Stmt& stmt);
  Flow exec_for(const Stmt& stmt);
  Flow exec_scope(const Stmt& stmt);
  void exec_set(const Stmt& stmt);
  void exec_call(const Stmt& stmt);
  std::shared_ptr<const List> loop_items(const Stmt& stmt);
  // The text that a body prints.
  Value capture(const std::vector<const Stmt*>& body);
  Value filter_text(const Expr* filters, Value text);
  void assign(const Expr& target, const Value& value);
  void set_variable(NameId name, Value value);
  Value call_macro(const Macro& macro, const Arguments& arguments);
  void bind_params(const Stmt& definition, const Arguments& arguments);
  size_t push_frame(size_t parent);
  void pop_frame(size_t current);

  // expressions (jinja_eval.cc)
  Value eval(const Expr& expr);
  Value eval_kind(const Expr& expr);
  Value eval_name(const Expr& expr);
  Value eval_list(const Expr& expr);
  Value eval_dict(const Expr& expr);
  Value eval_item(const Expr& expr);
  Value eval_call(const Expr& expr);
  Value eval_filter(const Expr& expr);
  Value eval_test(const Expr& expr);
  Value eval_logic(const Expr& expr);
  Value eval_sign(const Expr& expr);
  Value eval_arithmetic(const Expr& expr);
  Value eval_concat(const Expr& expr);
  Value eval_compare(const Expr& expr);
  Value eval_conditional(const Expr& expr);
  bool eval_arguments(const Expr& expr, Arguments& out);
  Value slice(const Value& of, const Expr& key);
  Value multiply(const Value& a, const Value& b);
  Value arithmetic(Op op, const Value& a, const Value& b);
  Value integer_arithmetic(Op op, int64_t a, int64_t b);
  bool contains(const Value& in, const Value& what);
  bool compare_values(Op op, const Value& a, const Value& b);
  const Value* find_variable(NameId name) const;

  const Program& program_;
  const Limits& limits_;
  int64_t now_unix_;
  Budget budget_;
  int64_t fuel_;
  uint32_t line_ = 1;
  int depth_ = 0;
  int macro_depth_ = 0;
  int64_t loop_depth_ = 0;
  std::vector<Frame> frames_;
  size_t current_ = 0;  // frame
  uint64_t next_serial_ = 1;
  std::deque<Namespace> namespaces_;
  TextBuilder* out_ = nullptr;
  Value block_text_;  // input of the filter chain being applied to a block
  bool failed_ = false;
  Error error_;
};

// Python's repr(), and json.dumps as transformers' tojson filter calls it.
void append_repr(Interpreter& interpreter, TextBuilder& out, const Value& value);
struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  bool indented = false;
  std::string indent;  // of one level
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
void append_tojson(Interpreter& interpreter, TextBuilder& out, const Value& value, const JsonStyle& style,
                   int level = 0);
// repr(float)
std::string float_text(double value);

}  // namespace millrace::text::jinja
