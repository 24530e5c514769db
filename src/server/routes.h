// The route table: the one list of what the server answers to; a path has one row, or one for each method. A path that
// is not in it is 404, a method that is not in its row is 405; a row that names no class of its own needs a key.
// Thread: any (constant data).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "api/errors.h"
#include "server/auth.h"

namespace millrace::server {

enum class RouteId : uint8_t {
  kChat,
  kCompletions,
  kEmbeddings,
  kPooling,
  kScore,
  kRerank,
  kClassify,
  kCohereEmbed,
  kModels,
  kModel,
  kModelLoad,
  kModelUnload,
  kHealth,
  kLive,
  kReady,
  kMetrics,
  kVersion,
  kLoad,
  kOpenApi,
  kTokenize,
  kDetokenize,
  kTokenizerInfo,
  kResetPrefixCache,
  kSlotAction,
  kRoot,
  // llama-server
  kLlamaCompletion,
  kLlamaEmbedding,
  kInfill,
  kApplyTemplate,
  kChatTokenize,
  kProps,
  kSlots,
  kLoraAdapters,
  kInputTokens,
  kChatRender,
  kCompletionsRender,
  kResponses,
  kResponsesInputTokens,
  kStoredResponse,
  // Anthropic
  kMessages,
  kCountTokens,
  // Ollama
  kOllamaGenerate,
  kOllamaChat,
  kOllamaTags,
  kOllamaPs,
  kOllamaVersion,
  kOllamaShow,
  kOllamaEmbed,
  kOllamaEmbeddings,
  // routers
  kKvEventSources,
  // TGI and SGLang
  kGenerate,
  kTgiStream,
  kTgiRoot,
  kTgiInfo,
  kSglangEncode,
  kHealthGenerate,
  kAbortRequest,
  kSglangModelInfo,
  kSglangServerInfo,
  // KServe
  kKserveServer,
  kKserveModel,
  kKserveModelReady,
  kKserveGenerate,
  kKserveStream,
  kKserveInfer,
  kInvocations,  // SageMaker
  kNotBuilt,     // known, and answered 501 by name
};

// Who answers it.
enum class RouteKind : uint8_t {
  kAnswer,      // handlers.cc, at once
  kGeneration,  // generation.cc
  kTokens,      // tokens.cc, in pieces
  kText,        // text_routes.cc, on a text worker
  kSlotAction,  // slot_actions.cc
};

// Methods, as bits. HEAD goes wherever GET does.
constexpr uint8_t kGet = 1;
constexpr uint8_t kPost = 2;

struct Route {
  std::string_view path;
  RouteId id;
  RouteKind kind = RouteKind::kAnswer;
  uint8_t methods = kGet;
  AuthClass auth = AuthClass::kKey;
  bool has_body = false;                                 // JSON; Content-Length or chunked needed
  bool prefix = false;                                   // the path goes on (model names with slashes)
  std::string_view suffix = {};                          // of a prefix: how it ends
  std::optional<api::ErrorStyle> errors = std::nullopt;  // of its dialect; none: the server's
};

std::span<const Route> route_table();
// The row of a path, or nullptr. Of two rows of one path the one that takes the method, else the first.
const Route* find_route(std::string_view path, std::string_view method = {});
bool allows(const Route& route, std::string_view method);
// "GET, HEAD, OPTIONS": the value of Allow.
std::string allowed_methods(const Route& route);

}  // namespace millrace::server
