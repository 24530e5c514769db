#include "text/jinja_interpreter.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace millrace::text::jinja {
namespace {

constexpr size_t kValueBytes = sizeof(Value);
constexpr size_t kObjectBytes = 96;  // of a list, dict or string besides its contents

}  // namespace

Interpreter::Interpreter(const Program& program, const Limits& limits, int64_t now_unix)
    : program_(program), limits_(limits), now_unix_(now_unix), fuel_(limits[LimitId::kTemplateSteps]) {
  budget_.max_bytes = limits[LimitId::kTemplateOutput];
  push_frame(0);
}

void Interpreter::set_global(const std::string& name, Value value) {
  if (const NameId* id = program_.find_name(name)) frames_[0].variables.emplace_back(*id, std::move(value));
}

Result<Text> Interpreter::run() {
  TextBuilder out = builder();
  out_ = &out;
  exec(program_.body);
  if (!failed_ && out.full()) fail_output();
  frames_.clear();
  namespaces_.clear();
  if (failed_) return std::move(error_);
  return out.take();
}

Value Interpreter::fail(std::string_view what) { return fail_whole(fmt::format("template line {}: {}", line_, what)); }

Value Interpreter::fail_whole(std::string message) {
  if (!failed_) error_ = Error{ErrorCode::kInvalidTemplate, std::move(message), "messages"};
  failed_ = true;
  return {};
}

Value Interpreter::fail_output() {
  return fail_whole(fmt::format("template output exceeds {} bytes", budget_.max_bytes));
}

