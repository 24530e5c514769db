#include "api/responses.h"

#include <fmt/core.h>

#include <string>
#include <utility>

#include "api/bad_value.h"
#include "api/fields.h"
#include "api/json_object.h"
#include "api/responses_format.h"
#include "base/macros.h"

namespace millrace::api {
namespace {

Result<std::string> text_member(const Json& item, std::string_view key, const std::string& path) {
  const Json* value = item.get(key);
  if (value == nullptr || !value->is_string()) return bad(fmt::format("{}.{}", path, key), "must be a string");
  return value->as_string();
}

// Content of a message item: a string, or parts that parse_chat() knows; media is refused by name there.
Result<Json> content_of(const Json* content, const std::string& path) {
  if (content == nullptr) return Json("");
  if (content->is_string()) return *content;
  if (!content->is_array()) return bad(path, "must be a string or an array of parts");
  Json out = Json::array();
  for (const Json& part : content->as_array()) {
    std::string at = fmt::format("{}[{}]", path, out.size());
    std::string type = TRY(text_member(part, "type", at));
    if (type == "input_image" || type == "input_file") {
      return Error{ErrorCode::kUnsupportedParameter, fmt::format("{}: the model accepts text only, got {}", at, type),
                   at};
    }
    out.push_back(part);
  }
  return out;
}

// A reasoning item's text goes with the assistant message behind it.
Result<std::string> reasoning_of(const Json& item, const std::string& path) {
  std::string out;
  const Json* content = item.get("content");
  if (content == nullptr) return out;
  if (!content->is_array()) return bad(path + ".content", "must be an array");
  for (const Json& part : content->as_array()) out += TRY(text_member(part, "text", path + ".content[]"));
  return out;
}

class Items {
 public:
  Result<void> add(const Json& item, size_t index) {
    std::string path = fmt::format("input[{}]", index);
    if (!item.is_object()) return bad(path, "must be an object");
    const Json* type = item.get("type");
    if (type == nullptr || *type == Json("message")) return add_message(item, path);
    if (*type == Json("function_call")) return add_call(item, path);
    if (*type == Json("function_call_output")) return add_output(item, path);
    if (*type == Json("reasoning")) {
      reasoning_ += TRY(reasoning_of(item, path));
      return {};
    }
    return bad(path + ".type", "must be message, function_call, function_call_output or reasoning");
  }
  Json take() { return std::move(messages_); }
  void begin(Json message) { messages_.push_back(std::move(message)); }

 private:
  Result<void> add_message(const Json& item, const std::string& path) {
    std::string role = TRY(text_member(item, "role", path));
    Json content = TRY(content_of(item.get("content"), path + ".content"));
    Json message = json_object({{"role", role}, {"content", std::move(content)}});
    if (role == "assistant" && !reasoning_.empty()) message.set("reasoning_content", std::exchange(reasoning_, {}));
    messages_.push_back(std::move(message));
    return {};
  }
  Result<void> add_call(const Json& item, const std::string& path) {
    std::string name = TRY(text_member(item, "name", path));
    std::string arguments = TRY(text_member(item, "arguments", path));
    std::string id = TRY(text_member(item, "call_id", path));
    Json function = json_object({{"name", std::move(name)}, {"arguments", std::move(arguments)}});
    Json call = json_object({{"id", std::move(id)}, {"type", "function"}, {"function", std::move(function)}});
    Json message = json_object({{"role", "assistant"}, {"content", ""}, {"tool_calls", json_array({std::move(call)})}});
    if (!reasoning_.empty()) message.set("reasoning_content", std::exchange(reasoning_, {}));
    messages_.push_back(std::move(message));
    return {};
  }
  Result<void> add_output(const Json& item, const std::string& path) {
    std::string id = TRY(text_member(item, "call_id", path));
    Json content = TRY(content_of(item.get("output"), path + ".output"));
    messages_.push_back(
        json_object({{"role", "tool"}, {"tool_call_id", std::move(id)}, {"content", std::move(content)}}));
    return {};
  }

