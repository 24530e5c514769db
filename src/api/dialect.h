// What the parser of any generation dialect makes: the request, in the one form that everything behind knows, and the
// format of its answer. One parser per route; src/server holds the table of routes.
// Thread: any.
#pragma once

#include <memory>
#include <string>
#include <variant>

#include "api/chat.h"
#include "api/completions.h"
#include "api/reply_format.h"
#include "base/json.h"
#include "base/result.h"

namespace millrace::api {

struct DialectRequest {
  std::variant<ChatRequest, CompletionRequest> body;
  std::unique_ptr<ReplyFormat> format;
  std::string instant = {};  // not empty: the whole answer; nothing is generated
};

using DialectParser = Result<DialectRequest> (*)(const Json& body, const ParseContext& context,
                                                 const FormatOptions& options);

// /v1/chat/completions and /v1/completions (openai_format.h has their writers).
Result<DialectRequest> parse_openai_chat(const Json& body, const ParseContext& context, const FormatOptions& options);
Result<DialectRequest> parse_openai_completion(const Json& body, const ParseContext& context,
                                               const FormatOptions& options);

}  // namespace millrace::api
