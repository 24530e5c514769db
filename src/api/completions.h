// POST /v1/completions: the body as a struct.
// Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "api/common.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/result.h"

namespace millrace::api {

// Texts and ids in one sequence, in order (llama-server).
using PromptPart = std::variant<std::string, TokenId>;
// Two texts that a model with a head scores together.
struct PromptPair {
  std::string first;
  std::string second;
  bool operator==(const PromptPair&) const = default;
};
// One prompt: text to tokenise or token ids (all inside the vocabulary), never empty unless it is to be read out.
using PromptInput = std::variant<std::string, std::vector<TokenId>, std::vector<PromptPart>, PromptPair>;

struct CompletionRequest {
  CommonParams common;
  std::vector<PromptInput> prompts;  // 1..limit; choice index = prompt index * n + k
};

Result<CompletionRequest> parse_completion(const Json& body, const ParseContext& context);

// The prompt of a native dialect: a string, ids, ids and strings mixed, {"prompt_string"}, or a list of such. `list`
// tells whether it was a list.
Result<std::vector<PromptInput>> read_native_prompts(const Json& prompt, const ParseContext& context, bool& list);
// The other fields, for a dialect of its own prompts; resolves the model too.
Result<void> read_native_fields(const Json& body, const ParseContext& context, CompletionRequest& request,
                                std::optional<int64_t> penalty_window = {});
// n x prompts within the limit.
Result<void> check_choices(const CompletionRequest& request, const ParseContext& context);

}  // namespace millrace::api
