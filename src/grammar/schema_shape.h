// Shapes: what a JSON schema says, without references and combinations. A schema is a list of shapes, of which a valid
// value has one (anyOf, oneOf distribute; allOf and $ref merge). Schemas of parts stay unread inside a shape, as lists
// of nodes that all must hold, so that references may be cyclic.
//  1. Whatever has a shape is valid by the specification; some valid values have none (docs: src/grammar/README.md).
// Thread: any. The schema outlives everything here.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "grammar/schema_resources.h"

namespace millrace::grammar {

struct SchemaLimits {
  int64_t bytes = 256 * 1024;
  int64_t depth = 64;  // levels of schemas; what is no schema counts as JSON
  int64_t enum_values = 10'000;
  int64_t alternatives = 1'000;
  int64_t properties = 10'000;
  int64_t refs = 2'000;
};

// What a node says of the schema it names.
enum class Sense : uint8_t {
  kHolds,
  kFails,         // it does not hold
  kKeywordFails,  // its keyword `key` does not
  kMemberFails,   // an object has the member `key`, for which the schema does not hold
  kItemFails,     // an array has the item `index`, for which the schema does not hold
  kWithout,       // an object without the member `key`; the schema is any
  kWith,          // an object has the member `key` and those that the schema lists; no object: true
  kNever,         // nothing is valid
};

// A schema inside the document, with its place as a JSON pointer ("#/properties/a").
struct Node {
  const Json* schema = nullptr;
  std::string pointer;
  Sense sense = Sense::kHolds;
  std::string_view key = {};  // of the document
  DynamicScope scope = 0;     // that it stands in
  size_t index = 0;           // of kItemFails
  auto id() const { return std::tuple(schema, sense, key, scope); }
  // One that stands in this one.
  Node part(const Json& inner, std::string at, Sense says = Sense::kHolds, std::string_view name = {}) const {
    return {&inner, std::move(at), says, name, scope};
  }
  Node failing(const Json& inner, std::string at) const { return part(inner, std::move(at), Sense::kFails); }
};
using NodeId = std::tuple<const Json*, Sense, std::string_view, DynamicScope>;
// All of them hold; empty: anything.
using Nodes = std::vector<Node>;
// One of them allows nothing, as can be seen.
bool is_false(const Nodes& nodes);

using TypeSet = uint8_t;
constexpr TypeSet kNull = 1;
constexpr TypeSet kBoolean = 2;
constexpr TypeSet kInteger = 4;   // whole numbers
constexpr TypeSet kFraction = 8;  // the other numbers; `number` is both
constexpr TypeSet kString = 16;
constexpr TypeSet kArray = 32;
constexpr TypeSet kObject = 64;
constexpr TypeSet kAnyType = 127;

struct NumberBounds {
  std::optional<double> min;
  std::optional<double> max;
  bool min_open = false;
  bool max_open = false;
  std::vector<double> factors;  // all multipleOf
  uint32_t multiple_of = 0;     // whole multiples of this are generated: they are multiples of all factors; 0 = none
};

struct StringBounds {
  uint64_t min_length = 0;
  uint64_t max_length = UINT64_MAX;  // characters
  std::vector<std::string> patterns;
  std::string format;
  bool any_length() const { return min_length == 0 && max_length == UINT64_MAX; }
};

// contains, with minContains and maxContains.
struct Contained {
  Node node;
  uint64_t min = 1;
  uint64_t max = UINT64_MAX;
};

struct ArrayShape {
  std::vector<Nodes> prefix;
  Nodes items;             // of what follows the prefix
  bool has_items = false;  // said something about them
  uint64_t min_items = 0;
  uint64_t max_items = UINT64_MAX;
  bool unique = false;
  std::vector<Contained> contained;
};

struct ObjectShape {
  std::vector<std::pair<std::string, Nodes>> properties;  // in order of their appearance
  std::vector<std::string> required;                      // unique
  std::vector<std::pair<std::string, Nodes>> patterns;    // patternProperties
  Nodes additional;
  bool has_additional = false;
  Nodes names;  // propertyNames
  uint64_t min_properties = 0;
  uint64_t max_properties = UINT64_MAX;

  Nodes* find(std::string_view name);
  const Nodes* find(std::string_view name) const;
  // Some property may be there.
  bool names_some() const {
    for (const auto& row : properties) {
      if (!is_false(row.second)) return true;
    }
    return false;
  }
};

struct Shape {
  TypeSet types = kAnyType;
  std::optional<std::vector<const Json*>> values;  // enum, const
  std::vector<const Json*> refused_values;         // not: {enum}, not: {const}
  NumberBounds number;
  StringBounds string;
  ArrayShape array;
  ArrayShape unmet;  // what schemas that fail say of items, until the shape is whole: it evaluates none of them
  ObjectShape object;
  std::string pointer;  // of what it comes from, for messages
};

class ShapeReader {
 public:
  // Checks size, depth, counts and cycles of the whole document first.
  static Result<ShapeReader> create(const Json& root, const SchemaLimits& limits);
  // What could not be generated and was left out, when there was something.
  const std::optional<Error>& left_out() const { return left_out_; }
  // kInvalidSchema with the pointer: "#/properties/a/type: must be ...". An empty list: nothing is valid.
  Result<std::vector<Shape>> shapes(const Nodes& nodes);

 private:
  struct Pending;
  struct Choice;
  ShapeReader(const Json& root, const SchemaLimits& limits) : root_(&root), limits_(limits), resources_(root) {}
  Result<void> expand(Pending&& pending, std::vector<Shape>& out);
  Result<void> take_branches(const Pending& pending, Choice&& choice, std::vector<Shape>& out);
  Result<void> open(Pending& pending, const Node& node);
  Result<void> open_conditions(Pending& pending, const Node& node);
  Result<void> open_failing(Pending& pending, const Node& node);
  // What its keyword `name` refers to.
  Result<Node> resolve(const Node& node, std::string_view name);
  // schema_cycles.cc: kInvalidSchema for a schema that is defined by itself.
  Result<void> check_cycles();
  void leave_out(const Error& error) {
    if (!left_out_) left_out_ = error;
  }
  Result<void> part_one_of(const Pending& base, Choice& choice);

  const Json* root_;
  SchemaLimits limits_;
  SchemaResources resources_;
  uint64_t n_expansions_ = 0;
  std::optional<Error> left_out_;
};

// Whether a value of the list has the shape's types, bounds and lengths. For shapes with a list of values.
Result<bool> has_shape(const Shape& shape, const Json& value);
// No value that is generated for `made` satisfies `other`, as far as this can be told without solving anything.
Result<bool> disjoint(ShapeReader& reader, const Shape& made, const Shape& other, int depth);

Error schema_error(std::string_view pointer, std::string_view what);
// The pointer of a member, escaped as in RFC 6901.
std::string pointer_to(std::string_view pointer, std::string_view key);
std::string pointer_to(std::string_view pointer, size_t index);

}  // namespace millrace::grammar
