#include "api/ollama.h"

#include <fmt/chrono.h>
#include <fmt/core.h>

#include <chrono>
#include <ctime>
#include <utility>

#include "api/bad_value.h"
#include "api/fields.h"
#include "api/infill.h"
#include "api/json_object.h"
#include "api/ollama_format.h"
#include "api/samplers.h"
#include "base/macros.h"

namespace millrace::api {
namespace {

constexpr int64_t kPenaltyWindow = 64;  // repeat_last_n

// Options of the model runner that change no text here.
constexpr std::string_view kIgnoredOptions[] = {"num_ctx",  "num_batch",  "num_gpu",           "main_gpu",
                                                "use_mmap", "num_thread", "draft_num_predict", "num_keep",
                                                "numa",     "low_vram",   "use_mlock"};

// The members of `options` under our names; num_predict -2 (fill the context) is -1.
Result<void> add_options(const Json& body, Json& out) {
  const Json* options = body.get("options");
  if (options == nullptr) return {};
  if (!options->is_object()) return bad("options", "must be an object");
  for (const auto& member : options->as_object().members) {
    bool ignored = false;
    for (std::string_view name : kIgnoredOptions) ignored = ignored || member.first == name;
    if (ignored || member.second.is_null()) continue;
    bool rest = member.first == "num_predict" && member.second == Json(-2);
    out.set(member.first, rest ? Json(-1) : member.second);
  }
  return {};
}

// The format field as response_format; "" is none.
Result<void> add_format(const Json& body, Json& out) {
  const Json* format = body.get("format");
  if (format == nullptr || *format == Json("")) return {};
  if (*format == Json("json")) {
    out.set("response_format", json_object({{"type", "json_object"}}));
  } else if (format->is_object()) {
    out.set("response_format", json_object({{"type", "json_schema"}, {"schema", *format}}));
  } else {
    return bad("format", "must be \"json\" or a JSON schema");
  }
  return {};
}

// Whether and how hard to think, for the template.
Result<void> add_think(const Json& body, Json& out) {
  const Json* think = body.get("think");
  if (think == nullptr) return {};
  if (think->is_bool()) {
    out.set("chat_template_kwargs", json_object({{"enable_thinking", *think}}));
  } else if (think->is_string()) {
    out.set("reasoning_effort", *think);
  } else {
    return bad("think", "must be a boolean or high, medium or low");
  }
  return {};
}

Result<void> add_shared(const Json& body, bool chat, Json& out) {
  for (std::string_view name : {"model", "keep_alive", "seed"}) {
    if (const Json* value = body.get(name); value != nullptr && name != "keep_alive") out.set(name, *value);
  }
  const Json* stream = body.get("stream");
  out.set("stream", stream == nullptr ? Json(true) : *stream);
  TRY(add_options(body, out));
  TRY(add_format(body, out));
  const Json* logprobs = body.get("logprobs");
  const Json* top = body.get("top_logprobs");
  if (logprobs != nullptr && !logprobs->is_bool()) return bad("logprobs", "must be a boolean");
  if (logprobs == nullptr || !logprobs->as_bool()) return {};
  if (chat) {
    out.set("logprobs", true);
    if (top != nullptr) out.set("top_logprobs", *top);
  } else {
    out.set("n_probs", top == nullptr ? Json(1) : *top);
  }
  return {};
}

ParseContext with_ollama_defaults(const ParseContext& context) {
  ParseContext out = context;
  out.dialect = &kOllamaDefaults;
  return out;
}

Result<void> finish_common(CommonParams& common) {
  if (common.n != 1) return Error{ErrorCode::kInvalidValue, "n must be 1: a reply has one answer", "options.n"};
  common.clamp_max_tokens = true;
  use_llama_order(common.sampling);
  if (!common.max_tokens) common.max_tokens = common.default_max_tokens.value_or(-1);
  if (common.seed == -1) common.seed.reset();
  return {};
}

Result<ChatRequest> read_chat(const Json& chat, const ParseContext& context) {
  ChatRequest request = TRY(parse_chat(chat, with_ollama_defaults(context), kRouteNativeChat));
  request.common.sampling.penalty_window = kPenaltyWindow;
  TRY(finish_common(request.common));
  return request;
}

// A prompt as it is; with `after` one that asks for what stands before it.
Result<DialectRequest> text_request(const Json& fields, const ParseContext& context, const InfillTexts& texts,
                                    bool with_context) {
  CompletionRequest request;
  TRY(read_native_fields(fields, with_ollama_defaults(context), request, kPenaltyWindow));
  TRY(finish_common(request.common));
  if (!texts.after.empty()) {
    Result<std::vector<TokenId>> ids = infill_prompt(context.model.tokenizer, texts);
    if (!ids.ok() && ids.error().code == ErrorCode::kNotSupported) {
      return Error{ErrorCode::kUnsupportedParameter,
                   "suffix: not supported by this model, which has no fill-in-the-middle tokens", "suffix"};
    }
    request.prompts.emplace_back(TRY(std::move(ids)));
  } else {
    if (texts.before.empty()) return Error{ErrorCode::kEmptyPrompt, "prompt: must not be empty", "prompt"};
    request.prompts.emplace_back(std::string(texts.before));
  }
  return DialectRequest{.body = std::move(request), .format = make_ollama_format(OllamaReply::kGenerate, with_context)};
}

// `context`: the tokens that an earlier answer ended with.
Result<std::vector<TokenId>> past_of(const Json& body, const ParseContext& context) {
  std::vector<TokenId> out;
  const Json* past = body.get("context");
  if (past == nullptr || *past == Json::array()) return out;
  if (!past->is_array()) return bad("context", "must be an array of token ids");
  out.reserve(past->size());
  for (const Json& id : past->as_array()) {
    std::string path = fmt::format("context[{}]", out.size());
    if (!id.is_int()) return bad(std::move(path), "must be a token id (an integer)");
    if (id.as_int() < 0 || id.as_int() >= context.model.n_vocab) {
      std::string text = fmt::format("{} = {}: token id outside 0..{}", path, id.as_int(), context.model.n_vocab - 1);
      return Error{ErrorCode::kTokenOutOfRange, std::move(text), std::move(path)};
    }
    out.push_back(static_cast<TokenId>(id.as_int()));
  }
  return out;
}

Result<std::string> text_or_empty(const Json& body, std::string_view name) {
  const Json* value = body.get(name);
  if (value == nullptr) return std::string();
  if (!value->is_string()) return bad(std::string(name), "must be a string");
  return value->as_string();
}

Result<void> refuse_images(const Json& body, const std::string& path) {
  const Json* images = body.get("images");
  if (images == nullptr || images->size() == 0) return {};
  return Error{ErrorCode::kUnsupportedParameter, path + ": image input is not supported by this model", path};
}

// Their messages: content may be absent, tool results name the tool, arguments are objects.
Result<Json> messages_of(const Json& messages) {
  if (!messages.is_array()) return bad("messages", "must be an array");
  Json out = Json::array();
  for (const Json& message : messages.as_array()) {
    std::string path = fmt::format("messages[{}]", out.size());
    if (!message.is_object()) return bad(path, "must be an object");
    TRY(refuse_images(message, path + ".images"));
    Json copy = message;
    if (copy.get("content") == nullptr) copy.set("content", "");
    if (const Json* thinking = message.get("thinking")) copy.set("reasoning_content", *thinking);
    bool tool = message.get("role") != nullptr && *message.get("role") == Json("tool");
    if (tool && message.get("tool_call_id") == nullptr) {
      const Json* name = message.get("tool_name");
      copy.set("tool_call_id", name == nullptr ? Json("") : *name);
    }
    out.push_back(std::move(copy));
  }
  return out;
}

std::string parameter_size(int64_t n_params) {
  constexpr double kMillion = 1e6;
  constexpr double kBillion = 1e9;
  if (n_params == 0) return "";  // not read yet
  auto n = static_cast<double>(n_params);
  return n >= kBillion ? fmt::format("{:.1f}B", n / kBillion) : fmt::format("{:.2f}M", n / kMillion);
}

Json details(const OllamaModel& model) {
  return json_object({{"parent_model", ""},
                      {"format", "gguf"},
                      {"family", model.family},
                      {"families", json_array({model.family})},
                      {"parameter_size", parameter_size(model.n_params)},
                      {"quantization_level", model.quantization},
                      {"context_length", model.context_length},
                      {"embedding_length", model.embedding_length}});
}

constexpr int64_t kNanos = 1'000'000'000;

Json capabilities(const OllamaModel& model) {
  Json out = Json::array();
  for (const std::string& one : model.capabilities) out.push_back(one);
  return out;
}

Json card(const OllamaModel& model) {
  return json_object({{"name", model.name},
                      {"model", model.name},
                      {"modified_at", rfc3339(model.created * kNanos)},
                      {"size", model.size_bytes},
                      {"digest", model.digest},
                      {"details", details(model)},
                      {"capabilities", capabilities(model)}});
}

}  // namespace

bool ollama_loads_only(const Json& body) {
  const Json* prompt = body.get("prompt");
  const Json* messages = body.get("messages");
  bool no_prompt = prompt == nullptr || *prompt == Json("");
  return no_prompt && (messages == nullptr || (messages->is_array() && messages->size() == 0));
}

std::string ollama_load_reply(const Json& body, const std::string& model, bool chat) {
  auto now = std::chrono::system_clock::now().time_since_epoch();
  const Json* keep = body.get("keep_alive");
  bool unload = keep != nullptr && (*keep == Json(0) || *keep == Json("0"));
  Json reply = json_object(
      {{"model", model}, {"created_at", rfc3339(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count())}});
  if (chat) {
    reply.set("message", json_object({{"role", "assistant"}, {"content", ""}}));
  } else {
    reply.set("response", "");
  }
  reply.set("done_reason", unload ? "unload" : "load");
  reply.set("done", true);
  return reply.dump();
}

std::string rfc3339(int64_t unix_ns) {
  auto seconds = static_cast<std::time_t>(unix_ns / kNanos);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:09}Z", fmt::gmtime(seconds), unix_ns % kNanos);
}

