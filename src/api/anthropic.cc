#include "api/anthropic.h"

#include <fmt/core.h>

#include <string>
#include <utility>

#include "api/anthropic_format.h"
#include "api/bad_value.h"
#include "api/fields.h"
#include "api/json_object.h"
#include "base/macros.h"

namespace millrace::api {
namespace {

constexpr int64_t kLeastBudget = 1024;  // tokens of thinking

Result<std::string> text_member(const Json& block, std::string_view key, const std::string& path) {
  const Json* value = block.get(key);
  if (value == nullptr || !value->is_string()) return bad(fmt::format("{}.{}", path, key), "must be a string");
  return value->as_string();
}

// type: "image" or "document".
Error no_media(const std::string& path, std::string_view type) {
  return Error{ErrorCode::kUnsupportedParameter, fmt::format("{}: {} input is not supported by this model", path, type),
               path};
}

// A string, or text blocks joined; `path` is that of the content.
Result<std::string> joined_text(const Json* content, const std::string& path) {
  if (content == nullptr) return std::string();
  if (content->is_string()) return content->as_string();
  if (!content->is_array()) return bad(path, "must be a string or an array of blocks");
  std::string out;
  size_t i = 0;
  for (const Json& block : content->as_array()) {
    std::string at = fmt::format("{}[{}]", path, i++);
    std::string type = TRY(text_member(block, "type", at));
    if (type == "image" || type == "document") return no_media(at, type);
    if (type != "text" && type != "tool_reference") return bad(at + ".type", "must be text");
    if (type == "text") out += TRY(text_member(block, "text", at));
  }
  return out;
}

// One message of theirs becomes one of ours, and one more for each tool result before it.
class MessageParts {
 public:
  MessageParts(std::string role, std::string path) : role_(std::move(role)), path_(std::move(path)) {}

  Result<void> add(const Json& block, size_t index) {
    std::string at = fmt::format("{}.content[{}]", path_, index);
    std::string type = TRY(text_member(block, "type", at));
    if (type == "image" || type == "document") return no_media(at, type);
    if (type == "text") {
      std::string text = TRY(text_member(block, "text", at));
      parts_.push_back(json_object({{"type", "text"}, {"text", std::move(text)}}));
      return {};
    }
    if (type == "thinking") {
      thinking_ += TRY(text_member(block, "thinking", at));
      return {};
    }
    if (type == "redacted_thinking" || type == "tool_reference") return {};
    if (type == "tool_use") return add_use(block, at);
    if (type == "tool_result") return add_result(block, at);
    return bad(at + ".type", "must be text, tool_use, tool_result, thinking or redacted_thinking");
  }

  void append_to(Json& out) {
    for (Json& result : results_) out.push_back(std::move(result));
    bool said = parts_.size() > 0 || !thinking_.empty() || calls_.size() > 0;
    if (!said && !results_.empty()) return;
    Json message = json_object({{"role", role_}, {"content", parts_.size() > 0 ? parts_ : Json("")}});
    if (!thinking_.empty()) message.set("reasoning_content", thinking_);
    if (calls_.size() > 0) message.set("tool_calls", calls_);
    out.push_back(std::move(message));
  }

 private:
  Result<void> add_use(const Json& block, const std::string& at) {
    std::string name = TRY(text_member(block, "name", at));
    std::string id = TRY(text_member(block, "id", at));
    const Json* input = block.get("input");
    if (input != nullptr && !input->is_object()) return bad(at + ".input", "must be an object");
    Json function = json_object({{"name", name}, {"arguments", input == nullptr ? Json::object() : *input}});
    calls_.push_back(json_object({{"id", id}, {"type", "function"}, {"function", std::move(function)}}));
    return {};
  }
  Result<void> add_result(const Json& block, const std::string& at) {
    std::string id = TRY(text_member(block, "tool_use_id", at));
    std::string text = TRY(joined_text(block.get("content"), at + ".content"));
    results_.push_back(json_object({{"role", "tool"}, {"tool_call_id", id}, {"content", text}}));
    return {};
  }

