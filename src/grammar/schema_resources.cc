#include "grammar/schema_resources.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "base/macros.h"
#include "grammar/schema_merge.h"

namespace millrace::grammar {
namespace {

constexpr size_t kMaxScopes = 64;
constexpr uint32_t kTwice = UINT32_MAX;  // in place of a resource: two schemas with one URI

constexpr std::array<std::string_view, 16> kSchemas = {  // or lists of them
    "not",           "if",      "then",  "else",  "additionalProperties", "unevaluatedProperties", "propertyNames",
    "items",         "allOf",   "anyOf", "oneOf", "prefixItems",          "additionalItems",       "unevaluatedItems",
    "contentSchema", "contains"};
constexpr std::array<std::string_view, 6> kMaps = {"$defs",        "definitions",       "properties",
                                                   "dependencies", "patternProperties", "dependentSchemas"};

template <class What>
void each_schema_in(const Json& schema, What&& what) {
  for (const auto& [name, value] : schema.as_object().members) {
    if (std::ranges::find(kSchemas, name) != kSchemas.end()) {
      if (!value.is_array()) what(value);
      for (size_t i = 0; value.is_array() && i < value.size(); ++i) what(value.as_array()[i]);
    } else if (value.is_object() && std::ranges::find(kMaps, name) != kMaps.end()) {
      for (const auto& member : value.as_object().members) what(member.second);
    }
  }
}

const std::string* text_of(const Json& schema, std::string_view keyword) {
  const Json* value = schema.find(keyword);
  return value != nullptr && value->is_string() ? &value->as_string() : nullptr;
}

std::string_view without_fragment(std::string_view uri) { return uri.substr(0, uri.find('#')); }

// RFC 3986, appendix B. What is absent has no data pointer.
struct Uri {
  std::string_view scheme;
  std::string_view authority;
  std::string_view path;
  std::string_view query;
  std::string_view fragment;
};

bool is_there(std::string_view part) { return part.data() != nullptr; }

Uri parse(std::string_view text) {
  Uri out;
  size_t at = text.find('#');
  if (at != text.npos) {
    out.fragment = text.substr(at + 1);
    text = text.substr(0, at);
  }
  at = text.find('?');
  if (at != text.npos) {
    out.query = text.substr(at + 1);
    text = text.substr(0, at);
  }
  at = text.find_first_of(":/");
  if (at != text.npos && at > 0 && text[at] == ':') {
    out.scheme = text.substr(0, at);
    text.remove_prefix(at + 1);
  }
  if (text.starts_with("//")) {
    out.authority = text.substr(2, text.substr(2).find('/'));
    text.remove_prefix(2 + out.authority.size());
  }
  out.path = text;
  return out;
}

// RFC 3986, 5.2.4.
std::string without_dots(std::string_view path) {
  std::string out;
  while (!path.empty()) {
    if (path.starts_with("../")) {
      path.remove_prefix(3);
    } else if (path.starts_with("./") || path.starts_with("/./")) {
      path.remove_prefix(2);
    } else if (path == "/.") {
      path = "/";
    } else if (path.starts_with("/../") || path == "/..") {
      path = path.size() == 3 ? "/" : path.substr(3);
      size_t last = out.rfind('/');
      out.resize(last == out.npos ? 0 : last);
    } else if (path == "." || path == "..") {
      break;
    } else {
      size_t end = std::min(path.find('/', 1), path.size());
      out += path.substr(0, end);
      path.remove_prefix(end);
    }
  }
  return out;
}

}  // namespace

std::string resolve_uri(std::string_view base_text, std::string_view reference) {
  Uri base = parse(base_text);
  Uri to = parse(reference);
  std::string path;
  if (is_there(to.scheme) || is_there(to.authority) || to.path.starts_with('/')) {
    path = without_dots(to.path);
  } else if (to.path.empty()) {
    path = base.path;
    if (!is_there(to.query)) to.query = base.query;
  } else {  // 5.2.3
    bool top = is_there(base.authority) && base.path.empty();
    size_t n_kept = base.path.rfind('/') == base.path.npos ? 0 : base.path.rfind('/') + 1;
    path = without_dots((top ? "/" : std::string(base.path.substr(0, n_kept))) + std::string(to.path));
  }
  if (!is_there(to.scheme)) {
    to.scheme = base.scheme;
    if (!is_there(to.authority)) to.authority = base.authority;
  }
  std::string out;  // 5.3
  if (is_there(to.scheme)) out += fmt::format("{}:", to.scheme);
  if (is_there(to.authority)) out += fmt::format("//{}", to.authority);
  out += path;
  if (is_there(to.query)) out += fmt::format("?{}", to.query);
  if (is_there(to.fragment)) out += fmt::format("#{}", to.fragment);
  return out;
}

SchemaResources::SchemaResources(const Json& root) {
  const std::string* name = text_of(root, "$id");
  if (name == nullptr) name = text_of(root, "id");  // draft 4
  add_resource(root, name == nullptr ? "" : resolve_uri("", without_fragment(*name)));
  struct Open {
    const Json* schema = nullptr;
    ResourceId resource = 0;
  };
  std::vector<Open> open{{&root, 0}};
  while (!open.empty()) {
    auto [schema, resource] = open.back();
    open.pop_back();
    if (!schema->is_object()) continue;
    const std::string* id = schema == &root ? nullptr : text_of(*schema, "$id");
    if (id != nullptr && without_fragment(*id).size() + 1 >= id->size()) {  // a fragment names no resource: 8.2.1
      std::string uri = resolve_uri(resources_[resource].uri, without_fragment(*id));
      if (uri != resources_[resource].uri) {
        resource = static_cast<ResourceId>(resources_.size());
        add_resource(*schema, std::move(uri));
        resource_of_[schema] = resource;
      }
    }
    add_anchors(*schema, resources_[resource]);
    for (const char* keyword : {"$ref", "$dynamicRef", "$recursiveRef"}) {
      const Json* ref = schema->find(keyword);
      if (ref != nullptr && resource != 0) resource_of_[ref] = resource;
    }
    each_schema_in(*schema, [&, resource = resource](const Json& part) { open.push_back({&part, resource}); });
  }
}

void SchemaResources::add_resource(const Json& schema, std::string uri) {
  auto id = static_cast<ResourceId>(resources_.size());
  auto [known, is_new] = by_uri_.try_emplace(uri, id);
  bool same = !is_new && known->second != kTwice && *resources_[known->second].schema == schema;
  if (!is_new && !same) known->second = kTwice;
  resources_.push_back({.uri = std::move(uri), .schema = &schema, .anchors = {}, .dynamic_anchors = {}});
}

void SchemaResources::add_anchors(const Json& schema, Resource& resource) {
  if (const std::string* name = text_of(schema, "$anchor")) resource.anchors.try_emplace(*name, &schema);
  if (const std::string* name = text_of(schema, "$dynamicAnchor")) {
    resource.anchors.try_emplace(*name, &schema);
    resource.dynamic_anchors.try_emplace(*name, &schema);
  }
  const Json* recursive = schema.find("$recursiveAnchor");  // draft 2019-09
  bool is_recursive = recursive != nullptr && recursive->is_bool() && recursive->as_bool();
  if (is_recursive && &schema == resource.schema) resource.dynamic_anchors.try_emplace("", &schema);
}

SchemaResources::ResourceId SchemaResources::resource_of(const Json& value) const {
  auto found = resource_of_.find(&value);
  return found == resource_of_.end() ? 0 : found->second;
}

Result<SchemaResources::Target> SchemaResources::resolve(const Json& ref, std::string_view keyword, DynamicScope scope,
                                                         std::string_view at) {
  if (!ref.is_string()) return schema_error(at, "must be a string");
  std::string_view text = ref.as_string();
  std::string shown = quote_for_message(text, 100);
  std::string_view document = without_fragment(text);
  std::string_view fragment = text.size() > document.size() ? text.substr(document.size() + 1) : std::string_view();
  ResourceId id = resource_of(ref);
  if (!document.empty()) {
    auto found = by_uri_.find(resolve_uri(resources_[id].uri, document));
    if (found == by_uri_.end()) return schema_error(at, fmt::format("remote $ref \"{}\" not allowed", shown));
    if (found->second == kTwice) return schema_error(at, fmt::format("$ref \"{}\": two schemas have this $id", shown));
    id = found->second;
  }
  const Resource* resource = &resources_[id];
  Error not_found = schema_error(at, fmt::format("$ref \"{}\" not found", shown));
  const Json* schema = resource->schema;
  if (fragment.empty() || fragment[0] == '/') {
    for (std::string_view rest = fragment; !rest.empty();) {
      rest.remove_prefix(1);
      std::string_view part = rest.substr(0, rest.find('/'));
      rest.remove_prefix(part.size());
      schema = find_by_pointer(*schema, part);
      if (schema == nullptr) return not_found;
    }
  } else {
    auto anchor = resource->anchors.find(fragment);
    if (anchor == resource->anchors.end()) return not_found;
    schema = anchor->second;
  }
  bool dynamic = keyword == "$recursiveRef" || (keyword == "$dynamicRef" && !fragment.empty());
  auto own = resource->dynamic_anchors.find(fragment);
  if (dynamic && own != resource->dynamic_anchors.end() && own->second == schema) {
    if (const Resource* outer = outermost(scope, fragment)) {
      resource = outer;
      schema = outer->dynamic_anchors.at(fragment);
    }
  }
  id = static_cast<ResourceId>(resource - resources_.data());
  std::string pointer = fmt::format("{}#{}", id == 0 ? "" : resource->uri, fragment);
  return Target{schema, std::move(pointer), TRY(enter_resource(scope, id, at))};
}

const SchemaResources::Resource* SchemaResources::outermost(DynamicScope scope, std::string_view anchor) const {
  const Resource* out = nullptr;
  for (; scope != 0; scope = scopes_[scope].outer) {
    const Resource& resource = resources_[scopes_[scope].resource];
    if (resource.dynamic_anchors.contains(anchor)) out = &resource;
  }
  return out;
}

Result<DynamicScope> SchemaResources::enter(DynamicScope scope, const Json& schema, std::string_view at) {
  ResourceId id = resource_of(schema);
  if (resources_[id].schema != &schema) return scope;
  return enter_resource(scope, id, at);
}

Result<DynamicScope> SchemaResources::enter_resource(DynamicScope scope, ResourceId id, std::string_view at) {
  if (resources_[id].dynamic_anchors.empty()) return scope;
  auto known = entered_.find({scope, id});
  if (known != entered_.end()) return known->second;
  bool tells = std::ranges::any_of(resources_[id].dynamic_anchors,
                                   [&](const auto& row) { return outermost(scope, row.first) == nullptr; });
  DynamicScope inside = scope;  // unless one of its anchors had no meaning yet
  if (tells) {
    if (scopes_.size() > kMaxScopes) {
      return schema_error(at, fmt::format("$dynamicRef: more than {} dynamic scopes are not supported", kMaxScopes));
    }
    inside = static_cast<DynamicScope>(scopes_.size());
    scopes_.push_back({scope, id});
  }
  entered_[{scope, id}] = inside;
  return inside;
}

}  // namespace millrace::grammar