Result<DialectRequest> parse_ollama_chat(const Json& body, const ParseContext& context, const FormatOptions&) {
  if (ollama_loads_only(body)) {
    auto model = TRY(resolve_model(body, context));
    return DialectRequest{.body = ChatRequest(), .instant = ollama_load_reply(body, model, true)};
  }
  const Json* messages = body.get("messages");
  if (messages == nullptr) return Error{ErrorCode::kMissingField, "messages is required", "messages"};
  Json chat = Json::object();
  TRY(add_shared(body, true, chat));
  TRY(add_think(body, chat));
  chat.set("messages", TRY(messages_of(*messages)));
  if (const Json* tools = body.get("tools"); tools != nullptr && tools->size() > 0) chat.set("tools", *tools);
  ChatRequest request = TRY(read_chat(chat, context));
  return DialectRequest{.body = std::move(request), .format = make_ollama_format(OllamaReply::kChat)};
}

Result<DialectRequest> parse_ollama_generate(const Json& body, const ParseContext& context, const FormatOptions&) {
  if (ollama_loads_only(body)) {
    auto model = TRY(resolve_model(body, context));
    return DialectRequest{.body = ChatRequest(), .instant = ollama_load_reply(body, model, false)};
  }
  std::string prompt = TRY(text_or_empty(body, "prompt"));
  std::string system = TRY(text_or_empty(body, "system"));
  std::string suffix = TRY(text_or_empty(body, "suffix"));
  TRY(refuse_images(body, "images"));
  const Json* template_text = body.get("template");
  if (template_text != nullptr && !(*template_text == Json(""))) {
    return Error{ErrorCode::kChatTemplateDisabled, "template in requests is disabled", "template"};
  }
  std::vector<TokenId> past = TRY(past_of(body, context));
  const Json* raw = body.get("raw");
  if (raw != nullptr && !raw->is_bool()) return bad("raw", "must be a boolean");
  const bool is_raw = raw != nullptr && raw->as_bool();
  if (is_raw && !(system.empty() && past.empty())) return bad("raw", "mode does not support system or context");
  if (!suffix.empty() && !past.empty()) return bad("suffix", "and context exclude each other");
  if (is_raw || !suffix.empty()) {
    Json fields = Json::object();
    TRY(add_shared(body, false, fields));
    return text_request(fields, context, {.before = prompt, .after = suffix}, !is_raw);
  }
  Json fields = Json::object();
  TRY(add_shared(body, true, fields));
  TRY(add_think(body, fields));
  Json messages = Json::array();
  if (!system.empty()) messages.push_back(json_object({{"role", "system"}, {"content", system}}));
  messages.push_back(json_object({{"role", "user"}, {"content", prompt}}));
  fields.set("messages", std::move(messages));
  ChatRequest request = TRY(read_chat(fields, context));
  request.past = std::move(past);
  return DialectRequest{.body = std::move(request), .format = make_ollama_format(OllamaReply::kGenerate, true)};
}

