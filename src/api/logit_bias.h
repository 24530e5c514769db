// The field logit_bias in its forms: {"id": bias}, [[id, bias]], and in native dialects also a text in place of the id
// (every token of it) and false in place of the bias (never). Thread: any.
#pragma once

#include <utility>
#include <vector>

#include "api/fields.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/result.h"

namespace millrace::api {

constexpr float kBannedBias = -1e9f;  // of false: beyond any logit, and still a number

// Sorted by token; of two entries for one token the last one counts. Text needs field.type kTextLogitBias and a
// tokenizer in the context.
Result<std::vector<std::pair<TokenId, float>>> read_logit_bias(const Field& field, const Json& value,
                                                               const ParseContext& context);

}  // namespace millrace::api
