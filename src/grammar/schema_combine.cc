// Combinations of schemas to shapes: references and allOf are merged, anyOf, oneOf, if and the like distribute, and
// what must fail is turned into what holds instead (De Morgan), down to single keywords (schema_negate.cc).
#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "base/macros.h"
#include "grammar/schema_keywords.h"
#include "grammar/schema_merge.h"
#include "grammar/schema_shape.h"

namespace millrace::grammar {
namespace {

constexpr uint64_t kMaxExpansions = 200'000;  // nodes merged for one schema, whatever its size: bounds nested choices
constexpr size_t kMaxPairs = 16;              // branches of a failing oneOf of which two may hold

// What this keyword says of one of the items does not hold.
void add_failing_items(const Node& node, std::string_view keyword, std::vector<Nodes>& branches) {
  const Json& value = *node.schema->find(keyword);
  std::string at = pointer_to(node.pointer, keyword);
  auto add = [&](const Json& item, std::string place, size_t index) {
    Node one = node.part(item, std::move(place), Sense::kItemFails);
    one.index = index;
    branches.push_back({std::move(one)});
  };
  if (value.is_array()) {
    for (size_t i = 0; i < value.size(); ++i) add(value.as_array()[i], pointer_to(at, i), i);
    return;
  }
  const Json* items = node.schema->find("items");
  bool behind_items = keyword == "additionalItems";  // draft 7
  if (behind_items && (items == nullptr || !items->is_array())) return;
  const Json* prefix = behind_items ? items : node.schema->find("prefixItems");
  add(value, at, prefix != nullptr && prefix->is_array() ? prefix->size() : 0);
}

// Whatever it says of a value it says by one reference.
bool is_only_reference(const Json& schema) {
  int n_refs = 0;
  for (const auto& member : schema.as_object().members) {
    const Keyword* keyword = find_keyword(member.first);
    if (keyword == nullptr || keyword->use == KeywordUse::kAnnotation) continue;
    bool is_ref = keyword->name == "$ref" || keyword->name == "$dynamicRef" || keyword->name == "$recursiveRef";
    n_refs += is_ref ? 1 : 0;
    if (!is_ref && keyword->name != "$defs" && keyword->name != "definitions") return false;
  }
  return n_refs == 1;
}

Result<const JsonArray*> list_at(const Json& value, const std::string& at) {
  if (!value.is_array() || value.size() == 0) return schema_error(at, "must be a non-empty array");
  return &value.as_array();
}

}  // namespace

// One of the branches holds, each a list of nodes.
struct ShapeReader::Choice {
  std::string pointer;
  std::vector<Nodes> branches;
  bool exactly_one = false;   // and no second one
  bool some_suffice = false;  // branches that cannot be generated are left out while others can
};

// One conjunction being read: what is merged already and what is still open.
struct ShapeReader::Pending {
  Shape shape;
  std::vector<Node> nodes;
  std::vector<Choice> choices;
  std::set<NodeId> seen;                    // merged or open: each counts once
  const Json* top = nullptr;                // all nodes come from this one
  std::optional<Node> unevaluated_members;  // of `top`
  std::optional<Node> unevaluated_items;
  bool member_failed = false;  // a member is named by a schema that does not hold
  bool empty = false;          // nothing is valid