bool Interpreter::spend(size_t steps) {
  fuel_ -= static_cast<int64_t>(std::min<size_t>(steps, 1'000'000'000));
  if (fuel_ < 0) fail_whole(fmt::format("chat template exceeded {} steps", limits_[LimitId::kTemplateSteps]));
  return !failed_;
}

Value Interpreter::make_text(TextBuilder& from) {
  if (from.full() || budget_.live_bytes + static_cast<int64_t>(from.size()) > budget_.max_bytes) {
    return fail_output();
  }
  if (!touch(from.size())) return {};
  auto text = std::make_shared<Text>(from.take());
  text->charge = Charge(&budget_, kObjectBytes + text->bytes.size() + text->marks.size() * sizeof(ByteRange));
  return std::shared_ptr<const Text>(std::move(text));
}

Value Interpreter::make_text(const std::string& bytes) {
  TextBuilder out = builder();
  out.append(bytes);
  return make_text(out);
}

Value Interpreter::make_list(std::vector<Value> items, bool tuple) {
  size_t bytes = kObjectBytes + items.size() * kValueBytes;
  if (budget_.live_bytes + static_cast<int64_t>(bytes) > budget_.max_bytes) {
    return fail_output();
  }
  if (!spend(1 + items.size() / 8)) return {};
  auto list = std::make_shared<List>();
  for (const Value& value : items) list->depth = std::max(list->depth, depth_of(value) + 1);
  list->items = std::move(items);
  list->tuple = tuple;
  list->charge = Charge(&budget_, bytes);
  if (list->depth > kMaxValueDepth) return fail(fmt::format("values nested deeper than {}", kMaxValueDepth));
  return std::shared_ptr<const List>(std::move(list));
}

Value Interpreter::make_dict(std::vector<std::pair<Value, Value>> entries) {
  size_t bytes = kObjectBytes + entries.size() * 2 * kValueBytes;
  if (budget_.live_bytes + static_cast<int64_t>(bytes) > budget_.max_bytes) {
    return fail_output();
  }
  auto dict = std::make_shared<Dict>();
  for (auto& entry : entries) {
    if (entry.first.dict() != nullptr || (entry.first.list() != nullptr && !entry.first.list()->tuple)) {
      return fail(fmt::format("unhashable type: '{}'", type_name(entry.first)));
    }
    if (!spend(1 + dict->entries.size() / 16)) return {};
    dict->depth = std::max({dict->depth, depth_of(entry.first) + 1, depth_of(entry.second) + 1});
    if (const Value* old = find_key(*dict, entry.first)) {
      *const_cast<Value*>(old) = std::move(entry.second);
    } else {
      dict->entries.push_back(std::move(entry));
    }
  }
  dict->charge = Charge(&budget_, bytes);
  if (dict->depth > kMaxValueDepth) return fail(fmt::format("values nested deeper than {}", kMaxValueDepth));
  return std::shared_ptr<const Dict>(std::move(dict));
}

Value Interpreter::make_namespace(std::vector<std::pair<std::string, Value>> attributes) {
  // kept until the end of the run, so it is paid for in fuel: at most ~60,000 of them under the default limits
  if (!spend(16)) return {};
  namespaces_.push_back({std::move(attributes)});
  return &namespaces_.back();
}

std::string Interpreter::why_undefined(const Value& value) const {
  const auto* undefined = std::get_if<Undefined>(&value.data);
  return undefined != nullptr && undefined->why != nullptr ? *undefined->why : "value is undefined";
}

size_t Interpreter::push_frame(size_t parent) {
  Frame frame;
  frame.parent = parent;
  frame.serial = next_serial_++;
  frames_.push_back(std::move(frame));
  return std::exchange(current_, frames_.size() - 1);
}

void Interpreter::pop_frame(size_t current) {
  frames_.pop_back();
  current_ = current;
}

void Interpreter::set_variable(NameId name, Value value) {
  for (auto& variable : frames_[current_].variables) {
    if (variable.first == name) {
      variable.second = std::move(value);
      return;
    }
  }
  frames_[current_].variables.emplace_back(name, std::move(value));
}

Interpreter::Flow Interpreter::exec(const std::vector<const Stmt*>& body) {
  if (depth_ >= kMaxEvalDepth) {
    fail(fmt::format("evaluation nesting deeper than {}", kMaxEvalDepth));
    return Flow::kNext;
  }
  ++depth_;
  Flow flow = Flow::kNext;
  for (const Stmt* stmt : body) {
    if (failed_ || !spend(1)) break;
    line_ = stmt->line;
    flow = exec_one(*stmt);
    if (flow != Flow::kNext) break;
  }
  --depth_;
  return flow;
}

Interpreter::Flow Interpreter::exec_one(const Stmt& stmt) {
  switch (stmt.kind) {
    case StmtKind::kText:
      if (touch(stmt.value.text()->bytes.size())) out_->append(*stmt.value.text());
      break;
    case StmtKind::kOutput: {
      Value value = eval(*stmt.a);
      if (!failed_) print(*out_, value);
      break;
    }
    case StmtKind::kIf:
      return exec_if(stmt);
    case StmtKind::kFor:
      return exec_for(stmt);
    case StmtKind::kScope:
      return exec_scope(stmt);
    case StmtKind::kSet:
    case StmtKind::kSetBlock:
      exec_set(stmt);
      break;
    case StmtKind::kMacro:
      set_variable(stmt.name, std::make_shared<const Macro>(Macro{&stmt, current_, frames_[current_].serial}));
      break;
    case StmtKind::kCall:
      exec_call(stmt);
      break;
    case StmtKind::kFilter: {
      Value text = filter_text(stmt.b, capture(stmt.body));
      if (!failed_) print(*out_, text);
      break;
    }
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
  }
  if (out_->full()) fail_output();
  return Flow::kNext;
}

Interpreter::Flow Interpreter::exec_if(const Stmt& first) {
  const Stmt* stmt = &first;
  while (true) {
    line_ = stmt->line;
    bool yes = truthy(eval(*stmt->a));
    if (failed_ || !spend(1)) return Flow::kNext;
    if (yes) return exec(stmt->body);
    bool chained = stmt->otherwise.size() == 1 && stmt->otherwise[0]->kind == StmtKind::kIf;
    if (!chained) return exec(stmt->otherwise);
    stmt = stmt->otherwise[0];
  }
}

// The items of the loop after its filter.
std::shared_ptr<const List> Interpreter::loop_items(const Stmt& stmt) {
  Value iterable = eval(*stmt.b);
  if (failed_) return nullptr;
  auto items = iterate(iterable);
  if (failed_ || stmt.c == nullptr) return items;
  std::vector<Value> kept;
  size_t outer = push_frame(current_);
  for (const Value& value : items->items) {
    if (!spend(1)) break;
    frames_[current_].variables.clear();
    assign(*stmt.a, value);
    if (truthy(eval(*stmt.c))) kept.push_back(value);
    if (failed_) break;
  }
  pop_frame(outer);
  Value list = make_list(std::move(kept));
  if (failed_) return nullptr;
  return std::get<std::shared_ptr<const List>>(list.data);
}

Interpreter::Flow Interpreter::exec_for(const Stmt& stmt) {
  auto items = loop_items(stmt);
  if (failed_) return Flow::kNext;
  if (items->items.empty()) return exec(stmt.otherwise);
  auto loop = std::make_shared<Loop>();
  loop->items = items;
  loop->nesting = ++loop_depth_;
  const NameId* loop_id = program_.find_name("loop");
  size_t outer = push_frame(current_);
  for (size_t i = 0; i < items->items.size() && !failed_; ++i) {
    loop->index = i;
    frames_[current_].variables.clear();
    if (loop_id != nullptr) set_variable(*loop_id, loop);
    line_ = stmt.line;
    assign(*stmt.a, items->items[i]);
    if (failed_ || !spend(1)) break;
    if (exec(stmt.body) == Flow::kBreak) break;
  }
  pop_frame(outer);
  --loop_depth_;
  return Flow::kNext;
}

Interpreter::Flow Interpreter::exec_scope(const Stmt& stmt) {
  std::vector<Value> values;
  for (const Param& param : stmt.params) {
    values.push_back(eval(*param.fallback));
    if (failed_) return Flow::kNext;
  }
  size_t outer = push_frame(current_);
  for (size_t i = 0; i < values.size(); ++i) set_variable(stmt.params[i].name, std::move(values[i]));
  Flow flow = exec(stmt.body);
  pop_frame(outer);
  return flow;
}

void Interpreter::exec_set(const Stmt& stmt) {
  Value value = stmt.kind == StmtKind::kSet ? eval(*stmt.b) : filter_text(stmt.b, capture(stmt.body));
  if (!failed_) assign(*stmt.a, value);
}

void Interpreter::exec_call(const Stmt& stmt) {
  Arguments arguments;
  Value callee = eval(*stmt.a->items[0]);
  if (failed_ || !eval_arguments(*stmt.a, arguments)) return;
  arguments.named.emplace_back("caller",
                               std::make_shared<const Macro>(Macro{&stmt, current_, frames_[current_].serial}));
  Value text = call(callee, arguments);
  if (!failed_) print(*out_, text);
}

Value Interpreter::capture(const std::vector<const Stmt*>& body) {
  TextBuilder inner = builder();
  TextBuilder* outer_out = std::exchange(out_, &inner);
  size_t outer = push_frame(current_);
  exec(body);
  pop_frame(outer);
  out_ = outer_out;
  return failed_ ? Value() : make_text(inner);
}

Value Interpreter::filter_text(const Expr* filters, Value text) {
  if (failed_ || filters == nullptr) return text;
  Value outer = std::exchange(block_text_, std::move(text));
  Value out = eval(*filters);
  block_text_ = std::move(outer);
  return out;
}

void Interpreter::assign(const Expr& target, const Value& value) {
  if (target.kind == ExprKind::kName) return set_variable(target.name, value);
  if (target.kind == ExprKind::kAttribute) {
    const Value* variable = find_variable(target.items[0]->name);
    Namespace* name_space = variable != nullptr ? variable->name_space() : nullptr;
    const std::string& name = program_.names[target.name];
    if (name_space == nullptr) {
      fail("cannot assign attribute on non-namespace object");
      return;
    }
    if (name.starts_with('_')) {
      fail(fmt::format("namespace attribute \"{}\" begins with an underscore", quote_for_message(name)));
      return;
    }
    for (auto& entry : name_space->attributes) {
      if (entry.first == name) {
        entry.second = value;
        return;
      }
    }
    if (spend(4)) name_space->attributes.emplace_back(name, value);
    return;
  }
  auto parts = iterate(value);
  if (failed_) return;
  if (parts->items.size() != target.items.size()) {
    fail(fmt::format("cannot unpack {} values into {} names", parts->items.size(), target.items.size()));
    return;
  }
  for (size_t i = 0; i < target.items.size() && !failed_; ++i) assign(*target.items[i], parts->items[i]);
}

void Interpreter::bind_params(const Stmt& definition, const Arguments& arguments) {
  size_t n = definition.params.size();
  std::vector<std::pair<Value, Value>> extra;
  for (const auto& entry : arguments.named) {
    bool known = entry.first == "caller";
    for (const Param& param : definition.params) known = known || program_.names[param.name] == entry.first;
    if (known) continue;
    if (!definition.uses_kwargs) {
      fail(fmt::format("macro '{}' takes no keyword argument '{}'", program_.names[definition.name], entry.first));
      return;
    }
    extra.emplace_back(literal(std::string(entry.first)), entry.second);
  }
  if (arguments.positional.size() > n && !definition.uses_varargs) {
    fail(fmt::format("macro '{}' takes not more than {} argument(s)", program_.names[definition.name], n));
    return;
  }
  for (size_t i = 0; i < n && !failed_; ++i) {
    const Param& param = definition.params[i];
    const std::string& name = program_.names[param.name];
    const Value* given = arguments.get(i, name);
    if (given != nullptr) {
      set_variable(param.name, *given);
    } else if (param.fallback != nullptr) {
      set_variable(param.name, eval(*param.fallback));
    } else {
      set_variable(param.name, undefined(fmt::format("parameter '{}' was not provided", name)));
    }
  }
  if (failed_) return;
  if (definition.uses_varargs) {
    std::vector<Value> rest;
    for (size_t i = n; i < arguments.positional.size(); ++i) rest.push_back(arguments.positional[i]);
    set_variable(*program_.find_name("varargs"), make_list(std::move(rest), true));
  }
  if (definition.uses_kwargs) set_variable(*program_.find_name("kwargs"), make_dict(std::move(extra)));
  const NameId* caller_id = program_.find_name("caller");
  for (const auto& entry : arguments.named) {
    if (entry.first == "caller" && caller_id != nullptr) set_variable(*caller_id, entry.second);
  }
}

Value Interpreter::call_macro(const Macro& macro, const Arguments& arguments) {
  if (macro_depth_ >= kMaxMacroDepth) return fail(fmt::format("macro nesting deeper than {}", kMaxMacroDepth));
  bool alive = macro.frame < frames_.size() && frames_[macro.frame].serial == macro.serial;
  const Stmt& definition = *macro.definition;
  ++macro_depth_;
  uint32_t line = line_;
  size_t outer = push_frame(alive ? macro.frame : 0);
  bind_params(definition, arguments);
  TextBuilder inner = builder();
  TextBuilder* outer_out = std::exchange(out_, &inner);
  if (!failed_) exec(definition.body);
  out_ = outer_out;
  pop_frame(outer);
  --macro_depth_;
  if (!failed_) line_ = line;
  return failed_ ? Value() : make_text(inner);
}

}  // namespace millrace::text::jinja