  Json messages_ = Json::array();
  std::string reasoning_;
};

// {"type":"function","name",...} as {"type":"function","function":{...}}.
Result<Json> tools_of(const Json& tools) {
  if (!tools.is_array()) return bad("tools", "must be an array");
  Json out = Json::array();
  for (const Json& tool : tools.as_array()) {
    std::string at = fmt::format("tools[{}]", out.size());
    if (TRY(text_member(tool, "type", at)) != "function") {
      return Error{ErrorCode::kUnsupportedParameter, at + ".type: only function tools are supported", at + ".type"};
    }
    Json function = Json::object();
    for (std::string_view name : {"name", "description", "parameters", "strict"}) {
      if (const Json* value = tool.get(name)) function.set(name, *value);
    }
    out.push_back(json_object({{"type", "function"}, {"function", std::move(function)}}));
  }
  return out;
}

Json named_function(const Json& name) {
  return json_object({{"type", "function"}, {"function", json_object({{"name", name}})}});
}

// A function, and the list of {"type": "allowed_tools", "mode", "tools"}, as chat completions have them.
Json tool_choice_of(const Json& choice) {
  const Json* type = choice.get("type");
  const Json* tools = choice.get("tools");
  if (type != nullptr && *type == Json("allowed_tools") && tools != nullptr && tools->is_array()) {
    Json allowed = choice;
    Json list = Json::array();
    for (const Json& tool : tools->as_array()) {
      const Json* name = tool.get("name");
      list.push_back(name == nullptr ? tool : named_function(*name));
    }
    allowed.set("tools", std::move(list));
    return json_object({{"type", "allowed_tools"}, {"allowed_tools", std::move(allowed)}});
  }
  const Json* name = choice.get("name");
  return !choice.is_object() || name == nullptr ? choice : named_function(*name);
}

// text.format as response_format: the schema lies one level higher here.
Result<void> set_format(const Json& text, Json& out) {
  const Json* format = text.get("format");
  if (format == nullptr) return {};
  const Json* type = format->get("type");
  if (type == nullptr || *type != Json("json_schema")) {
    out.set("response_format", *format);
    return {};
  }
  Json schema = *format;
  out.set("response_format", json_object({{"type", "json_schema"}, {"json_schema", std::move(schema)}}));
  return {};
}

Result<void> refuse_state(const Json& body) {
  if (body.get("previous_response_id") != nullptr) {
    return Error{ErrorCode::kModelNotFound, "previous_response_id: responses are not stored here",
                 "previous_response_id"};
  }
  for (std::string_view name : {"background", "prompt", "conversation"}) {
    const Json* value = body.get(name);
    if (value == nullptr || *value == Json(false)) continue;
    return Error{ErrorCode::kUnsupportedParameter, fmt::format("{}: not supported by this server", name),
                 std::string(name)};
  }
  const Json* truncation = body.get("truncation");
  if (truncation != nullptr && *truncation == Json("auto")) {
    return Error{ErrorCode::kUnsupportedParameter, "truncation: only disabled is supported", "truncation"};
  }
  return {};
}

// Handled here, or of no effect.
constexpr std::string_view kTaken[] = {
    "input",        "instructions",   "tools",        "tool_choice", "text",    "reasoning", "previous_response_id",
    "background",   "prompt",         "conversation", "truncation",  "include", "store",     "max_tool_calls",
    "top_logprobs", "client_metadata"};

Result<Json> to_chat(const Json& body) {
  TRY(refuse_state(body));
  Json out = Json::object();
  for (const auto& member : body.as_object().members) {
    bool taken = false;
    for (std::string_view name : kTaken) taken = taken || member.first == name;
    if (!taken) out.set(member.first, member.second);
  }
  Items items;
  if (const Json* instructions = body.get("instructions")) {
    if (!instructions->is_string()) return bad("instructions", "must be a string");
    items.begin(json_object({{"role", "system"}, {"content", *instructions}}));
  }
  const Json* input = body.get("input");
  if (input == nullptr) return Error{ErrorCode::kMissingField, "input is required", "input"};
  if (input->is_string()) {
    items.begin(json_object({{"role", "user"}, {"content", *input}}));
  } else if (input->is_array()) {
    if (input->size() == 0) return Error{ErrorCode::kEmptyPrompt, "input: must not be empty", "input"};
    size_t i = 0;
    for (const Json& item : input->as_array()) TRY(items.add(item, i++));
  } else {
    return bad("input", "must be a string or an array of items");
  }
  out.set("messages", items.take());
  const Json* tools = body.get("tools");
  if (tools != nullptr && tools->size() > 0) {
    out.set("tools", TRY(tools_of(*tools)));
    if (const Json* choice = body.get("tool_choice")) out.set("tool_choice", tool_choice_of(*choice));
  }
  if (const Json* text = body.get("text")) TRY(set_format(*text, out));
  const Json* reasoning = body.get("reasoning");
  if (reasoning != nullptr && reasoning->get("effort") != nullptr)
    out.set("reasoning_effort", *reasoning->get("effort"));
  return out;
}

}  // namespace

Result<DialectRequest> parse_responses(const Json& body, const ParseContext& context, const FormatOptions& options) {
  if (!body.is_object()) return bad("body", "must be a JSON object");
  Json chat = TRY(to_chat(body));
  ChatRequest request = TRY(parse_chat(chat, context));
  if (request.common.n != 1) return bad("n", "must be 1");
  return DialectRequest{.body = std::move(request), .format = make_responses_format(body, options)};
}

Result<ChatRequest> parse_responses_count(const Json& body, const ParseContext& context) {
  if (!body.is_object()) return bad("body", "must be a JSON object");
  return parse_chat(TRY(to_chat(body)), context);
}

}  // namespace millrace::api
