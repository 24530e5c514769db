// The inputs of embedding routes.
#include <fmt/core.h>

#include <utility>

#include "api/bad_value.h"
#include "api/pooling.h"
#include "base/macros.h"

namespace millrace::api {
namespace {

constexpr std::string_view kWanted = "must be a string, token ids, an object with content, or an array of such";

Result<TokenId> read_id(const Json& id, const std::string& path, const ParseContext& context) {
  if (!id.is_int()) return bad(path, "must be a token id (an integer) or a string");
  if (id.as_int() < 0 || id.as_int() >= context.model.n_vocab) {
    return Error{ErrorCode::kTokenOutOfRange,
                 fmt::format("{} = {}: token id outside 0..{}", path, id.as_int(), context.model.n_vocab - 1), path};
  }
  return static_cast<TokenId>(id.as_int());
}

// Ids, and texts between them, of one sequence.
Result<PromptInput> read_sequence(const Json& items, const std::string& path, const ParseContext& context) {
  if (items.size() == 0) return Error{ErrorCode::kEmptyPrompt, path + ": must not be empty", path};
  std::vector<TokenId> ids;
  std::vector<PromptPart> parts;
  bool any_text = false;
  for (const Json& item : items.as_array()) {
    std::string at = fmt::format("{}[{}]", path, parts.size());
    if (item.is_string()) {
      any_text = true;
      parts.emplace_back(item.as_string());
      continue;
    }
    TokenId id = TRY(read_id(item, at, context));
    ids.push_back(id);
    parts.emplace_back(id);
  }
  if (any_text) return PromptInput(std::move(parts));
  return PromptInput(std::move(ids));
}

// {"content":[{"type":"text","text":"..."}]}: the texts, joined.
Result<PromptInput> read_content(const Json& content, const std::string& path) {
  if (!content.is_array()) return bad(path, "must be an array of text parts");
  std::string joined;
  size_t i = 0;
  for (const Json& part : content.as_array()) {
    std::string at = fmt::format("{}[{}]", path, i++);
    const Json* type = part.get("type");
    if (type == nullptr || !(*type == Json("text"))) {
      return Error{ErrorCode::kUnsupportedParameter, at + ".type: only text parts are supported", at + ".type"};
    }
    const Json* text = part.get("text");
    if (text == nullptr || !text->is_string()) return bad(at + ".text", "must be a string");
    joined += text->as_string();
  }
  return PromptInput(std::move(joined));
}

Result<PromptInput> read_object(const Json& input, const std::string& path) {
  if (input.get("multimodal_data") != nullptr) {
    std::string at = path + ".multimodal_data";
    return Error{ErrorCode::kUnsupportedParameter, at + ": this server does not support multimodal prompts", at};
  }
  if (const Json* content = input.get("content")) return read_content(*content, path + ".content");
  const Json* text = input.get("prompt_string");
  if (text == nullptr || !text->is_string()) return bad(path, kWanted);
  return PromptInput(text->as_string());
}

Result<PromptInput> read_one(const Json& input, const std::string& path, const ParseContext& context) {
  if (input.is_string()) return PromptInput(input.as_string());
  if (input.is_array()) return read_sequence(input, path, context);
  if (input.is_object()) return read_object(input, path);
  return bad(path, kWanted);
}

}  // namespace

Result<std::vector<PromptInput>> read_inputs(const Json& input, std::string_view name, const ParseContext& context,
                                             bool& list) {
  std::string path(name);
  std::vector<PromptInput> out;
  list = input.is_array();
  if (list && input.size() == 0) return Error{ErrorCode::kEmptyPrompt, path + ": must not be empty", path};
  // an array is one sequence when it holds an id
  for (size_t i = 0; list && i < input.size(); ++i) list = !input.as_array()[i].is_number();
  if (!list) {
    out.push_back(TRY(read_one(input, path, context)));
    return out;
  }
  int64_t limit = context.limits[LimitId::kBatchPrompts];
  if (static_cast<int64_t>(input.size()) > limit) {
    return Error{ErrorCode::kTooManyPrompts, fmt::format("{}: {} entries, limit {}", path, input.size(), limit), path};
  }
  for (const Json& item : input.as_array()) {
    out.push_back(TRY(read_one(item, fmt::format("{}[{}]", path, out.size()), context)));
  }
  return out;
}

}  // namespace millrace::api
