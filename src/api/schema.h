// JSON schemas (2020-12) of what goes over the wire, for /openapi.json.
//  1. A request field's schema is made from its row of request_fields(), so that the document follows the table: a
//  value
//     that breaks the schema is refused. What JSON Schema cannot say (bytes of a string, rules across fields) is left
//     to the server, so not every value that keeps to it is taken.
//  2. null is absent, so every field of a request may be null.
// Thread: any (pure functions).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/errors.h"
#include "api/fields.h"
#include "base/json.h"
#include "base/limits.h"

namespace millrace::api {

// What of the served model stands in the document.
struct SchemaFacts {
  const Limits& limits;
  int64_t n_vocab = 0;                             // 0: no model yet
  std::span<const std::string> served_names = {};  // empty: any name
};

Json field_schema(const Field& field, const SchemaFacts& facts);

// Bodies of POST routes, by name: {"ChatCompletionRequest": schema, ...}.
Json body_schemas(const SchemaFacts& facts);
// Replies, by name.
Json reply_schemas();

// The body of an error answer with this status: which codes it may carry.
Json error_schema(ErrorStyle style, int status);
// "ErrorOpenAi400": where error_schema() stands in the document.
std::string error_schema_name(ErrorStyle style, int status);
// Every HTTP status that a style can answer an error with, rising.
std::vector<int> error_statuses(ErrorStyle style);

}  // namespace millrace::api
