// The text of one call, or of several in a list, in the ways of writing that are no JSON: read as a whole, to names and
// JSON arguments. What is not exactly such a text is refused. Linear, nesting is bounded, no errors.
// Thread: any.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/tool_format.h"

namespace millrace::text {

struct RawCall {
  std::string name;
  std::string arguments;  // JSON text of an object
};

// All or none. `text` stands between the tags of the format; never CallSyntax::kJson.
bool read_calls(const ToolFormat& format, std::string_view text, std::vector<RawCall>& out);

// JSON of a call, or of an array of them: {name_key: NAME, arguments_key: {...} or a text of that}. Arguments are
// kept as they were written.
bool read_json_calls(const ToolFormat& format, std::string_view text, std::vector<RawCall>& out);

}  // namespace millrace::text
