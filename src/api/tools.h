// `tools` and `tool_choice` of a chat request, and what they ask of the answer's text.
// Thread: any.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/limits.h"
#include "base/result.h"
#include "flow/constraint.h"
#include "text/tool_format.h"

namespace millrace::api {

enum class ToolChoice : uint8_t { kNone, kAuto, kRequired, kNamed };

struct ToolParams {
  Json tools;  // null, or an array of {"type": "function", "function": {"name", ...}} as chat templates read it
  ToolChoice choice = ToolChoice::kNone;
  std::string name;          // with kNamed
  std::vector<bool> strict;  // by tool: arguments obey its schema whenever it is called
  bool parallel = true;      // more than one call in an answer
  bool parse = true;         // false: calls stay text

  bool offered() const { return choice != ToolChoice::kNone && !tools.is_null(); }
  bool must_call() const { return choice == ToolChoice::kRequired || choice == ToolChoice::kNamed; }
};

// The fields tools, tool_choice, parallel_tool_calls, functions, function_call and parse_tool_calls of a body.
// kInvalidValue with the path: "tools[3].function.name must be ...". `empty_is_none`: an empty list of tools is none.
Result<ToolParams> read_tools(const Json& body, const Limits& limits, bool empty_is_none);

// kConflictingConstraints when an answer cannot have both.
Result<void> check_with_constraint(const ToolParams& tools, const flow::ConstraintSpec& constraint);

// What the answer must be so that calls are as asked for, written in `format`; nothing when there is nothing to keep to
// beyond `other`, the constraint of the request itself. in_call: the prompt ends with format.begin.
std::optional<flow::ConstraintSpec> call_constraint(const ToolParams& tools, const text::ToolFormat& format,
                                                    const flow::ConstraintSpec& other, bool in_call);

std::shared_ptr<const std::vector<std::string>> tool_names(const ToolParams& tools);

}  // namespace millrace::api
