#include "api/completions.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "api/bad_value.h"
#include "api/fields.h"
#include "api/infill.h"
#include "base/macros.h"

namespace millrace::api {
namespace {

constexpr std::string_view kWanted =
    "must be a string, an array of strings, an array of token ids or an array of such arrays";

Error empty(std::string path) {
  std::string text = path + ": must not be empty";
  return Error{ErrorCode::kEmptyPrompt, std::move(text), std::move(path)};
}

Result<PromptInput> read_ids(const Json& ids, const std::string& path, const ParseContext& context) {
  if (ids.size() == 0) return empty(path);
  std::vector<TokenId> out;
  out.reserve(ids.size());
  for (const Json& id : ids.as_array()) {
    bool inside = id.is_int() && id.as_int() >= 0 && id.as_int() < context.model.n_vocab;
    if (!inside) {
      std::string at = fmt::format("{}[{}]", path, out.size());
      if (!id.is_int()) return bad(at, "must be a token id (an integer)");
      return Error{ErrorCode::kTokenOutOfRange,
                   fmt::format("{} = {}: token id outside 0..{}", at, id.as_int(), context.model.n_vocab - 1), at};
    }
    out.push_back(static_cast<TokenId>(id.as_int()));
  }
  return PromptInput(std::move(out));
}

Result<PromptInput> read_one(const Json& prompt, const std::string& path, const ParseContext& context) {
  if (prompt.is_array()) return read_ids(prompt, path, context);
  if (!prompt.is_string()) return bad(path, kWanted);
  if (prompt.as_string().empty()) return empty(path);
  return PromptInput(prompt.as_string());
}

// With `suffix`, texts become prompts that ask for what stands before it.
Result<void> add_suffix(const Json& body, const ParseContext& context, std::vector<PromptInput>& prompts) {
  const Json* suffix = body.get("suffix");
  if (suffix == nullptr || suffix->as_string().empty()) return {};
  for (PromptInput& prompt : prompts) {
    const auto* text = std::get_if<std::string>(&prompt);
    if (text == nullptr) return bad("suffix", "needs a prompt that is text, not token ids");
    Result<std::vector<TokenId>> ids =
        infill_prompt(context.model.tokenizer, {.before = *text, .after = suffix->as_string()});
    if (!ids.ok() && ids.error().code == ErrorCode::kNotSupported) {
      return Error{ErrorCode::kUnsupportedParameter,
                   "suffix: not supported by this model, which has no fill-in-the-middle tokens", "suffix"};
    }
    prompt = TRY(std::move(ids));
  }
  return {};
}

Result<std::vector<PromptInput>> read_prompts(const Json& prompt, const ParseContext& context) {
  std::vector<PromptInput> out;
  bool single = !prompt.is_array() || (prompt.size() > 0 && prompt.as_array()[0].is_number());
  if (single) {
    out.push_back(TRY(read_one(prompt, "prompt", context)));
    return out;
  }
  if (prompt.size() == 0) return empty("prompt");
  int64_t limit = context.limits[LimitId::kBatchPrompts];
  if (static_cast<int64_t>(prompt.size()) > limit) {
    return Error{ErrorCode::kTooManyPrompts, fmt::format("prompt: {} entries, limit {}", prompt.size(), limit),
                 "prompt"};
  }
  out.reserve(prompt.size());
  bool arrays = prompt.as_array()[0].is_array();
  for (const Json& item : prompt.as_array()) {
    std::string path = fmt::format("prompt[{}]", out.size());
    if (item.is_array() != arrays) return bad(path, kWanted);
    out.push_back(TRY(read_one(item, path, context)));
  }
  return out;
}

// Ids and strings of one sequence; only ids: read_ids().
Result<PromptInput> read_mixed(const Json& items, const std::string& path, const ParseContext& context) {
  bool any_text = false;
  for (const Json& item : items.as_array()) any_text = any_text || item.is_string();
  if (!any_text) return read_ids(items, path, context);
  std::vector<PromptPart> parts;
  for (const Json& item : items.as_array()) {
    if (item.is_string()) {
      parts.emplace_back(item.as_string());
      continue;
    }
    Json one = Json::array();
    one.push_back(item);
    PromptInput id = TRY(read_ids(one, fmt::format("{}[{}]", path, parts.size()), context));
    parts.emplace_back(std::get<std::vector<TokenId>>(id)[0]);
  }
  return PromptInput(std::move(parts));
}

// {"prompt_string": text}
Result<PromptInput> read_prompt_object(const Json& prompt, const std::string& path, const ParseContext& context) {
  const Json* media = prompt.get("multimodal_data");
  if (media != nullptr) {
    return Error{ErrorCode::kUnsupportedParameter,
                 path + ".multimodal_data: this server does not support multimodal prompts", path};
  }
  const Json* text = prompt.get("prompt_string");
  if (text == nullptr || !text->is_string()) return bad(path + ".prompt_string", "must be a string");
  return read_one(*text, path + ".prompt_string", context);
}

Result<PromptInput> read_native_one(const Json& prompt, const std::string& path, const ParseContext& context) {
  if (prompt.is_object()) return read_prompt_object(prompt, path, context);
  if (prompt.is_array() && prompt.size() > 0) return read_mixed(prompt, path, context);
  return read_one(prompt, path, context);
}

// An array is one sequence when it holds an id, and several prompts when it does not.
bool is_list(const Json& prompt) {
  if (!prompt.is_array() || prompt.size() == 0) return false;
  for (const Json& item : prompt.as_array()) {
    if (item.is_number()) return false;
  }
  return true;
}

}  // namespace

Result<std::vector<PromptInput>> read_native_prompts(const Json& prompt, const ParseContext& context, bool& list) {
  list = is_list(prompt);
  std::vector<PromptInput> out;
  if (!list) {
    out.push_back(TRY(read_native_one(prompt, "prompt", context)));
    return out;
  }
  int64_t limit = context.limits[LimitId::kBatchPrompts];
  if (static_cast<int64_t>(prompt.size()) > limit) {
    return Error{ErrorCode::kTooManyPrompts, fmt::format("prompt: {} entries, limit {}", prompt.size(), limit),
                 "prompt"};
  }
  for (const Json& item : prompt.as_array())
    out.push_back(TRY(read_native_one(item, fmt::format("prompt[{}]", out.size()), context)));
  return out;
}

Result<void> read_native_fields(const Json& body, const ParseContext& context, CompletionRequest& request,
                                std::optional<int64_t> penalty_window) {
  FieldTarget target{.common = request.common, .completion = &request};
  target.repeat_last_n = penalty_window;
  TRY(read_fields(body, kRouteNative, context, target));
  request.common.clamp_max_tokens = true;
  if (!request.common.max_tokens) request.common.max_tokens = request.common.default_max_tokens.value_or(-1);
  request.common.model = TRY(resolve_model(body, context));
  return {};
}

Result<void> check_choices(const CompletionRequest& request, const ParseContext& context) {
  int64_t choices = static_cast<int64_t>(request.prompts.size()) * std::max(request.common.n, request.common.best_of);
  if (choices <= context.limits[LimitId::kChoices]) return {};
  return Error{ErrorCode::kInvalidValue,
               fmt::format("n x prompts = {}, limit {}", choices, context.limits[LimitId::kChoices]), "n"};
}

Result<CompletionRequest> parse_completion(const Json& body, const ParseContext& context) {
  CompletionRequest request;
  FieldTarget target{.common = request.common, .completion = &request};
  TRY(read_fields(body, kRouteCompletions, context, target));
  const Json* prompt = body.get("prompt");
  if (prompt == nullptr) return Error{ErrorCode::kMissingField, "prompt is required", "prompt"};
  request.prompts = TRY(read_prompts(*prompt, context));
  TRY(add_suffix(body, context, request.prompts));
  request.common.clamp_max_tokens = context.profile->clamp;
  TRY(check_choices(request, context));
  request.common.model = TRY(resolve_model(body, context));
  return request;
}

}  // namespace millrace::api
