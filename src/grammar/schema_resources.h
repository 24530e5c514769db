// Where references lead inside a schema document (JSON Schema 2020-12, core): its resources, which are the document and
// every schema in it with an $id (8.2.1), their anchors (8.2.2), and the dynamic scopes that $dynamicRef asks for
// (7.1, 8.2.3.2). Only places that hold schemas count: an $id inside a const or an unknown keyword names nothing.
// Thread: any. The document outlives everything here.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace millrace::grammar {

// A reference against a base, both without or with a fragment (RFC 3986, 5.2).
std::string resolve_uri(std::string_view base, std::string_view reference);

// The resources with dynamic anchors that lead to a schema, the outermost first; 0: none.
using DynamicScope = uint32_t;

class SchemaResources {
 public:
  struct Target {
    const Json* schema = nullptr;
    std::string pointer;  // "#/$defs/a", behind the URI of an embedded resource
    DynamicScope scope = 0;
  };

  explicit SchemaResources(const Json& root);

  // ref: the value of `keyword` ($ref, $dynamicRef, $recursiveRef), in the document; at: its pointer, for messages.
  // kInvalidSchema when it leads out of the document or nowhere.
  Result<Target> resolve(const Json& ref, std::string_view keyword, DynamicScope scope, std::string_view at);
  // The scope inside a schema that stands in `scope`. kInvalidSchema: too many of them.
  Result<DynamicScope> enter(DynamicScope scope, const Json& schema, std::string_view at);

 private:
  using ResourceId = uint32_t;
  struct Resource {
    std::string uri;
    const Json* schema = nullptr;
    std::map<std::string_view, const Json*> anchors;
    std::map<std::string_view, const Json*> dynamic_anchors;  // "": $recursiveAnchor
  };
  struct Scope {
    DynamicScope outer = 0;
    ResourceId resource = 0;
  };

  void add_resource(const Json& schema, std::string uri);
  void add_anchors(const Json& schema, Resource& resource);
  ResourceId resource_of(const Json& value) const;
  // Where the outermost resource of the scope with this anchor has it; nullptr: none has.
  const Resource* outermost(DynamicScope scope, std::string_view anchor) const;
  Result<DynamicScope> enter_resource(DynamicScope scope, ResourceId resource, std::string_view at);

  std::vector<Resource> resources_;  // the document first
  std::map<std::string, ResourceId> by_uri_;
  std::unordered_map<const Json*, ResourceId> resource_of_;  // of embedded resources, and of references in them
  std::vector<Scope> scopes_ = std::vector<Scope>(1);
  std::map<std::pair<DynamicScope, ResourceId>, DynamicScope> entered_;
};

}  // namespace millrace::grammar