std::string ollama_tags_reply(std::span<const OllamaModel> models) {
  Json all = Json::array();
  for (const OllamaModel& model : models) all.push_back(card(model));
  return json_object({{"models", std::move(all)}}).dump();
}

std::string ollama_ps_reply(std::span<const OllamaModel> models) {
  Json all = Json::array();
  for (const OllamaModel& model : models) {
    Json one = card(model);
    if (model.memory_bytes > 0) one.set("size", model.memory_bytes);
    one.set("expires_at", model.expires == 0 ? "9999-12-31T23:59:59Z" : rfc3339(model.expires * kNanos));
    one.set("size_vram", 0);
    one.set("context_length", model.context_length);
    all.push_back(std::move(one));
  }
  return json_object({{"models", std::move(all)}}).dump();
}

std::string ollama_show_reply(const OllamaModel& model) {
  Json info = json_object({{"general.architecture", model.family},
                           {"general.parameter_count", model.n_params},
                           {model.family + ".context_length", model.context_length},
                           {model.family + ".embedding_length", model.embedding_length}});
  return json_object({{"modelfile", ""},
                      {"parameters", ""},
                      {"template", model.chat_template},
                      {"system", ""},
                      {"details", details(model)},
                      {"model_info", std::move(info)},
                      {"capabilities", capabilities(model)},
                      {"modified_at", rfc3339(model.created * kNanos)}})
      .dump();
}

}  // namespace millrace::api
