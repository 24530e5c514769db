#include "server/openapi.h"

#include <algorithm>
#include <cctype>
#include <string_view>
#include <utility>

#include "api/json_object.h"
#include "server/http_message.h"
#include "server/routes.h"

namespace millrace::server {
namespace {

using api::ErrorStyle;
using api::json_array;
using api::json_object;

constexpr std::string_view kJsonType = "application/json";
constexpr std::string_view kEvents = "text/event-stream";
constexpr std::string_view kLines = "application/x-ndjson";
constexpr std::string_view kText = "text/plain";

struct Operation {
  RouteId id;
  std::string_view summary;
  std::string_view reply;       // schema of the 200 reply; empty: a text
  std::string_view body = {};   // schema of the body
  std::string_view other = {};  // a second media type of the 200 reply: of streams, or of texts
};

constexpr Operation kOperations[] = {
    {RouteId::kChat, "Chat completion", "ChatCompletion", "ChatCompletionRequest", kEvents},
    {RouteId::kCompletions, "Text completion", "Completion", "CompletionRequest", kEvents},
    {RouteId::kEmbeddings, "Embeddings", "EmbeddingList", "EmbeddingsRequest"},
    {RouteId::kPooling, "Embeddings of texts or of every token", "EmbeddingList", "EmbeddingsRequest"},
    {RouteId::kScore, "Scores of pairs of texts", "ScoreList", "ScoreRequest"},
    {RouteId::kClassify, "Labels of texts", "Classes", "ClassifyRequest"},
    {RouteId::kRerank, "Texts by their score with a query", "Ranking", "RerankRequest"},
    {RouteId::kCohereEmbed, "Cohere: embeddings", "CohereEmbeddings", "CohereEmbedRequest"},
    {RouteId::kModels, "The models served", "ModelList"},
    {RouteId::kModel, "One model", "Model"},
    {RouteId::kModelLoad, "Loads one of several models", "Success", "ModelRequest"},
    {RouteId::kModelUnload, "Unloads one of several models", "Success", "ModelRequest"},
    {RouteId::kHealth, "Whether the server can answer", "Health"},
    {RouteId::kLive, "Whether the process should go on", "Health"},
    {RouteId::kReady, "Whether requests should be sent here", "Health"},
    {RouteId::kMetrics, "Metrics for Prometheus", ""},
    {RouteId::kVersion, "Version of the program", "Version"},
    {RouteId::kLoad, "Generations in progress", "Load"},
    {RouteId::kOpenApi, "This document", "Any"},
    {RouteId::kTokenize, "Text or messages to token ids", "Tokens", "TokenizeRequest"},
    {RouteId::kDetokenize, "Token ids to text", "Text", "DetokenizeRequest"},
    {RouteId::kChatRender, "What a chat would be prefilled with", "Rendered", "ChatCompletionRequest"},
    {RouteId::kCompletionsRender, "What prompts would be prefilled with", "RenderedList", "CompletionRequest"},
    {RouteId::kTokenizerInfo, "Facts of the tokenizer", "TokenizerInfo"},
    {RouteId::kResetPrefixCache, "Forgets cached prefixes", "Success"},
    {RouteId::kSlotAction, "Saves, restores or erases a conversation", "SlotAction", "SlotActionRequest"},
    {RouteId::kRoot, "The web page, or a line of text", "", "", "text/html"},
    {RouteId::kLlamaCompletion, "llama-server: completion", "LlamaCompletion", "LlamaCompletionRequest", kEvents},
    {RouteId::kLlamaEmbedding, "llama-server: embeddings", "LlamaEmbeddings", "EmbeddingsRequest"},
    {RouteId::kInfill, "llama-server: fill in the middle", "LlamaCompletion", "InfillRequest", kEvents},
    {RouteId::kApplyTemplate, "llama-server: messages as a prompt", "AppliedTemplate", "ConversationRequest"},
    {RouteId::kProps, "llama-server: properties", "Props"},
    {RouteId::kSlots, "llama-server: slots", "Slots"},
    {RouteId::kLoraAdapters, "llama-server: adapters", "LoraAdapters"},
    {RouteId::kInputTokens, "Counts the tokens of a chat", "InputTokens", "ConversationRequest"},
    {RouteId::kResponses, "Response", "Response", "ResponsesRequest", kEvents},
    {RouteId::kResponsesInputTokens, "Counts the tokens of a response's input", "InputTokens", "ResponsesRequest"},
    {RouteId::kStoredResponse, "A stored response: none is", "Any"},
    {RouteId::kMessages, "Anthropic: message", "Message", "AnthropicRequest", kEvents},
    {RouteId::kCountTokens, "Anthropic: counts tokens", "TokenCount", "AnthropicCountRequest"},
    {RouteId::kOllamaGenerate, "Ollama: generate", "OllamaGenerate", "OllamaGenerateRequest", kLines},
    {RouteId::kOllamaChat, "Ollama: chat", "OllamaChat", "OllamaChatRequest", kLines},
    {RouteId::kOllamaEmbed, "Ollama: embeddings", "OllamaEmbeddings", "OllamaEmbedRequest"},
    {RouteId::kOllamaEmbeddings, "Ollama: one embedding", "OllamaEmbedding", "OllamaEmbeddingRequest"},
    {RouteId::kOllamaTags, "Ollama: models", "OllamaModels"},
    {RouteId::kOllamaPs, "Ollama: models in memory", "OllamaModels"},
    {RouteId::kOllamaVersion, "Ollama: version", "Version"},
    {RouteId::kOllamaShow, "Ollama: one model", "OllamaShow", "ModelRequest"},
    {RouteId::kGenerate, "TGI or SGLang: generate, by the body", "Generate", "GenerateRequest", kEvents},
    {RouteId::kTgiStream, "TGI: stream", "Tgi", "TgiRequest", kEvents},
    {RouteId::kKvEventSources, "Where KV events are published", "KvEventSources"},
    {RouteId::kChatTokenize, "TGI: messages as a prompt and its tokens", "ChatTokens", "ConversationRequest"},
    {RouteId::kTgiRoot, "TGI: generate, the answer in a list", "Any", "TgiRequest", kEvents},
    {RouteId::kHealthGenerate, "SGLang: generates a token", "Completion"},
    {RouteId::kAbortRequest, "SGLang: aborts generations by their ids", "Aborted", "AbortRequest"},
    {RouteId::kInvocations, "SageMaker: chat, completion, embeddings or TGI's generate, by the body", "Any",
     "AnyRequest", kEvents},
    {RouteId::kNotBuilt, "Not supported: 501", "Any", "AnyRequest"},
    {RouteId::kTgiInfo, "TGI: facts", "TgiInfo"},
    {RouteId::kSglangEncode, "SGLang: embeddings", "Any", "SglangEncodeRequest"},
    {RouteId::kSglangModelInfo, "SGLang: the model", "SglangModel"},
    {RouteId::kSglangServerInfo, "SGLang: the server", "SglangModel"},
    {RouteId::kKserveServer, "KServe: the server", "KserveServer"},
    {RouteId::kKserveModel, "KServe: one model", "KserveModel"},
    {RouteId::kKserveModelReady, "KServe: whether the model is ready", "KserveReady"},
    {RouteId::kKserveGenerate, "KServe: generate", "KserveGenerate", "KserveGenerateRequest", kEvents},
    {RouteId::kKserveStream, "KServe: stream", "KserveGenerate", "KserveGenerateRequest", kEvents},
    {RouteId::kKserveInfer, "KServe: infer", "KserveInfer", "KserveInferRequest", kBinaryTensors},
};
constexpr Operation kUnnamed{RouteId::kRoot, "", "Any", "AnyRequest", kEvents};  // a route without a row: anything

const Operation& operation_of(RouteId id) {
  for (const Operation& row : kOperations) {
    if (row.id == id) return row;
  }
  return kUnnamed;
}

Json reference(std::string_view schema) {
  return json_object({{"$ref", "#/components/schemas/" + std::string(schema)}});
}

Json content(std::string_view type, Json schema) {
  return json_object({{type, json_object({{"schema", std::move(schema)}})}});
}

std::string document_path(const Route& route) {
  std::string out(route.path);
  if (!route.prefix) return out;
  bool slot = route.kind == RouteKind::kSlotAction;
  return out.append(slot ? "{slot}" : "{model}").append(route.suffix);
}

Json parameter(std::string_view name, std::string_view place, Json schema) {
  Json out = json_object({{"name", name}, {"in", place}, {"schema", std::move(schema)}});
  if (place == "path") out.set("required", true);
  return out;
}

Json parameters_of(const Route& route) {
  Json out = Json::array();
  Json visible = json_object({{"type", "string"}, {"pattern", "^[!-~]{1,128}$"}});
  if (route.kind == RouteKind::kSlotAction) {
    out.push_back(parameter("slot", "path", visible));
    Json actions = json_object({{"enum", json_array({"save", "restore", "erase"})}});
    Json action = parameter("action", "query", std::move(actions));
    action.set("required", true);
    out.push_back(std::move(action));
  } else if (route.prefix) {
    out.push_back(parameter("model", "path", json_object({{"type", "string"}, {"minLength", 1}})));
  }
  if (route.kind == RouteKind::kGeneration) {
    Json ms = json_object({{"type", "integer"}, {"minimum", 1}});
    out.push_back(parameter("X-Request-Timeout-Ms", "header", std::move(ms)));
  }
  return out;
}

Json success(const Operation& row, const Route& route) {
  bool text = row.reply.empty();
  Json types = content(text ? kText : kJsonType, text ? json_object({{"type", "string"}}) : reference(row.reply));
  if (!row.other.empty()) {
    types.set(row.other, Json::object());
  }
  Json out = json_object({{"description", row.summary.empty() ? "the reply" : row.summary}, {"content", types}});
  if (route.kind == RouteKind::kGeneration) {
    Json id = json_object({{"schema", json_object({{"type", "string"}})}});
    out.set("headers", json_object({{"X-Request-Id", std::move(id)}}));
  }
  return out;
}

// Every status of the error table, in the style of the route. A probe's refusal is a reply of its own.
Json responses_of(const Operation& row, const Route& route, ErrorStyle style) {
  Json out = json_object({{"200", success(row, route)}});
  bool probe = row.reply == "Health";
  for (int status : api::error_statuses(style)) {
    std::string name = probe && status == 503 ? "Unhealthy" : api::error_schema_name(style, status);
    out.set(std::to_string(status), json_object({{"$ref", "#/components/responses/" + name}}));
  }
  return out;
}

std::string operation_id(std::string_view method, const std::string& path) {
  std::string out(method);
  for (char c : path) {
    bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (plain) out += c;
    if (!plain && out.back() != '_') out += '_';
  }
  return out;
}

Json security_of(const Route& route, const ServerOptions& options) {
  bool keys = !options.api_keys.empty() || !options.admin_keys.empty();
  bool open = route.auth == AuthClass::kOpen || (route.auth == AuthClass::kMetrics && !options.metrics_auth);
  if (!keys || open) return Json::array();
  return json_array({json_object({{"bearer", Json::array()}}), json_object({{"key", Json::array()}})});
}

Json operation_json(std::string_view method, const Route& route, const ServerOptions& options) {
  const Operation& row = operation_of(route.id);
  Json out = json_object({{"operationId", operation_id(method, document_path(route))},
                          {"summary", row.summary},
                          {"parameters", parameters_of(route)}});
  if (method == "post" && route.has_body) {
    Json body = reference(row.body.empty() ? "AnyRequest" : row.body);
    out.set("requestBody", json_object({{"required", true}, {"content", content(kJsonType, std::move(body))}}));
  }
  out.set("responses", responses_of(row, route, route.errors.value_or(options.error_style)));
  out.set("security", security_of(route, options));
  return out;
}

Json paths(const ServerOptions& options) {
  Json out = Json::object();
  for (const Route& route : route_table()) {
    Json methods = Json::object();
    if (const Json* before = out.find(document_path(route))) methods = *before;  // a row of another method
    if ((route.methods & kGet) != 0) methods.set("get", operation_json("get", route, options));
    if ((route.methods & kPost) != 0) methods.set("post", operation_json("post", route, options));
    out.set(document_path(route), std::move(methods));
  }
  return out;
}

Json components(const ServerOptions& options, const api::SchemaFacts& facts) {
  Json schemas = api::body_schemas(facts);
  Json replies = api::reply_schemas();
  for (const auto& [name, schema] : replies.as_object().members) schemas.set(name, schema);
  auto response = [](std::string_view what, const std::string& schema) {
    return json_object({{"description", what}, {"content", content(kJsonType, reference(schema))}});
  };
  Json responses = json_object({{"Unhealthy", response("not now", "Health")}});
  std::vector<ErrorStyle> styles = {options.error_style};
  for (const Route& route : route_table()) {
    if (route.errors && std::find(styles.begin(), styles.end(), *route.errors) == styles.end())
      styles.push_back(*route.errors);
  }
  for (ErrorStyle style : styles) {
    for (int status : api::error_statuses(style)) {
      std::string name = api::error_schema_name(style, status);
      schemas.set(name, api::error_schema(style, status));
      responses.set(name, response("an error", name));
    }
  }
  Json bearer = json_object({{"type", "http"}, {"scheme", "bearer"}});
  Json key = json_object({{"type", "apiKey"}, {"in", "header"}, {"name", "x-api-key"}});
  return json_object({{"schemas", std::move(schemas)},
                      {"responses", std::move(responses)},
                      {"securitySchemes", json_object({{"bearer", bearer}, {"key", key}})}});
}

}  // namespace

std::string openapi_document(const ServerOptions& options, const api::SchemaFacts& facts) {
  Json info = json_object({{"title", "Millrace"}, {"version", options.version}});
  Json server = json_object({{"url", options.root_path.empty() ? "/" : options.root_path}});
  return json_object({{"openapi", "3.1.0"},
                      {"info", std::move(info)},
                      {"servers", json_array({std::move(server)})},
                      {"paths", paths(options)},
                      {"components", components(options, facts)}})
      .dump();
}

}  // namespace millrace::server
