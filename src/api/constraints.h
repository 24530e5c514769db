// The fields that constrain an answer's text, of every dialect, through one door: each becomes a flow::ConstraintSpec,
// of which a request has at most one. What the text says is checked where it is compiled (src/grammar). Thread: any.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "api/common.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/result.h"

namespace millrace::api {

// Whether a field of the table is read here.
bool is_constraint_field(std::string_view name);

// Reads one such field, sent as `name`, into common.constraint. kInvalidValue, kMissingField or kUnsupportedParameter
// with the path; kConflictingConstraints when the request has another one.
Result<void> read_constraint_field(std::string_view name, const Json& value, CommonParams& common);

// llama-server's `grammar_triggers`: a list of {"type": 0, "token"}, or {"type": 1 (word) | 2 (pattern) | 3 (pattern of
// the whole text), "value"}. kInvalidValue with the path.
Result<std::vector<flow::Trigger>> read_triggers(const Json& value, const Limits& limits, int64_t n_vocab);

}  // namespace millrace::api
