// Shapes to rules, one rule per distinct schema. Parts are queued, not descended into, so schemas may be cyclic and
// deep. Thread: any.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "grammar/json_rules.h"
#include "grammar/numbers.h"
#include "grammar/schema.h"
#include "grammar/schema_shape.h"

namespace millrace::grammar {

class SchemaBuilder {
 public:
  SchemaBuilder(Rules& rules, ShapeReader reader, const SchemaOptions& options)
      : rules_(rules),
        reader_(std::move(reader)),
        options_(options),
        json_(rules, options.any_whitespace, options.space),
        numbers_(rules) {}

  Result<RuleId> build(const Json& root);

 private:
  // A property that is generated in its place.
  struct Entry {
    ExprId pair = 0;  // "name": value
    std::string key;  // "name":
    ExprId value = 0;
    bool required = false;
  };
  // The properties of one object, and those beyond.
  struct Members {
    std::vector<Entry> entries;
    bool open = false;  // `extra` entries may follow
    ExprId extra = 0;
    uint64_t min = 0;
    uint64_t max = UINT64_MAX;
  };

  ExprId rule_for(const Nodes& nodes);
  Result<void> build_rule(RuleId rule, const Nodes& nodes);
  static void join_strings(std::vector<Shape>& shapes);
  Result<ExprId> shape_expr(const Shape& whole);
  Result<void> refuse_value(Shape& shape, const Json& value, std::vector<double>& numbers,
                            std::vector<std::string>& strings, std::vector<ExprId>& parts);
  Result<ExprId> values_expr(const Shape& shape);

  // schema_scalars.cc
  Result<ExprId> number_expr(const Shape& shape);
  ExprId fraction_expr(const NumberBounds& bounds);
  ExprId multiples_expr(const NumberBounds& bounds);
  Result<ExprId> other_strings(const StringBounds& bounds, const std::string& pointer,
                               const std::vector<std::string>& refused);
  // refused: texts that are not generated.
  Result<ExprId> string_expr(const StringBounds& bounds, const std::string& pointer,
                             const std::vector<std::string>& refused = {});
  Result<ExprId> guarded(ExprId inside, const LengthBounds& bounds, const std::string& pointer);
  // search: the pattern is somewhere in the string, unless it is anchored.
  Result<ExprId> pattern_expr(const StringBounds& bounds, std::string_view pattern, const std::string& pointer,
                              bool search = true);
  Result<ExprId> bounded_pattern(const StringBounds& bounds, const std::string& pointer);
  Result<ExprId> format_expr(const StringBounds& bounds, const std::string& pointer);
  // schema_arrays.cc
  Result<ExprId> array_expr(const ArrayShape& array, const std::string& pointer);
  Result<ExprId> list_expr(const ArrayShape& array, const std::string& pointer);
  Result<bool> differ(const ArrayShape& array);
  Result<ExprId> unique_items(const ArrayShape& array, const std::string& pointer);
  // schema_objects.cc
  Result<ExprId> object_expr(const ObjectShape& object, const std::string& pointer);
  Result<Members> members_of(const ObjectShape& object, const std::string& pointer);
  Result<void> add_entries(const ObjectShape& object, const std::string& pointer, Members& members);
  Result<void> add_extra(const ObjectShape& object, const std::string& pointer, Members& members);
  Result<bool> name_allowed(const ObjectShape& object, const std::string& name);
  Result<ExprId> counted_members(const Members& members, const std::string& pointer);
  ExprId plain_members(const Members& members);
  ExprId wide_members(const Members& members);
  ExprId extras_behind(const Members& members, uint32_t min, uint32_t max);

  // schema_names.cc
  ExprId other_names(const std::vector<std::string>& names);
  ExprId one_of(const std::vector<const Entry*>& entries);

  Rules& rules_;
  ShapeReader reader_;
  const SchemaOptions& options_;
  JsonRules json_;
  NumberRules numbers_;
  std::map<std::vector<NodeId>, RuleId> known_;
  std::map<std::string, const Json*> by_text_;  // the first schema of each text
  std::deque<std::pair<RuleId, Nodes>> queue_;
  std::vector<LengthBounds> open_bounds_;  // of the rule that is built
};

}  // namespace millrace::grammar
