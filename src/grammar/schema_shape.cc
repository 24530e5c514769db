// Pointers and nodes. schema_combine.cc has the combinations, schema_merge.cc the keywords one by one.
#include "grammar/schema_shape.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/macros.h"
#include "grammar/schema_merge.h"

namespace millrace::grammar {
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

bool is_false(const Nodes& nodes) {
  return std::ranges::any_of(nodes, [](const Node& node) {
    bool wanted = node.sense == Sense::kHolds;
    if (!wanted && node.sense != Sense::kFails) return node.sense == Sense::kNever;
    return node.schema->is_bool() && node.schema->as_bool() != wanted;
  });
}

Result<ShapeReader> ShapeReader::create(const Json& root, const SchemaLimits& limits) {
  TRY(check_schema_size(root, limits));
  ShapeReader reader(root, limits);
  TRY(reader.check_cycles());
  return reader;
}

Result<Node> ShapeReader::resolve(const Node& node, std::string_view name) {
  std::string at = pointer_to(node.pointer, name);
  auto target = TRY(resources_.resolve(*node.schema->find(name), name, node.scope, at));
  return Node{target.schema, std::move(target.pointer), Sense::kHolds, {}, target.scope};
}

}  // namespace millrace::grammar