  void add(Node node) {
    if (seen.insert(node.id()).second) nodes.push_back(std::move(node));
  }
  void choose(std::string pointer, std::vector<Nodes> branches, bool some_suffice) {
    if (branches.size() == 1) {
      for (Node& node : branches[0]) add(std::move(node));
    } else {
      choices.push_back({std::move(pointer), std::move(branches), false, some_suffice});
    }
  }
};

// oneOf is anyOf where no generated value can match two branches; the others are made so.
Result<void> ShapeReader::part_one_of(const Pending& base, Choice& choice) {
  std::vector<std::vector<Shape>> shapes;
  for (const Nodes& branch : choice.branches) {
    Pending one = base;
    one.choices.clear();
    for (const Node& node : branch) one.add(node);
    shapes.emplace_back();
    TRY(expand(std::move(one), shapes.back()));
  }
  for (size_t i = 0; i < shapes.size(); ++i) {
    for (size_t k = 0; k < shapes.size(); ++k) {
      bool apart = i == k;
      if (!apart) {
        apart = true;
        for (const Shape& made : shapes[i]) {
          for (const Shape& other : shapes[k]) apart = apart && TRY(disjoint(*this, made, other, 0));
        }
      }
      if (apart) continue;
      const Node& other = choice.branches[k][0];
      choice.branches[i].push_back(other.failing(*other.schema, other.pointer));
    }
  }
  return {};
}

Result<void> ShapeReader::open(Pending& pending, const Node& node) {
  const Json& schema = *node.schema;
  const std::string& pointer = node.pointer;
  for (const char* name : {"$ref", "$dynamicRef", "$recursiveRef"}) {
    if (schema.find(name) == nullptr) continue;
    Node target = TRY(resolve(node, name));
    if (node.schema == pending.top && is_only_reference(schema)) pending.top = target.schema;
    pending.add(std::move(target));
  }
  if (const Json* all = schema.find("allOf")) {
    std::string at = pointer_to(pointer, "allOf");
    const JsonArray& list = *TRY(list_at(*all, at));
    for (size_t i = 0; i < list.size(); ++i) pending.add(node.part(list[i], pointer_to(at, i)));
  }
  for (const char* name : {"anyOf", "oneOf"}) {
    const Json* any = schema.find(name);
    if (any == nullptr) continue;
    Choice choice{.pointer = pointer_to(pointer, name), .branches = {}, .exactly_one = name[0] == 'o'};
    const JsonArray& list = *TRY(list_at(*any, choice.pointer));
    for (size_t i = 0; i < list.size(); ++i) {
      choice.branches.push_back({node.part(list[i], pointer_to(choice.pointer, i))});
    }
    pending.choices.push_back(std::move(choice));
  }
  if (const Json* refused = schema.find("not")) pending.add(node.failing(*refused, pointer_to(pointer, "not")));
  if (node.schema == pending.top) {
    if (const Json* rest = schema.find("unevaluatedProperties")) {
      pending.unevaluated_members = node.part(*rest, pointer_to(pointer, "unevaluatedProperties"));
    }
    if (const Json* rest = schema.find("unevaluatedItems")) {
      pending.unevaluated_items = node.part(*rest, pointer_to(pointer, "unevaluatedItems"));
    }
  } else if (is_combined(schema)) {
    for (const char* name : {"unevaluatedProperties", "unevaluatedItems"}) {
      if (schema.find(name) == nullptr) continue;
      return schema_error(pointer_to(pointer, name), "is not supported beside combinations inside of another one");
    }
  }
  TRY(open_conditions(pending, node));
  bool possible = TRY(merge_keywords(pending.shape, node));
  pending.empty = pending.empty || !possible;
  return {};
}

// if, then, else; what the presence of a member asks for.
Result<void> ShapeReader::open_conditions(Pending& pending, const Node& node) {
  const Json& schema = *node.schema;
  const std::string& pointer = node.pointer;
  const Json* condition = schema.find("if");
  const Json* then = schema.find("then");
  const Json* other = schema.find("else");
  if (condition != nullptr && (then != nullptr || other != nullptr)) {
    std::string at = pointer_to(pointer, "if");
    Nodes met{node.part(*condition, at)};
    Nodes unmet{node.failing(*condition, at)};
    if (then != nullptr) met.push_back(node.part(*then, pointer_to(pointer, "then")));
    if (other != nullptr) unmet.push_back(node.part(*other, pointer_to(pointer, "else")));
    pending.choose(at, {std::move(met), std::move(unmet)}, false);
  }
  for (const char* name : {"dependentRequired", "dependentSchemas", "dependencies"}) {
    const Json* all = schema.find(name);
    if (all == nullptr) continue;
    std::string at = pointer_to(pointer, name);
    if (!all->is_object()) return schema_error(at, "must be an object");
    for (const auto& [key, asked] : all->as_object().members) {
      std::string place = pointer_to(at, key);
      Nodes with{node.part(asked, place, Sense::kWith, key)};
      if (!asked.is_array()) with.push_back(node.part(asked, place));
      pending.choose(place, {{node.part(asked, place, Sense::kWithout, key)}, std::move(with)}, false);
    }
  }
  return {};
}

// The schema does not hold: one of its keywords fails.
Result<void> ShapeReader::open_failing(Pending& pending, const Node& node) {
  const std::string& pointer = node.pointer;
  std::vector<Nodes> branches;
  const Keyword* unsupported = nullptr;
  for (const auto& member : node.schema->as_object().members) {
    const Json& value = member.second;
    std::string at = pointer_to(pointer, member.first);
    const Keyword* keyword = find_keyword(member.first);
    if (keyword == nullptr || keyword->use == KeywordUse::kAnnotation) continue;
    std::string_view name = keyword->name;
    if (name == "$defs" || name == "definitions") continue;
    if (name == "$ref" || name == "$dynamicRef" || name == "$recursiveRef") {
      Node target = TRY(resolve(node, name));
      target.sense = Sense::kFails;
      branches.push_back({std::move(target)});
    } else if (name == "allOf" || name == "anyOf" || name == "oneOf") {
      const JsonArray& list = *TRY(list_at(value, at));
      Nodes none;
      for (size_t i = 0; i < list.size(); ++i) {
        none.push_back(node.failing(list[i], pointer_to(at, i)));
        if (name == "allOf") branches.push_back({none.back()});
        for (size_t k = 0; name == "oneOf" && k < i && list.size() <= kMaxPairs; ++k) {
          branches.push_back({node.part(list[i], pointer_to(at, i)), node.part(list[k], pointer_to(at, k))});
        }
      }
      if (name != "allOf") branches.push_back(std::move(none));
    } else if (name == "not") {
      branches.push_back({node.part(value, at)});
    } else if (name == "if") {
      const Json* then = node.schema->find("then");
      const Json* other = node.schema->find("else");
      if (then != nullptr) {
        branches.push_back({node.part(value, at), node.failing(*then, pointer_to(pointer, "then"))});
      }
      if (other != nullptr) {
        branches.push_back({node.failing(value, at), node.failing(*other, pointer_to(pointer, "else"))});
      }
    } else if (name == "properties" && value.is_object()) {
      for (const auto& [key, schema] : value.as_object().members) {
        branches.push_back({node.part(schema, pointer_to(at, key), Sense::kMemberFails, key)});
      }
    } else if (name == "required" && value.is_array()) {
      for (const Json& key : value.as_array()) {
        if (key.is_string()) branches.push_back({node.part(value, at, Sense::kWithout, key.as_string())});
      }
    } else if (name == "prefixItems" || name == "items" || name == "additionalItems") {
      add_failing_items(node, name, branches);
    } else if (can_fail(*node.schema, name)) {
      branches.push_back({node.part(*node.schema, at, Sense::kKeywordFails, name)});
    } else {
      unsupported = keyword;
    }
  }
  if (unsupported != nullptr) {
    Error error =
        schema_error(pointer_to(pointer, unsupported->name),
                     fmt::format("\"{}\" under \"not\", \"if\" or \"oneOf\" is not supported", unsupported->name));
    if (branches.empty()) return error;
    leave_out(error);
  }
  pending.empty = pending.empty || branches.empty();
  if (!branches.empty()) pending.choose(pointer, std::move(branches), true);
  return {};
}

Result<void> ShapeReader::expand(Pending&& pending, std::vector<Shape>& out) {
  while (!pending.nodes.empty() && !pending.empty) {
    Node node = std::move(pending.nodes.back());
    pending.nodes.pop_back();
    if (++n_expansions_ > kMaxExpansions) {
      return Error{ErrorCode::kConstraintTooCostly,
                   fmt::format("{}: the choices of this schema multiply beyond {} parts", node.pointer, kMaxExpansions),
                   ""};
    }
    bool whole = node.sense == Sense::kHolds || node.sense == Sense::kFails;
    if (whole) node.scope = TRY(resources_.enter(node.scope, *node.schema, node.pointer));
    if (!whole) {
      pending.member_failed |= node.sense == Sense::kMemberFails;
      bool possible = TRY(merge_part(pending.shape, node));
      pending.empty = pending.empty || !possible;
    } else if (node.schema->is_bool()) {
      pending.empty = node.schema->as_bool() != (node.sense == Sense::kHolds);
    } else if (!node.schema->is_object()) {
      return schema_error(node.pointer, "must be an object or a boolean");
    } else {
      TRY(node.sense == Sense::kHolds ? open(pending, node) : open_failing(pending, node));
    }
  }
  if (pending.empty || pending.shape.types == 0) return {};
  if (!pending.choices.empty()) {
    Choice choice = std::move(pending.choices.back());
    pending.choices.pop_back();
    return take_branches(pending, std::move(choice), out);
  }
  Shape& shape = pending.shape;
  if (pending.unevaluated_members && !shape.object.has_additional) {
    if (pending.member_failed) {
      return schema_error(pending.unevaluated_members->pointer, "is not supported beside \"not\" of properties");
    }
    shape.object.additional = {*pending.unevaluated_members};
    shape.object.has_additional = true;
  }
  if (pending.unevaluated_items && !shape.array.has_items) {
    // what `contains` holds for counts as evaluated; here it must be unevaluated, too
    if (!shape.array.contained.empty()) {
      leave_out(schema_error(pending.unevaluated_items->pointer, "beside \"contains\" is not supported"));
    }
    shape.array.items.push_back(*pending.unevaluated_items);
    shape.array.has_items = true;
  }
  merge_arrays(shape.array, shape.unmet);
  out.push_back(std::move(shape));
  if (static_cast<int64_t>(out.size()) > limits_.alternatives) {
    return schema_error(out.back().pointer, fmt::format("more than {} alternatives", limits_.alternatives));
  }
  return {};
}

Result<void> ShapeReader::take_branches(const Pending& pending, Choice&& choice, std::vector<Shape>& out) {
  if (choice.exactly_one && choice.branches.size() > 1) TRY(part_one_of(pending, choice));
  std::optional<Error> first;
  bool any = false;
  for (Nodes& branch : choice.branches) {
    Pending one = pending;
    for (Node& node : branch) one.add(std::move(node));
    Result<void> expanded = expand(std::move(one), out);
    any |= expanded.ok();
    if (expanded.ok()) continue;
    Error error = expanded.take_error();
    if (!choice.some_suffice || error.code != ErrorCode::kInvalidSchema) return error;
    leave_out(error);
    if (!first) first = std::move(error);
  }
  if (!any && first) return std::move(*first);
  return {};
}

Result<std::vector<Shape>> ShapeReader::shapes(const Nodes& nodes) {
  Pending pending;
  if (!nodes.empty()) pending.shape.pointer = nodes[0].pointer;
  if (nodes.size() == 1 && nodes[0].sense == Sense::kHolds) pending.top = nodes[0].schema;
  for (const Node& node : nodes) pending.add(node);
  std::ranges::reverse(pending.nodes);  // read in order
  std::vector<Shape> out;
  TRY(expand(std::move(pending), out));
  return out;
}

}  // namespace millrace::grammar
