// llama-server's native generation routes: POST /completion (/completions) and /infill. Source of the wire format:
// llama.cpp b11434, tools/server (server-task.cpp, server-context.cpp). Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "api/dialect.h"

namespace millrace::api {

Result<DialectRequest> parse_llama_completion(const Json& body, const ParseContext& context,
                                              const FormatOptions& options);
// The context file by file, then prefix, suffix and prompt between the model's fill-in-the-middle tokens;
// kNotSupported (501) when its vocabulary has none.
Result<DialectRequest> parse_llama_infill(const Json& body, const ParseContext& context, const FormatOptions& options);

// Facts that llama's replies repeat and a request does not hold.
struct LlamaFacts {
  int64_t max_len = 0;
  std::vector<TokenId> eos_token_ids;  // generation_settings shows them as biases under ignore_eos
};

LlamaFacts llama_facts(const ParseContext& context);

// {"seed":...,"temperature":...}: generation_settings, and params of /props and /slots.
Json llama_settings(const CommonParams& params, const LlamaFacts& facts);
// One whole answer as /completion gives it; `prompt` is that of the choice.
std::string llama_answer(const CommonParams& params, const LlamaFacts& facts, const ReplyHead& head,
                         const PromptOutput& prompt, const ChoiceOutput& choice);

}  // namespace millrace::api
