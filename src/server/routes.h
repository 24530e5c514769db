// The route table: the one list of what the server answers to. A path that is not in it is 404, a method that is not in
// its row is 405; a row that names no class of its own needs a key.
// Thread: any (constant data).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "server/auth.h"

namespace millrace::server {

enum class RouteId : uint8_t {
  kChat,
  kCompletions,
  kEmbeddings,
  kModels,
  kModel,
  kHealth,
  kLive,
  kReady,
  kMetrics,
  kVersion,
  kLoad,
  kTokenize,
  kDetokenize,
  kTokenizerInfo,
  kResetPrefixCache,
  kSlotAction,
  kRoot,
};

// Methods, as bits. HEAD goes wherever GET does.
constexpr uint8_t kGet = 1;
constexpr uint8_t kPost = 2;

struct Route {
  std::string_view path;
  RouteId id;
  uint8_t methods = kGet;
  AuthClass auth = AuthClass::kKey;
  bool has_body = false;  // JSON; Content-Length or chunked needed
  bool prefix = false;    // the path goes on (model names with slashes)
};

std::span<const Route> route_table();
// The row of a path, or nullptr.
const Route* find_route(std::string_view path);
bool allows(const Route& route, std::string_view method);
// "GET, HEAD, OPTIONS": the value of Allow.
std::string allowed_methods(const Route& route);

}  // namespace millrace::server
