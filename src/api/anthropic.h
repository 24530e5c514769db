// Anthropic's POST /v1/messages and /v1/messages/count_tokens as a translation: its messages, blocks and tools become a
// chat body that parse_chat() checks like any other. Source of the wire format: the public Messages API reference,
// version 2023-06-01. Thread: any.
#pragma once

#include "api/dialect.h"

namespace millrace::api {

Result<DialectRequest> parse_anthropic(const Json& body, const ParseContext& context, const FormatOptions& options);
// The body of count_tokens: the same without max_tokens.
Result<ChatRequest> parse_anthropic_count(const Json& body, const ParseContext& context);

// The body as /v1/chat/completions would have it. Errors name the path in the body that came.
Result<Json> anthropic_to_chat(const Json& body);

}  // namespace millrace::api
