// The parsed form of a chat template: expressions and statements as plain nodes, owned by a Program. Nodes point to
// each other without owning, so that a deep tree is freed without recursion.
// Thread: immutable after parsing.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/jinja_value.h"

namespace millrace::text::jinja {

struct FilterRow;
struct PredicateRow;
using NameId = uint32_t;  // index into Program::names

enum class ExprKind : uint8_t {
  kConst,
  kName,
  kList,
  kTuple,
  kDict,       // items: key, value, key, value, ...
  kAttribute,  // items[0] . name
  kItem,       // items[0] [ items[1] ]
  kSlice,      // items: begin, end, step; each may be null
  kCall,       // items[0] ( items[1..], named )
  kFilter,     // items[0] | name ( items[1..], named )
  kTest,       // items[0] is name ( items[1..], named )
  kNot,
  kNegative,
  kPositive,
  kAnd,
  kOr,
  kArithmetic,   // op
  kConcat,       // items joined as text
  kCompare,      // items[0] ops[0] items[1] ops[1] ...
  kConditional,  // items: condition, then, else (may be null)
};

enum class Op : uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEq,
  kNe,
  kLt,
  kLe,
  kGt,
  kGe,
  kIn,
  kNotIn
};

struct Expr {
  ExprKind kind = ExprKind::kConst;
  Op op = Op::kAdd;
  uint32_t line = 0;
  NameId name = 0;
  Value value;                        // kConst
  const FilterRow* filter = nullptr;  // null: unknown, an error when reached
  const PredicateRow* predicate = nullptr;
  std::vector<const Expr*> items;
  std::vector<std::pair<NameId, const Expr*>> named;
  const Expr* star = nullptr;       // *args of a call
  const Expr* star_star = nullptr;  // **kwargs of a call
  std::vector<Op> ops;              // kCompare
};

enum class StmtKind : uint8_t {
  kText,      // value
  kOutput,    // a
  kIf,        // a, body, otherwise
  kFor,       // targets in a, iterable in b, filter in c (may be null), body, otherwise
  kSet,       // target a, value b
  kSetBlock,  // target a, filter chain in b (may be null) over the body's text
  kMacro,     // name, params, body
  kCall,      // call expression a, params, body
  kFilter,    // filter chain in b over the body's text
  kScope,     // body in a scope of its own (with, generation)
  kBreak,
  kContinue,
};

struct Param {
  NameId name = 0;
  const Expr* fallback = nullptr;  // null: none
};

struct Stmt {
  StmtKind kind = StmtKind::kText;
  uint32_t line = 0;
  NameId name = 0;
  Value value;
  const Expr* a = nullptr;
  const Expr* b = nullptr;
  const Expr* c = nullptr;
  std::vector<Param> params;  // also the assignments of `with`
  bool uses_varargs = false;
  bool uses_kwargs = false;
  std::vector<const Stmt*> body;
  std::vector<const Stmt*> otherwise;
};

struct Program {
  std::deque<Expr> exprs;
  std::deque<Stmt> stmts;
  std::vector<const Stmt*> body;
  std::vector<std::string> names;
  std::unordered_map<std::string, NameId> name_ids;
  bool iterates_content = false;    // a for loop over <something>.content
  bool tests_content_text = false;  // `content is string` (or a like test) is asked

  NameId intern(const std::string& name) {
    auto [at, added] = name_ids.try_emplace(name, static_cast<NameId>(names.size()));
    if (added) names.push_back(name);
    return at->second;
  }
  const NameId* find_name(const std::string& name) const {
    auto at = name_ids.find(name);
    return at != name_ids.end() ? &at->second : nullptr;
  }
};

// The input of a filter chain over a block's text: a kName expression with this id.
constexpr NameId kBlockText = UINT32_MAX;

}  // namespace millrace::text::jinja
