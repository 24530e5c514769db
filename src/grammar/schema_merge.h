// The keywords of one schema, merged into a shape. Thread: any.
#pragma once

#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "grammar/schema_shape.h"

namespace millrace::grammar {

// False: nothing is valid any more. kInvalidSchema for a keyword with a wrong value, or one that is not supported.
Result<bool> merge_keywords(Shape& shape, const Node& node);

// Counts over the whole document, without recursion: depth, enum values, alternatives, properties, references.
Result<void> check_schema_size(const Json& root, const SchemaLimits& limits);

// The member or item that one part of a JSON pointer names; nullptr when there is none.
const Json* find_by_pointer(const Json& at, std::string_view part);

}  // namespace millrace::grammar
