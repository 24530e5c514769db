// The keywords of one schema, merged into a shape. Thread: any.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "grammar/schema_shape.h"

namespace millrace::grammar {

// False: nothing is valid any more. kInvalidSchema for a keyword with a wrong value, or one that is not supported.
Result<bool> merge_keywords(Shape& shape, const Node& node);

// One node that is not a whole schema: a keyword or member that fails, members that are there or not
// (schema_negate.cc).
Result<bool> merge_part(Shape& shape, const Node& node);
// The opposite of this keyword of the schema can be generated.
bool can_fail(const Json& schema, std::string_view keyword);

void merge_arrays(ArrayShape& into, const ArrayShape& own);
Result<void> merge_objects(ObjectShape& into, const ObjectShape& own, const std::string& pointer);
void tighten(NumberBounds& bounds, double limit, bool is_min, bool open);
Result<TypeSet> read_types(const Json& value, const std::string& pointer);
Result<uint64_t> read_count(const Json& value, const std::string& pointer);
// Other schemas say something of the same value.
bool is_combined(const Json& schema);

// Counts over the whole document, without recursion: depth, enum values, alternatives, properties, references.
Result<void> check_schema_size(const Json& root, const SchemaLimits& limits);

// The member or item that one part of a JSON pointer names; nullptr when there is none.
const Json* find_by_pointer(const Json& at, std::string_view part);

}  // namespace millrace::grammar
