#include "api/chat.h"

#include <fmt/chrono.h>
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <string>
#include <utility>

#include "api/bad_value.h"
#include "api/fields.h"
#include "api/json_object.h"
#include "base/macros.h"

namespace millrace::api {
namespace {

constexpr std::array<std::string_view, 6> kRoles = {"system", "developer", "user", "assistant", "tool", "function"};
constexpr std::array<std::string_view, 4> kReservedKwargs = {"messages", "tools", "add_generation_prompt", "tokenize"};

// A part of a content array as {"type":"text","text":...}.
Result<Json> check_part(const Json& part, const std::string& path) {
  Json out = Json::object();
  out.set("type", "text");
  if (part.is_string()) {
    out.set("text", part);
    return out;
  }
  if (!part.is_object()) return bad(path, "must be an object with type and text");
  const Json* type = part.get("type");
  if (type == nullptr || !type->is_string()) return bad(path + ".type", "must be a string");
  const std::string& name = type->as_string();
  std::string_view key;
  if (name == "text" || name == "input_text" || name == "output_text") key = "text";
  if (name == "refusal") key = "refusal";
  if (name == "thinking") key = "thinking";
  if (key.empty()) {
    for (std::string_view media : {"image_url", "input_audio", "audio_url", "video_url", "file"}) {
      if (name == media)
        return Error{ErrorCode::kUnsupportedParameter,
                     fmt::format("{}: the model accepts text only, got {}", path, name), path};
    }
    return bad(path + ".type", "must be text, refusal or thinking");
  }
  const Json* text = part.get(key);
  if (text == nullptr || !text->is_string()) return bad(fmt::format("{}.{}", path, key), "must be a string");
  out.set("text", *text);
  return out;
}

Result<Json> check_content(const Json* content, bool may_be_null, const std::string& path) {
  if (content == nullptr || content->is_null()) {
    if (may_be_null) return Json();
    return bad(path, "must be a string or an array of parts");
  }
  if (content->is_string()) return *content;
  if (!content->is_array()) return bad(path, "must be a string or an array of parts");
  Json parts = Json::array();
  size_t i = 0;
  for (const Json& part : content->as_array()) parts.push_back(TRY(check_part(part, fmt::format("{}[{}]", path, i++))));
  return parts;
}

// arguments: a JSON text of an object becomes that object, as chat templates expect.
Result<Json> check_arguments(const Json* arguments, const std::string& path, const Limits& limits) {
  if (arguments == nullptr || arguments->is_null()) return Json::object();
  if (arguments->is_object()) return *arguments;
  if (!arguments->is_string()) return bad(path, "must be a string of JSON");
  if (arguments->as_string().empty()) return Json::object();
  auto parsed = parse_json(arguments->as_string(), {.depth = static_cast<uint32_t>(limits[LimitId::kJsonDepth]),
                                                    .nodes = static_cast<uint32_t>(limits[LimitId::kJsonNodes])});
  if (!parsed.ok()) return bad(path, "is not valid JSON");
  if (!parsed->is_object()) return bad(path, "must be the JSON of an object");
  return parsed;
}

Result<Json> check_tool_calls(const Json& calls, const std::string& path, const Limits& limits) {
  if (!calls.is_array()) return bad(path, "must be an array");
  Json out = Json::array();
  size_t i = 0;
  for (const Json& call : calls.as_array()) {
    std::string at = fmt::format("{}[{}]", path, i++);
    const Json* function = call.get("function");
    if (function == nullptr || !function->is_object()) return bad(at + ".function", "must be an object");
    const Json* name = function->get("name");
    if (name == nullptr || !name->is_string()) return bad(at + ".function.name", "must be a string");
    Json copy = call;
    Json inner = *function;
    inner.set("arguments", TRY(check_arguments(function->get("arguments"), at + ".function.arguments", limits)));
    copy.set("function", std::move(inner));
    out.push_back(std::move(copy));
  }
  return out;
}

constexpr std::string_view kFunctionCallId = "function_call";

// What function calls were called before tools: a message's function_call, and results in the role "function".
bool has_old_names(const Json& message) {
  const Json* role = message.get("role");
  return message.get("function_call") != nullptr || (role != nullptr && *role == Json("function"));
}

Json with_tool_names(const Json& message) {
  Json out = message;
  const Json* call = message.get("function_call");
  if (call != nullptr && call->is_object() && message.get("tool_calls") == nullptr) {
    Json entry = json_object({{"id", std::string(kFunctionCallId)}, {"type", "function"}, {"function", *call}});
    out.set("tool_calls", json_array({std::move(entry)}));
  }
  const Json* role = message.get("role");
  if (role != nullptr && *role == Json("function")) {
    out.set("role", "tool");
    out.set("tool_call_id", std::string(kFunctionCallId));
  }
  return out;
}

Result<void> check_string_members(const Json& message, const std::string& path) {
  for (std::string_view key : {"name", "tool_call_id", "reasoning", "reasoning_content", "thinking"}) {
    const Json* value = message.get(key);
    if (value != nullptr && !value->is_string()) return bad(fmt::format("{}.{}", path, key), "must be a string");
  }
  return {};
}

Result<Json> check_message(const Json& message, size_t index, const Limits& limits) {
  std::string path = fmt::format("messages[{}]", index);
  if (!message.is_object()) return bad(path, "must be an object");
  const Json* role = message.get("role");
  bool known = role != nullptr && role->is_string() &&
               std::find(kRoles.begin(), kRoles.end(), role->as_string()) != kRoles.end();
  if (!known) return bad(path + ".role", "must be system, developer, user, assistant, tool or function");
  bool assistant = role->as_string() == "assistant";
  TRY(check_string_members(message, path));
  Json content = TRY(check_content(message.get("content"), assistant, path + ".content"));
  Json out = message;
  out.set("content", std::move(content));
  const Json* calls = message.get("tool_calls");
  if (calls != nullptr) {
    if (!assistant) return bad(path + ".tool_calls", "is allowed on assistant messages only");
    out.set("tool_calls", TRY(check_tool_calls(*calls, path + ".tool_calls", limits)));
  }
  if (role->as_string() == "tool" && message.get("tool_call_id") == nullptr) {
    return Error{ErrorCode::kMissingField, path + ".tool_call_id is required on tool messages", path + ".tool_call_id"};
  }
  // either name of the reasoning text is read; templates use both
  const Json* reasoning = message.get("reasoning");
  const Json* reasoning_content = message.get("reasoning_content");
  if (reasoning != nullptr && reasoning_content == nullptr) out.set("reasoning_content", *reasoning);
  if (reasoning == nullptr && reasoning_content != nullptr) out.set("reasoning", *reasoning_content);
  return out;
}

bool is_identifier(std::string_view name) {
  auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !name.empty() && letter(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

Result<void> check_kwargs(const Json& kwargs) {
  if (!kwargs.is_object()) return {};
  for (const auto& member : kwargs.as_object().members) {
    std::string shown = quote_for_message(member.first);
    if (std::find(kReservedKwargs.begin(), kReservedKwargs.end(), member.first) != kReservedKwargs.end()) {
      return Error{ErrorCode::kInvalidValue, fmt::format("\"{}\" cannot be set through chat_template_kwargs", shown),
                   "chat_template_kwargs." + shown};
    }
    if (!is_identifier(member.first)) {
      return Error{ErrorCode::kInvalidValue, fmt::format("chat_template_kwargs: \"{}\" is not an identifier", shown),
                   "chat_template_kwargs"};
    }
  }
  return {};
}

std::string text_of(const Json& content) {
  if (content.is_string()) return content.as_string();
  std::string out;
  if (content.is_array()) {
    for (const Json& part : content.as_array()) out += part.get("text")->as_string();
  }
  return out;
}

// llama-server tells templates the date under two more names.
void set_dates(Json& kwargs) {
  std::time_t now = std::time(nullptr);
  if (kwargs.find("date_string") == nullptr) kwargs.set("date_string", fmt::format("{:%d %b %Y}", fmt::gmtime(now)));
  if (kwargs.find("datetime") == nullptr) kwargs.set("datetime", fmt::format("{:%b %d %Y}", fmt::gmtime(now)));
}

// No effort at all is no thinking, in the word that templates know.
void no_effort(Json& kwargs) {
  const Json* effort = kwargs.find("reasoning_effort");
  if (effort == nullptr || *effort != Json("none") || kwargs.find("enable_thinking") != nullptr) return;
  kwargs.set("enable_thinking", false);
}

// llama-server's habit: an answer that the client has begun is continued.
Result<void> continue_final_message(ChatRequest& request) {
  const JsonArray& messages = request.messages.as_array();
  auto by_assistant = [](const Json& message) { return message.get("role")->as_string() == "assistant"; };
  if (!by_assistant(messages.back()) || messages.back().get("tool_calls") != nullptr) return {};
  if (messages.size() > 1 && by_assistant(messages[messages.size() - 2])) {
    return bad("messages", "cannot end with two assistant messages");
  }
  request.continue_final_message = true;
  request.add_generation_prompt = false;
  return {};
}

}  // namespace

Result<Json> check_messages(const Json& messages, const Limits& limits) {
  if (!messages.is_array()) return bad("messages", "must be an array");
  auto size = static_cast<int64_t>(messages.size());
  if (size > limits[LimitId::kMessages]) {
    return Error{ErrorCode::kInvalidValue,
                 fmt::format("messages: {} entries, limit {}", size, limits[LimitId::kMessages]), "messages"};
  }
  if (size == 0) return Error{ErrorCode::kEmptyPrompt, "messages: must not be empty", "messages"};
  Json out = Json::array();
  size_t i = 0;
  for (const Json& message : messages.as_array()) {
    bool old = has_old_names(message);
    Json renamed = old ? with_tool_names(message) : Json();
    out.push_back(TRY(check_message(old ? renamed : message, i++, limits)));
  }
  return out;
}

Result<ChatRequest> parse_chat(const Json& body, const ParseContext& context, uint8_t route) {
  ChatRequest request;
  request.common.prompt.add_special_tokens = false;
  FieldTarget target{.common = request.common, .chat = &request};
  TRY(read_fields(body, route, context, target));
  TRY(check_kwargs(request.chat_template_kwargs));
  const Json* messages = body.get("messages");
  if (messages == nullptr) return Error{ErrorCode::kMissingField, "messages is required", "messages"};
  request.messages = TRY(check_messages(*messages, context.limits));
  if (context.profile->prefill && !target.add_generation_sent) TRY(continue_final_message(request));
  request.tools = TRY(read_tools(body, context.limits, context.profile->empty_tools));
  TRY(check_with_constraint(request.tools, request.common.constraint));
  no_effort(request.chat_template_kwargs);
  request.common.model = TRY(resolve_model(body, context));
  request.common.clamp_max_tokens = context.profile->clamp;
  if (context.profile->template_dates) set_dates(request.chat_template_kwargs);
  if (!request.documents.is_null()) request.chat_template_kwargs.set("documents", request.documents);
  const Json& last = request.messages.as_array().back();
  if (request.common.output.echo && last.get("role")->as_string() == "assistant")
    request.echo_text = text_of(*last.find("content"));
  return request;
}

}  // namespace millrace::api
