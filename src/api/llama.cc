#include "api/llama.h"

#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "api/infill.h"
#include "api/llama_format.h"
#include "api/samplers.h"
#include "base/macros.h"

namespace millrace::api {
namespace {

constexpr int64_t kPenaltyWindow = 64;  // repeat_last_n when a request does not name it

Error bad(std::string path, std::string_view wanted) {
  std::string text = fmt::format("{} {}", path, wanted);
  return Error{ErrorCode::kInvalidValue, std::move(text), std::move(path)};
}

ParseContext with_llama_defaults(const ParseContext& context) {
  ParseContext out = context;
  out.dialect = &kLlamaDefaults;
  return out;
}

Result<CompletionRequest> read_common(const Json& body, const ParseContext& context) {
  CompletionRequest request;
  request.common.output.return_prompt_text = true;
  TRY(read_native_fields(body, with_llama_defaults(context), request, kPenaltyWindow));
  if (request.common.seed == -1) request.common.seed.reset();
  use_llama_order(request.common.sampling);
  if (const Json* fields = body.get("response_fields")) {
    for (const Json& field : fields->as_array()) {
      if (!field.is_string()) return bad("response_fields", "must be an array of strings");
    }
  }
  return request;
}

DialectRequest finished(CompletionRequest request, const ParseContext& context, const FormatOptions& options,
                        bool list) {
  bool many = list && request.prompts.size() * request.common.n > 1;
  many = many || request.common.n > 1;
  auto format = make_llama_format(llama_facts(context), options, many);
  return {.body = std::move(request), .format = std::move(format)};
}

Result<std::vector<InfillFile>> read_extra(const Json* extra) {
  std::vector<InfillFile> files;
  if (extra == nullptr) return files;
  for (const Json& item : extra->as_array()) {
    std::string path = fmt::format("input_extra[{}]", files.size());
    const Json* text = item.get("text");
    const Json* name = item.get("filename");
    if (text == nullptr || !text->is_string()) return bad(path + ".text", "must be a string");
    if (name != nullptr && !name->is_string()) return bad(path + ".filename", "must be a string");
    files.push_back({.name = name == nullptr ? "tmp" : name->as_string(), .text = text->as_string()});
  }
  return files;
}

Result<std::string> required_text(const Json& body, std::string_view name) {
  const Json* value = body.get(name);
  if (value == nullptr) {
    return Error{ErrorCode::kMissingField, fmt::format("{} is required", name), std::string(name)};
  }
  return value->as_string();
}

}  // namespace

LlamaFacts llama_facts(const ParseContext& context) {
  std::span<const TokenId> ends = context.model.eos_token_ids;
  return {.max_len = context.model.max_len, .eos_token_ids = {ends.begin(), ends.end()}};
}

Result<DialectRequest> parse_llama_completion(const Json& body, const ParseContext& context,
                                              const FormatOptions& options) {
  CompletionRequest request = TRY(read_common(body, context));
  const Json* prompt = body.get("prompt");
  if (prompt == nullptr) return Error{ErrorCode::kMissingField, "prompt is required", "prompt"};
  bool list = false;
  request.prompts = TRY(read_native_prompts(*prompt, context, list));
  TRY(check_choices(request, context));
  return finished(std::move(request), context, options, list);
}

Result<DialectRequest> parse_llama_infill(const Json& body, const ParseContext& context, const FormatOptions& options) {
  CompletionRequest request = TRY(read_common(body, context));
  std::string prefix = TRY(required_text(body, "input_prefix"));
  std::string suffix = TRY(required_text(body, "input_suffix"));
  std::vector<InfillFile> files = TRY(read_extra(body.get("input_extra")));
  const Json* prompt = body.get("prompt");
  if (prompt != nullptr && !prompt->is_string()) return bad("prompt", "must be a string");
  InfillTexts texts{.before = prefix, .after = suffix};
  if (prompt != nullptr) texts.begun = prompt->as_string();
  std::vector<TokenId> ids = TRY(infill_prompt(context.model.tokenizer, texts, files));
  request.prompts.emplace_back(std::move(ids));
  return finished(std::move(request), context, options, false);
}

}  // namespace millrace::api
