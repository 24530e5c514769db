// POST /v1/completions: the body as a struct.
// Thread: any.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "api/common.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/result.h"

namespace millrace::api {

// One prompt: text to tokenise or token ids (all inside the vocabulary), never empty.
using PromptInput = std::variant<std::string, std::vector<TokenId>>;

struct CompletionRequest {
  CommonParams common;
  std::vector<PromptInput> prompts;  // 1..limit; choice index = prompt index * n + k
};

Result<CompletionRequest> parse_completion(const Json& body, const ParseContext& context);

}  // namespace millrace::api
