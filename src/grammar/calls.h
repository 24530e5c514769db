// Calls of tools as rules: an answer that must be calls, or may have some, in the way that a model writes them. The
// text comes from src/api (tools.h), never from a client:
//   {"mode": "must" | "tagged" | "bare", "open", "close", "separator", "trigger", "many", "cut",
//    "calls": [{"begin", "schema", "end", "path"}], "or": SCHEMA}
//  must: OPEN call (SEPARATOR call)* CLOSE, or, when "or" is there, a document of that schema.
//  tagged: free text in which `trigger` begins such calls. bare: such calls, or a text that does not begin like one.
// Without "many" there is one call. The prompt has the first "cut" bytes of the first call already. A schema of true is
// any JSON object.
// Thread: any.
#pragma once

#include "base/json.h"
#include "base/result.h"
#include "grammar/rules.h"
#include "grammar/schema.h"

namespace millrace::grammar {

// kInvalidSchema; `param` is the path of the schema that is wrong.
Result<RuleId> add_calls(Rules& rules, const Json& spec, const SchemaOptions& options);

}  // namespace millrace::grammar
