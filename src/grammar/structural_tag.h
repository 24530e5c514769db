// A structural tag as rules: free text in which some texts begin constrained parts, as in vLLM and SGLang:
//   {"type": "structural_tag", "structures": [{"begin", "schema", "end"}], "triggers": [...]}, or
//   {"type": "structural_tag", "format": {"type": "triggered_tags", "triggers": [...], "tags": [{"begin", "content":
//   {"type": "json_schema", "json_schema": {...}} | {"type": "any_text"}, "end"}], "at_least_one",
//   "stop_after_first"}}.
// Thread: any.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "grammar/rules.h"
#include "grammar/schema.h"

namespace millrace::grammar {

// kInvalidSchema with the path inside the tag.
Result<RuleId> add_structural_tag(Rules& rules, const Json& tag, const SchemaOptions& options);

}  // namespace millrace::grammar
