// POST /v1/chat/completions: the body as a struct. Messages stay JSON, checked and normalised: roles known, content
// null, a string or text parts, tool_calls[].function.arguments parsed to objects as chat templates expect. Thread:
// any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "api/common.h"
#include "api/tools.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/result.h"

namespace millrace::api {

// What a request says of the reasoning before its answer.
struct ReasoningParams {
  std::optional<int64_t> budget;  // tokens before the end is forced; -1: none
  bool include = true;            // false: it is not shown
  std::optional<bool> as_text;    // true: it is not told apart from the answer
};

struct ChatRequest {
  CommonParams common;
  Json messages;              // array, 1..limit objects
  Json documents;             // null or array
  Json chat_template_kwargs;  // null or object; reasoning_effort and documents are added to it
  std::string chat_template;  // only with trust_request_chat_template
  ToolParams tools;
  ReasoningParams reasoning;
  bool add_generation_prompt = true;
  std::string echo_text;                // with echo: the text of a final assistant message, to stand before the answer
  bool continue_final_message = false;  // never together with add_generation_prompt
  std::vector<TokenId> past;            // stand before the rendered messages, as they are
};

// Bad field: Error with code, the JSON path in `param`, and a text naming value and range.
// `route`: kRouteChat, or kRouteNativeChat for the ranges of native dialects.
Result<ChatRequest> parse_chat(const Json& body, const ParseContext& context, uint8_t route = 1);

// The checks of `messages` alone, shared with /tokenize; returns the normalised array.
Result<Json> check_messages(const Json& messages, const Limits& limits);

}  // namespace millrace::api