  std::string role_;
  std::string path_;
  Json parts_ = Json::array();
  Json calls_ = Json::array();
  std::string thinking_;
  std::vector<Json> results_;
};

Result<void> add_message(const Json& message, size_t index, Json& out) {
  std::string path = fmt::format("messages[{}]", index);
  std::string role = TRY(text_member(message, "role", path));
  if (role != "user" && role != "assistant" && role != "system") {
    return bad(path + ".role", "must be user, assistant or system");
  }
  const Json* content = message.get("content");
  if (content == nullptr) return bad(path + ".content", "must be a string or an array of blocks");
  if (content->is_string()) {
    out.push_back(json_object({{"role", role}, {"content", *content}}));
    return {};
  }
  if (!content->is_array()) return bad(path + ".content", "must be a string or an array of blocks");
  MessageParts parts(role, path);
  size_t i = 0;
  for (const Json& block : content->as_array()) TRY(parts.add(block, i++));
  parts.append_to(out);
  return {};
}

Result<Json> tools_of(const Json& tools) {
  if (!tools.is_array()) return bad("tools", "must be an array");
  Json out = Json::array();
  for (const Json& tool : tools.as_array()) {
    std::string at = fmt::format("tools[{}]", out.size());
    std::string name = TRY(text_member(tool, "name", at));
    Json function = json_object({{"name", std::move(name)}});
    if (const Json* text = tool.get("description")) function.set("description", *text);
    const Json* schema = tool.get("input_schema");
    if (schema == nullptr || !schema->is_object()) return bad(at + ".input_schema", "must be an object");
    function.set("parameters", *schema);
    if (const Json* strict = tool.get("strict")) function.set("strict", *strict);
    out.push_back(json_object({{"type", "function"}, {"function", std::move(function)}}));
  }
  return out;
}

Result<void> set_tool_choice(const Json& choice, Json& out) {
  std::string type = TRY(text_member(choice, "type", "tool_choice"));
  if (type == "auto" || type == "none") {
    out.set("tool_choice", type);
  } else if (type == "any") {
    out.set("tool_choice", "required");
  } else if (type == "tool") {
    std::string name = TRY(text_member(choice, "name", "tool_choice"));
    Json function = json_object({{"name", std::move(name)}});
    out.set("tool_choice", json_object({{"type", "function"}, {"function", std::move(function)}}));
  } else {
    return bad("tool_choice.type", "must be auto, any, tool or none");
  }
  if (const Json* disable = choice.get("disable_parallel_tool_use")) {
    if (!disable->is_bool()) return bad("tool_choice.disable_parallel_tool_use", "must be a boolean");
    out.set("parallel_tool_calls", !disable->as_bool());
  }
  return {};
}

// Switches the template's thinking; a budget below their least is refused.
Result<void> set_thinking(const Json& thinking, Json& out) {
  std::string type = TRY(text_member(thinking, "type", "thinking"));
  if (type != "enabled" && type != "disabled" && type != "adaptive") {
    return bad("thinking.type", "must be enabled, disabled or adaptive");
  }
  const Json* budget = thinking.get("budget_tokens");
  if (budget != nullptr && (!budget->is_int() || budget->as_int() < 1)) {
    return bad("thinking.budget_tokens", fmt::format("must be an integer >= {}", kLeastBudget));
  }
  if (budget != nullptr && type == "enabled") out.set("thinking_token_budget", *budget);
  if (type == "adaptive") return {};
  const Json* given = out.find("chat_template_kwargs");
  Json kwargs = given == nullptr ? Json::object() : *given;
  if (kwargs.is_object()) kwargs.set("enable_thinking", type == "enabled");
  out.set("chat_template_kwargs", std::move(kwargs));
  return {};
}

Result<void> set_output_config(const Json& config, Json& out) {
  if (!config.is_object()) return bad("output_config", "must be an object");
  if (const Json* effort = config.get("effort")) out.set("reasoning_effort", *effort);
  const Json* format = config.get("format");
  if (format == nullptr) return {};
  std::string type = TRY(text_member(*format, "type", "output_config.format"));
  if (type != "json_schema") return bad("output_config.format.type", "must be json_schema");
  const Json* schema = format->get("schema");
  if (schema == nullptr) return bad("output_config.format.schema", "must be an object");
  out.set("response_format", json_object({{"type", "json_schema"}, {"schema", *schema}}));
  return {};
}

// Same name and meaning on both sides.
constexpr std::string_view kSame[] = {
    "model",          "max_tokens", "stream", "temperature", "top_k",      "top_p",        "metadata",
    "stop_sequences", "seed",       "min_p",  "ignore_eos",  "cache_salt", "service_tier", "chat_template_kwargs"};

Result<ChatRequest> read_chat(const Json& body, const ParseContext& context) {
  Json chat = TRY(anthropic_to_chat(body));
  return parse_chat(chat, context, kRouteNativeChat);
}

}  // namespace

Result<Json> anthropic_to_chat(const Json& body) {
  Json out = Json::object();
  for (std::string_view name : kSame) {
    if (const Json* value = body.get(name)) out.set(name, *value);
  }
  Json messages = Json::array();
  std::string system = TRY(joined_text(body.get("system"), "system"));
  if (!system.empty()) messages.push_back(json_object({{"role", "system"}, {"content", system}}));
  const Json* theirs = body.get("messages");
  if (theirs == nullptr) return Error{ErrorCode::kMissingField, "messages is required", "messages"};
  if (!theirs->is_array()) return bad("messages", "must be an array");
  if (theirs->size() == 0) return Error{ErrorCode::kEmptyPrompt, "messages: must not be empty", "messages"};
  size_t i = 0;
  for (const Json& message : theirs->as_array()) TRY(add_message(message, i++, messages));
  out.set("messages", std::move(messages));
  if (const Json* tools = body.get("tools"); tools != nullptr && tools->size() > 0)
    out.set("tools", TRY(tools_of(*tools)));
  if (const Json* choice = body.get("tool_choice")) TRY(set_tool_choice(*choice, out));
  if (const Json* thinking = body.get("thinking")) TRY(set_thinking(*thinking, out));
  if (const Json* config = body.get("output_config")) TRY(set_output_config(*config, out));
  return out;
}

Result<DialectRequest> parse_anthropic(const Json& body, const ParseContext& context, const FormatOptions& options) {
  const Json* max_tokens = body.get("max_tokens");
  if (max_tokens == nullptr) return Error{ErrorCode::kMissingField, "max_tokens is required", "max_tokens"};
  if (!max_tokens->is_int() || max_tokens->as_int() < 0) return bad("max_tokens", "must be an integer >= 0");
  const Json* temperature = body.get("temperature");
  if (temperature != nullptr &&
      (!temperature->is_number() || temperature->as_double() < 0 || temperature->as_double() > 1))
    return bad("temperature", "must be a number in 0..1");
  ChatRequest request = TRY(read_chat(body, context));
  request.common.clamp_max_tokens = true;
  return DialectRequest{.body = std::move(request), .format = make_anthropic_format(options)};
}

Result<ChatRequest> parse_anthropic_count(const Json& body, const ParseContext& context) {
  return read_chat(body, context);
}

}  // namespace millrace::api
