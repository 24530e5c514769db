#include "server/routes.h"

namespace millrace::server {
namespace {

constexpr AuthClass kOpen = AuthClass::kOpen;
constexpr AuthClass kKey = AuthClass::kKey;

constexpr Route posted(std::string_view path, RouteId id, RouteKind kind,
                       std::optional<api::ErrorStyle> errors = std::nullopt) {
  return {.path = path, .id = id, .kind = kind, .methods = kPost, .auth = kKey, .has_body = true, .errors = errors};
}
// Answered at once, from a small body.
constexpr Route small(std::string_view path, RouteId id, std::optional<api::ErrorStyle> errors) {
  return posted(path, id, RouteKind::kAnswer, errors);
}
constexpr Route generation(std::string_view path, RouteId id, std::optional<api::ErrorStyle> errors = std::nullopt) {
  return posted(path, id, RouteKind::kGeneration, errors);
}
constexpr std::optional<api::ErrorStyle> kLlama = api::ErrorStyle::kLlama;
constexpr std::optional<api::ErrorStyle> kAnthropic = api::ErrorStyle::kAnthropic;
constexpr std::optional<api::ErrorStyle> kOllama = api::ErrorStyle::kOllama;

constexpr std::optional<api::ErrorStyle> kTgi = api::ErrorStyle::kTgi;
constexpr std::optional<api::ErrorStyle> kKserve = api::ErrorStyle::kKserve;

constexpr Route on_model(std::string_view suffix, RouteId id) {
  Route route = generation("/v2/models/", id, kKserve);
  route.prefix = true;
  route.suffix = suffix;
  return route;
}

constexpr Route admin(Route route) {
  route.auth = AuthClass::kAdmin;
  return route;
}

constexpr Route kRoutes[] = {
    generation("/v1/chat/completions", RouteId::kChat),
    generation("/chat/completions", RouteId::kChat),
    generation("/v1/completions", RouteId::kCompletions),
    generation("/v1/embeddings", RouteId::kEmbeddings),
    generation("/pooling", RouteId::kPooling),
    generation("/score", RouteId::kScore),
    generation("/v1/score", RouteId::kScore),
    generation("/classify", RouteId::kClassify),
    generation("/rerank", RouteId::kRerank),
    generation("/v1/rerank", RouteId::kRerank),
    generation("/v2/rerank", RouteId::kRerank),
    generation("/reranking", RouteId::kRerank, kLlama),
    generation("/v1/reranking", RouteId::kRerank, kLlama),
    generation("/v2/embed", RouteId::kCohereEmbed),
    {.path = "/v1/models", .id = RouteId::kModels},
    {.path = "/models", .id = RouteId::kModels},
    {.path = "/v1/models/", .id = RouteId::kModel, .prefix = true},
    admin(small("/models/load", RouteId::kModelLoad, kLlama)),
    admin(small("/models/unload", RouteId::kModelUnload, kLlama)),
    {.path = "/health", .id = RouteId::kHealth, .auth = kOpen},
    {.path = "/v1/health", .id = RouteId::kHealth, .auth = kOpen},
    {.path = "/ping", .id = RouteId::kHealth, .methods = kGet | kPost, .auth = kOpen},
    {.path = "/live", .id = RouteId::kLive, .auth = kOpen},
    {.path = "/health/live", .id = RouteId::kLive, .auth = kOpen},
    {.path = "/ready", .id = RouteId::kReady, .auth = kOpen},
    {.path = "/readyz", .id = RouteId::kReady, .auth = kOpen},
    {.path = "/health/ready", .id = RouteId::kReady, .auth = kOpen},
    {.path = "/metrics", .id = RouteId::kMetrics, .auth = AuthClass::kMetrics},
    {.path = "/load", .id = RouteId::kLoad, .auth = AuthClass::kMetrics},
    {.path = "/version", .id = RouteId::kVersion, .auth = kOpen},
    {.path = "/openapi.json", .id = RouteId::kOpenApi},
    posted("/tokenize", RouteId::kTokenize, RouteKind::kTokens),
    posted("/v1/tokenize", RouteId::kTokenize, RouteKind::kTokens),
    posted("/detokenize", RouteId::kDetokenize, RouteKind::kTokens),
    posted("/v1/detokenize", RouteId::kDetokenize, RouteKind::kTokens),
    posted("/v1/chat/completions/render", RouteId::kChatRender, RouteKind::kText),
    posted("/v1/completions/render", RouteId::kCompletionsRender, RouteKind::kText),
    {.path = "/tokenizer_info", .id = RouteId::kTokenizerInfo},
    {.path = "/slots/",
     .id = RouteId::kSlotAction,
     .kind = RouteKind::kSlotAction,
     .methods = kPost,
     .auth = AuthClass::kAdmin,
     .has_body = true,
     .prefix = true,
     .errors = kLlama},
    {.path = "/reset_prefix_cache", .id = RouteId::kResetPrefixCache, .methods = kPost, .auth = AuthClass::kAdmin},
    generation("/v1/responses", RouteId::kResponses),
    generation("/responses", RouteId::kResponses),
    posted("/v1/responses/input_tokens", RouteId::kResponsesInputTokens, RouteKind::kText),
    posted("/responses/input_tokens", RouteId::kResponsesInputTokens, RouteKind::kText),
    {.path = "/v1/responses/", .id = RouteId::kStoredResponse, .methods = kPost, .prefix = true, .suffix = "/cancel"},
    {.path = "/v1/responses/", .id = RouteId::kStoredResponse, .prefix = true},
    {.path = "/responses/", .id = RouteId::kStoredResponse, .prefix = true},
    // llama-server
    generation("/completion", RouteId::kLlamaCompletion, kLlama),
    generation("/completions", RouteId::kLlamaCompletion, kLlama),
    generation("/embedding", RouteId::kLlamaEmbedding, kLlama),
    generation("/embeddings", RouteId::kLlamaEmbedding, kLlama),
    generation("/infill", RouteId::kInfill, kLlama),
    posted("/apply-template", RouteId::kApplyTemplate, RouteKind::kText, kLlama),
    {.path = "/props", .id = RouteId::kProps, .methods = kGet | kPost, .errors = kLlama},
    {.path = "/slots", .id = RouteId::kSlots, .errors = kLlama},
    {.path = "/lora-adapters", .id = RouteId::kLoraAdapters, .methods = kGet | kPost, .errors = kLlama},
    posted("/v1/chat/completions/input_tokens", RouteId::kInputTokens, RouteKind::kText),
    posted("/chat/completions/input_tokens", RouteId::kInputTokens, RouteKind::kText),
    // Anthropic
    generation("/v1/messages", RouteId::kMessages, kAnthropic),
    posted("/v1/messages/count_tokens", RouteId::kCountTokens, RouteKind::kText, kAnthropic),
    // Ollama
    generation("/api/generate", RouteId::kOllamaGenerate, kOllama),
    generation("/api/chat", RouteId::kOllamaChat, kOllama),
    {.path = "/api/tags", .id = RouteId::kOllamaTags, .errors = kOllama},
    {.path = "/api/ps", .id = RouteId::kOllamaPs, .errors = kOllama},
    {.path = "/api/version", .id = RouteId::kOllamaVersion, .auth = kOpen, .errors = kOllama},
    posted("/api/show", RouteId::kOllamaShow, RouteKind::kText, kOllama),
    generation("/api/embed", RouteId::kOllamaEmbed, kOllama),
    generation("/api/embeddings", RouteId::kOllamaEmbeddings, kOllama),
    // TGI and SGLang; which of the two the body tells
    generation("/generate", RouteId::kGenerate, kTgi),
    generation("/generate_stream", RouteId::kTgiStream, kTgi),
    posted("/chat_tokenize", RouteId::kChatTokenize, RouteKind::kText, kTgi),
    generation("/encode", RouteId::kSglangEncode),
    small("/abort_request", RouteId::kAbortRequest, std::nullopt),
    {.path = "/health_generate", .id = RouteId::kHealthGenerate, .kind = RouteKind::kGeneration},
    // SageMaker
    generation("/invocations", RouteId::kInvocations),
    // known and not built: clients hear so by name
    admin(small("/v1/load_lora_adapter", RouteId::kNotBuilt, std::nullopt)),
    admin(small("/v1/unload_lora_adapter", RouteId::kNotBuilt, std::nullopt)),
    admin(small("/api/pull", RouteId::kNotBuilt, kOllama)),
    admin(small("/api/push", RouteId::kNotBuilt, kOllama)),
    admin(small("/api/create", RouteId::kNotBuilt, kOllama)),
    admin(small("/api/copy", RouteId::kNotBuilt, kOllama)),
    {.path = "/kv_event_sources", .id = RouteId::kKvEventSources},
    {.path = "/info", .id = RouteId::kTgiInfo, .errors = kTgi},
    {.path = "/get_model_info", .id = RouteId::kSglangModelInfo},
    {.path = "/model_info", .id = RouteId::kSglangModelInfo},
    {.path = "/get_server_info", .id = RouteId::kSglangServerInfo},
    {.path = "/server_info", .id = RouteId::kSglangServerInfo},
    {.path = "/flush_cache", .id = RouteId::kResetPrefixCache, .methods = kGet | kPost, .auth = AuthClass::kAdmin},
    // KServe
    {.path = "/v2", .id = RouteId::kKserveServer, .errors = kKserve},
    {.path = "/v2/health/live", .id = RouteId::kLive, .auth = kOpen},
    {.path = "/v2/health/ready", .id = RouteId::kReady, .auth = kOpen},
    on_model("/generate", RouteId::kKserveGenerate),
    on_model("/generate_stream", RouteId::kKserveStream),
    on_model("/infer", RouteId::kKserveInfer),
    {.path = "/v2/models/", .id = RouteId::kKserveModelReady, .prefix = true, .suffix = "/ready", .errors = kKserve},
    {.path = "/v2/models/", .id = RouteId::kKserveModel, .prefix = true, .errors = kKserve},
    {.path = "/", .id = RouteId::kRoot, .auth = kOpen},
    generation("/", RouteId::kTgiRoot, kTgi),
    {.path = "/index.html", .id = RouteId::kRoot, .auth = kOpen},
};

}  // namespace

std::span<const Route> route_table() { return kRoutes; }

const Route* find_route(std::string_view path, std::string_view method) {
  const Route* first = nullptr;
  for (const Route& route : kRoutes) {
    bool under = path.starts_with(route.path) && path.size() > route.path.size() + route.suffix.size() &&
                 path.ends_with(route.suffix);
    bool matches = route.prefix ? under : path == route.path;
    if (!matches) continue;
    if (route.prefix || method.empty() || allows(route, method))
      return first != nullptr && route.prefix ? first : &route;
    if (first == nullptr) first = &route;
  }
  return first;
}

bool allows(const Route& route, std::string_view method) {
  if (method == "GET" || method == "HEAD") return (route.methods & kGet) != 0;
  return method == "POST" && (route.methods & kPost) != 0;
}

std::string allowed_methods(const Route& route) {
  std::string out;
  if ((route.methods & kGet) != 0) out += "GET, HEAD, ";
  if ((route.methods & kPost) != 0) out += "POST, ";
  return out + "OPTIONS";
}

}  // namespace millrace::server
