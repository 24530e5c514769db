#include "api/llama.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "api/llama_format.h"
#include "api/samplers.h"
#include "base/macros.h"
#include "text/tokenizer.h"

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

// Spellings of the fill-in-the-middle tokens: Qwen2.5-Coder, StarCoder and Granite, CodeLlama, DeepSeek-Coder,
// CodeGemma.
constexpr std::array<std::string_view, 5> kPrefixTokens = {"<|fim_prefix|>", "<fim_prefix>", "<PRE>", "<|fim_begin|>",
                                                           "<fim-prefix>"};
constexpr std::array<std::string_view, 5> kSuffixTokens = {"<|fim_suffix|>", "<fim_suffix>", "<SUF>", "<|fim_hole|>",
                                                           "<fim-suffix>"};
constexpr std::array<std::string_view, 5> kMiddleTokens = {"<|fim_middle|>", "<fim_middle>", "<MID>", "<|fim_end|>",
                                                           "<fim-middle>"};
constexpr std::array<std::string_view, 3> kRepoTokens = {"<|repo_name|>", "<reponame>", "<repo_name>"};
constexpr std::array<std::string_view, 2> kFileTokens = {"<|file_sep|>", "<file_sep>"};

std::optional<TokenId> find_any(const text::Tokenizer& tokenizer, std::span<const std::string_view> names) {
  for (std::string_view name : names) {
    std::optional<TokenId> id = tokenizer.find(name);
    if (id) return id;
  }
  return std::nullopt;
}

struct ExtraFile {
  std::string name;
  std::string text;
};

Result<std::vector<ExtraFile>> read_extra(const Json* extra) {
  std::vector<ExtraFile> files;
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

// Ids around texts in which special tokens stay text.
class PromptBuilder {
 public:
  PromptBuilder(const text::Tokenizer& tokenizer, std::vector<TokenId>& out) : tokenizer_(tokenizer), out_(out) {}
  void add(TokenId id) { out_.push_back(id); }
  Result<void> add(std::string_view text) {
    std::vector<TokenId> ids = TRY(tokenizer_.encode(text, {.add_special = false, .parse_special = false}));
    out_.insert(out_.end(), ids.begin(), ids.end());
    return {};
  }

 private:
  const text::Tokenizer& tokenizer_;
  std::vector<TokenId>& out_;
};

// Repository context: Hui et al., "Qwen2.5-Coder" (arXiv 2409.12186), section 3.2; llama.cpp format_prompt_infill().
Result<void> add_files(PromptBuilder& prompt, const text::Tokenizer& tokenizer, const std::vector<ExtraFile>& files) {
  std::optional<TokenId> repo = find_any(tokenizer, kRepoTokens);
  std::optional<TokenId> separator = find_any(tokenizer, kFileTokens);
  if (repo) {
    prompt.add(*repo);
    TRY(prompt.add("myproject\n"));
  }
  for (const ExtraFile& file : files) {
    if (separator) {
      prompt.add(*separator);
      TRY(prompt.add(file.name + "\n"));
    } else {
      TRY(prompt.add("\n\n--- snippet ---\n\n"));
    }
    TRY(prompt.add(file.text));
  }
  if (separator) {
    prompt.add(*separator);
    TRY(prompt.add("filename\n"));
  }
  return {};
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
  std::vector<ExtraFile> files = TRY(read_extra(body.get("input_extra")));
  const Json* prompt = body.get("prompt");
  if (prompt != nullptr && !prompt->is_string()) return bad("prompt", "must be a string");
  const text::Tokenizer* tokenizer = context.model.tokenizer;
  std::optional<TokenId> before = tokenizer == nullptr ? std::nullopt : find_any(*tokenizer, kPrefixTokens);
  std::optional<TokenId> after = tokenizer == nullptr ? std::nullopt : find_any(*tokenizer, kSuffixTokens);
  std::optional<TokenId> middle = tokenizer == nullptr ? std::nullopt : find_any(*tokenizer, kMiddleTokens);
  if (!before || !after || !middle) {
    return Error{ErrorCode::kNotSupported, "infill is not supported by this model: it has no fill-in-the-middle tokens",
                 ""};
  }
  std::vector<TokenId> ids;
  PromptBuilder built(*tokenizer, ids);
  TRY(add_files(built, *tokenizer, files));
  built.add(*before);
  TRY(built.add(prefix));
  if (prompt != nullptr) TRY(built.add(prompt->as_string()));
  built.add(*after);
  TRY(built.add(suffix));
  built.add(*middle);
  request.prompts.emplace_back(std::move(ids));
  return finished(std::move(request), context, options, false);
}

}  // namespace millrace::api
