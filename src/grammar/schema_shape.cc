// Pointers and references. schema_combine.cc has the combinations, schema_merge.cc the keywords one by one.
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

Result<Node> ShapeReader::resolve(const Json& ref, const std::string& pointer) const {
  if (!ref.is_string()) return schema_error(pointer, "must be a string");
  std::string_view target = ref.as_string();
  std::string shown = quote_for_message(target, 100);
  const Json* id = root_->find("$id");
  if (id == nullptr) id = root_->find("id");
  if (id != nullptr && id->is_string()) {  // the document by its own name
    std::string_view name = id->as_string();
    if (name.ends_with('#')) name.remove_suffix(1);
    bool own =
        !name.empty() && target.starts_with(name) && (target.size() == name.size() || target[name.size()] == '#');
    if (own) target.remove_prefix(name.size());
    if (own && target.empty()) target = "#";
  }
  if (!target.starts_with('#')) return schema_error(pointer, fmt::format("remote $ref \"{}\" not allowed", shown));
  const Json* at = root_;
  std::string_view rest = target.substr(1);
  if (!rest.empty() && rest[0] != '/') {
    at = find_anchor(*root_, rest);
    if (at == nullptr) return schema_error(pointer, fmt::format("$ref \"{}\" not found", shown));
    return Node{at, std::string(target)};
  }
  while (!rest.empty()) {
    rest.remove_prefix(1);
    std::string_view part = rest.substr(0, rest.find('/'));
    rest.remove_prefix(part.size());
    at = find_by_pointer(*at, part);
    if (at == nullptr) return schema_error(pointer, fmt::format("$ref \"{}\" not found", shown));
  }
  return Node{at, std::string(target)};
}

}  // namespace millrace::grammar
