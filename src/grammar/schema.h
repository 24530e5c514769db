// A JSON schema as rules: every text they match is a JSON document that is valid by the schema. Objects keep the order
// of `properties`; src/grammar/README.md says what else is narrower than the specification allows. Thread: any. Nothing
// recurses with the depth of the schema.
#pragma once

#include <optional>

#include "base/json.h"
#include "base/result.h"
#include "grammar/rules.h"
#include "grammar/schema_shape.h"

namespace millrace::grammar {

struct SchemaOptions {
  SchemaLimits limits;
  int64_t regex_bytes = 4096;
  int64_t regex_nesting = 64;
  int64_t max_rules = 20'000;        // reading ends there
  bool count_aside = true;           // string lengths are counted by a StringGuard: the whole text is the document
  bool any_whitespace = true;        // white space after brackets, commas and colons
  std::optional<RuleId> space = {};  // what it is; none: our own choice
};

// The rule of the whole document. kInvalidSchema with the JSON pointer of what is wrong or not supported.
Result<RuleId> add_schema(Rules& rules, const Json& schema, const SchemaOptions& options);
// Any JSON object.
RuleId add_json_object(Rules& rules, bool any_whitespace, std::optional<RuleId> space = {});

}  // namespace millrace::grammar
