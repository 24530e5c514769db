// OpenAI's POST /v1/responses, the stateless subset: input items, instructions and flat tools become a chat body that
// parse_chat() checks; nothing is stored. Source: the OpenAI API reference, Responses. Thread: any.
#pragma once

#include "api/dialect.h"

namespace millrace::api {

Result<DialectRequest> parse_responses(const Json& body, const ParseContext& context, const FormatOptions& options);
// The body of /v1/responses/input_tokens.
Result<ChatRequest> parse_responses_count(const Json& body, const ParseContext& context);

}  // namespace millrace::api
