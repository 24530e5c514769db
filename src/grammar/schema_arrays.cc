// Arrays of a schema.
#include <fmt/core.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/macros.h"
#include "grammar/schema_builder.h"

namespace millrace::grammar {
namespace {

constexpr uint64_t kMaxRepeats = 1u << 20;  // items that a repetition counts
constexpr uint64_t kMaxContained = 256;     // minContains
constexpr size_t kMaxCompared = 16;         // items of a prefix, each with each
constexpr uint64_t kMaxUniqueRules = 4096;  // values times counts

void add_to(Nodes& nodes, const Node& node) {
  bool known = std::ranges::any_of(nodes, [&](const Node& have) { return have.id() == node.id(); });
  if (!known) nodes.push_back(node);
}

}  // namespace

// prefixItems in their order, then items. Absent `items` behind a prefix are generated only as far as minItems asks.
Result<ExprId> SchemaBuilder::list_expr(const ArrayShape& array, const std::string& pointer) {
  uint64_t n_prefix = array.prefix.size();
  uint64_t max = array.max_items;
  if (n_prefix > 0 && !array.has_items) max = std::min(max, std::max(n_prefix, array.min_items));
  if (array.unique && max > 1) return unique_items(array, pointer);
  if (array.min_items > max) return rules_.set({});
  if (array.min_items > kMaxRepeats) return schema_error(pointer, fmt::format("minItems above {}", kMaxRepeats));
  ExprId item = rule_for(array.items);
  auto count = [](uint64_t n) { return n > kMaxRepeats ? kUnbounded : static_cast<uint32_t>(n); };
  if (n_prefix == 0) return json_.list('[', ']', item, count(array.min_items), count(max));
  // from the last item to the first: what follows item i, and whether the array may end before it
  uint64_t n_listed = std::min(n_prefix, max);
  std::vector<ExprId> tail_parts;
  if (max > n_listed) {
    ExprId next = rules_.sequence({rules_.text(","), json_.space(), item});
    uint64_t least = array.min_items > n_listed ? array.min_items - n_listed : 0;
    tail_parts.push_back(rules_.repeat(next, count(least), max > kMaxRepeats ? kUnbounded : count(max - n_listed)));
  }
  tail_parts.push_back(json_.space());
  ExprId tail = rules_.sequence(std::move(tail_parts));
  for (uint64_t i = n_listed; i-- > 0;) {
    ExprId one = rule_for(array.prefix[i]);
    tail = i == 0 ? rules_.sequence({one, tail}) : rules_.sequence({rules_.text(","), json_.space(), one, tail});
    if (i >= array.min_items) tail = rules_.choice({i == 0 ? rules_.text("") : json_.space(), tail});
    tail = rules_.rule(rules_.add_rule(tail));
  }
  return rules_.sequence({rules_.text("["), json_.space(), tail, rules_.text("]")});
}

// Items that must be there stand at the beginning, or behind the prefix; the others are kept from being too many.
Result<ExprId> SchemaBuilder::array_expr(const ArrayShape& array, const std::string& pointer) {
  bool asks = std::ranges::any_of(array.contained, [](const Contained& c) { return c.min > 0 || c.max < UINT64_MAX; });
  if (!asks) return list_expr(array, pointer);
  std::vector<ExprId> ways;
  for (size_t begin : {size_t{0}, array.prefix.size()}) {
    if (begin == 0 && !ways.empty()) break;
    ArrayShape made = array;
    size_t next = begin;
    bool possible = true;
    for (const Contained& contained : array.contained) {
      if (contained.min > kMaxContained) {
        return schema_error(pointer, fmt::format("minContains above {}", kMaxContained));
      }
      possible = possible && contained.min <= contained.max;
      size_t first = next;
      next += contained.min;
      while (made.prefix.size() < next) made.prefix.push_back(made.items);
      for (size_t i = first; i < next; ++i) add_to(made.prefix[i], contained.node);
      if (contained.max == UINT64_MAX) continue;
      Node other = contained.node;
      other.sense = Sense::kFails;
      for (size_t i = 0; i < made.prefix.size(); ++i) {
        if (i < first || i >= next) add_to(made.prefix[i], other);
      }
      add_to(made.items, other);
      made.has_items = true;
    }
    made.min_items = std::max<uint64_t>(made.min_items, next);
    if (!array.has_items && array.prefix.empty()) made.has_items = true;  // what is not said of items allows any
    if (possible && made.min_items <= made.max_items) ways.push_back(TRY(list_expr(made, pointer)));
  }
  return ways.empty() ? rules_.set({}) : rules_.choice(std::move(ways));
}

// The items of the prefix, which suffice, differ whatever they are.
Result<bool> SchemaBuilder::differ(const ArrayShape& array) {
  size_t n = array.prefix.size();
  if (n == 0 || n > kMaxCompared || array.min_items > n) return false;
  std::vector<std::vector<Shape>> shapes;
  for (const Nodes& nodes : array.prefix) shapes.push_back(TRY(reader_.shapes(nodes)));
  for (size_t i = 0; i < n; ++i) {
    for (size_t k = 0; k < i; ++k) {
      for (const Shape& one : shapes[i]) {
        for (const Shape& other : shapes[k]) {
          if (!TRY(disjoint(reader_, one, other, 0))) return false;
        }
      }
    }
  }
  return true;
}

// Items of a list of values: some of them, in the order of that list. Texts: any, and a guard beside the core sees to
// it that none comes twice.
Result<ExprId> SchemaBuilder::unique_items(const ArrayShape& array, const std::string& pointer) {
  if (TRY(differ(array))) {
    ArrayShape different = array;
    different.unique = false;
    different.max_items = std::min<uint64_t>(array.max_items, array.prefix.size());
    return list_expr(different, pointer);
  }
  std::vector<const Json*> values;
  bool listed = array.prefix.empty();
  std::vector<Shape> shapes;
  if (listed) shapes = TRY(reader_.shapes(array.items));
  for (const Shape& shape : shapes) {
    listed = listed && shape.values.has_value();
    if (!listed) break;
    for (const Json* value : *shape.values) {
      bool fits = TRY(has_shape(shape, *value));
      bool known = std::ranges::any_of(values, [&](const Json* have) { return *have == *value; });
      if (fits && !known) values.push_back(value);
    }
  }
  if (!listed) {
    if (array.min_items <= 1) {
      ArrayShape one = array;
      one.unique = false;
      one.max_items = 1;
      return list_expr(one, pointer);
    }
    return schema_error(pointer, "uniqueItems is supported for items of a list of values");
  }
  Members members;
  for (const Json* value : values) members.entries.push_back({.pair = json_.literal(*value), .key = {}});
  members.min = array.min_items;
  members.max = array.max_items;
  bool counts = members.min > 0 || members.max < values.size();
  if (counts && values.size() * (std::min<uint64_t>(members.max, values.size()) + 1) > kMaxUniqueRules) {
    return schema_error(pointer, fmt::format("uniqueItems of {} values beside counts is not supported", values.size()));
  }
  ExprId inside = counts ? TRY(counted_members(members, pointer)) : plain_members(members);
  return rules_.sequence({rules_.text("["), json_.space(), inside, json_.space(), rules_.text("]")});
}

}  // namespace millrace::grammar
