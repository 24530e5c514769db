// Schemas that say of one and the same value that it is what they themselves say, without an end: by $ref, allOf, anyOf
// and the like alone. No value is known to satisfy one, and validators do not come back from it.
#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/macros.h"
#include "grammar/schema_shape.h"

namespace millrace::grammar {
namespace {

constexpr std::array<std::string_view, 4> kSame = {"not", "if", "then", "else"};
constexpr std::array<std::string_view, 3> kSameLists = {"allOf", "anyOf", "oneOf"};
constexpr std::array<std::string_view, 8> kParts = {
    "additionalProperties", "unevaluatedProperties", "propertyNames", "items",
    "additionalItems",      "unevaluatedItems",      "contains",      "prefixItems"};
constexpr std::array<std::string_view, 2> kPartMaps = {"properties", "patternProperties"};
constexpr std::array<std::string_view, 2> kSameMaps = {"dependentSchemas", "dependencies"};

template <size_t N>
bool has(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

}  // namespace

// Depth first along what holds for the same value; what holds for parts of it begins anew.
Result<void> ShapeReader::check_cycles() {
  enum class Mark : uint8_t { kOpen, kDone };
  struct Visit {
    Node node;
    bool leave = false;
  };
  std::map<std::pair<const Json*, DynamicScope>, Mark> marks;
  std::vector<Node> parts{{root_, "#"}};
  while (!parts.empty()) {
    std::vector<Visit> path{{std::move(parts.back())}};
    parts.pop_back();
    while (!path.empty()) {
      Visit visit = std::move(path.back());
      path.pop_back();
      Node& node = visit.node;
      const Json& schema = *node.schema;
      const std::string& pointer = node.pointer;
      if (visit.leave) {
        marks[{&schema, node.scope}] = Mark::kDone;
        continue;
      }
      if (!schema.is_object()) continue;
      node.scope = TRY(resources_.enter(node.scope, schema, pointer));
      auto [mark, is_new] = marks.try_emplace({&schema, node.scope}, Mark::kOpen);
      if (!is_new && mark->second == Mark::kOpen) {
        return schema_error(pointer, "a schema that is defined by itself, for the same value");
      }
      if (!is_new) continue;
      path.push_back({node, true});
      auto same = [&](const Json& next, std::string at) { path.push_back({node.part(next, std::move(at))}); };
      for (const auto& [name, value] : schema.as_object().members) {
        if (name == "$ref" || name == "$dynamicRef" || name == "$recursiveRef") {
          Result<Node> target = resolve(node, name);
          if (target.ok()) path.push_back({std::move(*target)});  // otherwise said where it is read
        } else if (has(kSame, name)) {
          same(value, pointer_to(pointer, name));
        } else if (has(kSameLists, name) && value.is_array()) {
          for (size_t i = 0; i < value.size(); ++i) {
            same(value.as_array()[i], pointer_to(pointer_to(pointer, name), i));
          }
        } else if (has(kParts, name) && value.is_array()) {
          for (size_t i = 0; i < value.size(); ++i) {
            parts.push_back(node.part(value.as_array()[i], pointer_to(pointer_to(pointer, name), i)));
          }
        } else if (has(kParts, name)) {
          parts.push_back(node.part(value, pointer_to(pointer, name)));
        } else if ((has(kPartMaps, name) || has(kSameMaps, name)) && value.is_object()) {
          for (const auto& [key, part] : value.as_object().members) {
            std::string at = pointer_to(pointer_to(pointer, name), key);
            if (has(kSameMaps, name)) {
              same(part, std::move(at));
            } else {
              parts.push_back(node.part(part, std::move(at)));
            }
          }
        }
      }
    }
  }
  return {};
}

}  // namespace millrace::grammar
