// Combinations and references; schema_merge.cc has the keywords one by one.
#include "grammar/schema_shape.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "base/macros.h"
#include "grammar/schema_keywords.h"
#include "grammar/schema_merge.h"

namespace millrace::grammar {
namespace {

constexpr uint64_t kMaxExpansions = 200'000;  // nodes merged for one schema, whatever its size: bounds nested choices

}  // namespace

Error schema_error(std::string_view pointer, std::string_view what) {
  return {ErrorCode::kInvalidSchema, fmt::format("{}: {}", quote_for_message(pointer, 200), what), ""};
}

std::string pointer_to(std::string_view pointer, std::string_view key) {
  std::string out(pointer);
  out += '/';
  for (char c : key) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

std::string pointer_to(std::string_view pointer, size_t index) { return fmt::format("{}/{}", pointer, index); }

Nodes* ObjectShape::find(std::string_view name) {
  auto found = std::ranges::find_if(properties, [&](const auto& p) { return p.first == name; });
  return found == properties.end() ? nullptr : &found->second;
}

const Nodes* ObjectShape::find(std::string_view name) const {
  auto found = std::ranges::find_if(properties, [&](const auto& p) { return p.first == name; });
  return found == properties.end() ? nullptr : &found->second;
}

// One conjunction being read: what is merged already and what is still open.
struct ShapeReader::Pending {
  Shape shape;
  std::vector<Node> nodes;
  std::vector<Node> choices;   // anyOf and oneOf arrays
  std::set<const Json*> seen;  // merged or open: each counts once
  bool empty = false;          // nothing is valid

  void add(Node node) {
    if (seen.insert(node.schema).second) nodes.push_back(std::move(node));
  }
};

Result<ShapeReader> ShapeReader::create(const Json& root, const SchemaLimits& limits) {
  TRY(check_schema_size(root, limits));
  return ShapeReader(root, limits);
}

Result<Node> ShapeReader::resolve(const Json& ref, const std::string& pointer) const {
  if (!ref.is_string()) return schema_error(pointer, "must be a string");
  std::string_view target = ref.as_string();
  std::string shown = quote_for_message(target, 100);
  if (!target.starts_with('#')) return schema_error(pointer, fmt::format("remote $ref \"{}\" not allowed", shown));
  const Json* at = root_;
  std::string_view rest = target.substr(1);
  if (!rest.empty() && rest[0] != '/') return schema_error(pointer, fmt::format("$ref \"{}\" not found", shown));
  while (!rest.empty()) {
    rest.remove_prefix(1);
    std::string_view part = rest.substr(0, rest.find('/'));
    rest.remove_prefix(part.size());
    at = find_by_pointer(*at, part);
    if (at == nullptr) return schema_error(pointer, fmt::format("$ref \"{}\" not found", shown));
  }
  return Node{at, std::string(target)};
}

// oneOf is anyOf when no generated value can match two branches.
Result<void> ShapeReader::check_one_of(const Pending& base, const Node& node) {
  std::vector<std::vector<Shape>> branches;
  const JsonArray& array = node.schema->as_array();
  for (size_t i = 0; i < array.size(); ++i) {
    Pending one = base;
    one.choices.clear();
    one.add({&array[i], pointer_to(node.pointer, i)});
    branches.emplace_back();
    TRY(expand(std::move(one), branches.back()));
  }
  for (size_t i = 0; i < branches.size(); ++i) {
    for (size_t k = 0; k < branches.size(); ++k) {
      if (i == k) continue;
      for (const Shape& made : branches[i]) {
        for (const Shape& other : branches[k]) {
          if (TRY(disjoint(*this, made, other, 0))) continue;
          return schema_error(node.pointer,
                              fmt::format("branches {} and {} may both match: this oneOf is not supported",
                                          std::min(i, k), std::max(i, k)));
        }
      }
    }
  }
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
    if (node.schema->is_bool()) {
      pending.empty = !node.schema->as_bool();
      continue;
    }
    if (!node.schema->is_object()) return schema_error(node.pointer, "must be an object or a boolean");
    if (const Json* ref = node.schema->find("$ref")) {
      pending.add(TRY(resolve(*ref, pointer_to(node.pointer, "$ref"))));
    }
    if (const Json* all = node.schema->find("allOf")) {
      std::string at = pointer_to(node.pointer, "allOf");
      if (!all->is_array() || all->size() == 0) return schema_error(at, "must be a non-empty array");
      for (size_t i = 0; i < all->size(); ++i) pending.add({&all->as_array()[i], pointer_to(at, i)});
    }
    for (const char* name : {"anyOf", "oneOf"}) {
      const Json* any = node.schema->find(name);
      if (any == nullptr) continue;
      std::string at = pointer_to(node.pointer, name);
      if (!any->is_array() || any->size() == 0) return schema_error(at, "must be a non-empty array");
      pending.choices.push_back({any, std::move(at)});
    }
    pending.empty = !TRY(merge(pending.shape, node)) || pending.empty;
  }
  if (pending.empty || pending.shape.types == 0) return {};
  if (pending.choices.empty()) {
    out.push_back(std::move(pending.shape));
    if (static_cast<int64_t>(out.size()) > limits_.alternatives) {
      return schema_error(out.back().pointer, fmt::format("more than {} alternatives", limits_.alternatives));
    }
    return {};
  }
  Node choice = std::move(pending.choices.back());
  pending.choices.pop_back();
  if (choice.pointer.ends_with("/oneOf") && choice.schema->size() > 1) TRY(check_one_of(pending, choice));
  const JsonArray& branches = choice.schema->as_array();
  for (size_t i = 0; i < branches.size(); ++i) {
    Pending one = pending;
    one.add({&branches[i], pointer_to(choice.pointer, i)});
    TRY(expand(std::move(one), out));
  }
  return {};
}

Result<std::vector<Shape>> ShapeReader::shapes(const Nodes& nodes) {
  Pending pending;
  if (!nodes.empty()) pending.shape.pointer = nodes[0].pointer;
  for (const Node& node : nodes) pending.add(node);
  std::ranges::reverse(pending.nodes);  // read in order
  std::vector<Shape> out;
  TRY(expand(std::move(pending), out));
  return out;
}

Result<bool> ShapeReader::merge(Shape& shape, const Node& node) const { return merge_keywords(shape, node); }

}  // namespace millrace::grammar
