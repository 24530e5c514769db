#include "server/handlers.h"

#include <fmt/core.h>

#include <utility>

#include "api/output.h"
#include "base/json.h"
#include "base/macros.h"
#include "server/health.h"
#include "server/page.h"

namespace millrace::server {
namespace {

using instance::Instance;

// Of a body as values: 8 bytes a byte, as many short numbers in an array need, and some for small bodies.
constexpr uint64_t kJsonShare = 8;
constexpr uint64_t kJsonBytes = 8 * 1024 * 1024;

HttpReply reply_of(ServerContext& context, Result<std::string> body) {
  return body.ok() ? json_reply(std::move(body).value()) : context.error_reply({body.error()});
}

Result<std::string> one_model(ServerContext& context, const HttpRequest& request, const Route& route) {
  Instance* instance = TRY(context.usable_instance());
  std::string_view name = std::string_view(request.path);
  name.remove_prefix(context.options.root_path.size() + route.path.size());
  for (const api::ModelCard& card : instance->model_cards()) {
    if (card.id == name) return api::model_reply(card);
  }
  return Error{ErrorCode::kModelNotFound, fmt::format("no model {}", quote_for_message(name)), "model"};
}

Result<std::string> all_models(ServerContext& context) {
  Instance* instance = TRY(context.usable_instance());
  return api::models_reply(instance->model_cards());
}

Result<std::string> tokenizer_info(ServerContext& context) {
  Instance* instance = TRY(context.usable_instance());
  const text::Tokenizer& tokenizer = instance->text().tokenizer();
  auto token = [&](TokenId id) { return id == kNoToken ? Json() : Json(std::string_view(tokenizer.token_text(id))); };
  Json info = Json::object();
  info.set("tokenizer_class", instance->facts().vocab_type);
  info.set("vocab_size", static_cast<int64_t>(tokenizer.n_vocab()));
  info.set("model_max_length", instance->facts().max_len);
  info.set("bos_token", token(tokenizer.bos()));
  info.set("eos_token", token(tokenizer.eos()));
  info.set("pad_token", token(tokenizer.pad()));
  info.set("unk_token", token(tokenizer.unk()));
  return info.dump();
}

Result<std::string> reset_cache(ServerContext& context) {
  Instance* instance = TRY(context.usable_instance());
  instance->engine().reset_prefix_cache();
  return std::string("{\"success\":true}");
}

Result<std::string> version_body(ServerContext& context) {
  Json body = Json::object();
  body.set("version", context.options.version);
  return body.dump();
}

Result<std::string> load_body(ServerContext& context) {
  return fmt::format("{{\"server_load\":{}}}", context.n_generations.load());
}

// The page for browsers, a line of text for everybody else.
HttpReply root_reply(ServerContext& context, const HttpRequest& request) {
  const std::string* accept = request.header("accept");
  const bool browser = accept != nullptr && accept->find("text/html") != std::string::npos;
  if (!context.options.ui || (!browser && request.path == context.options.root_path + "/")) {
    return text_reply(
        200, fmt::format("Millrace {}: an OpenAI-compatible server. See /v1/models.\n", context.options.version));
  }
  HttpReply reply = text_reply(200, std::string(page_html()));
  reply.content_type = "text/html; charset=utf-8";
  reply.headers = {{"Content-Security-Policy", std::string(page_policy())},
                   {"X-Content-Type-Options", "nosniff"},
                   {"Referrer-Policy", "no-referrer"},
                   {"Cache-Control", "no-cache"},
                   {"Vary", "Accept"}};
  return reply;
}

HttpReply metrics_reply(ServerContext& context) {
  HttpReply reply = text_reply(200, context.metrics.text(context.instance.load(), context.options.version));
  reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
  return reply;
}

}  // namespace

bool is_visible_id(std::string_view id) {
  constexpr size_t kMaxId = 128;  // limit request_id (fixed)
  if (id.empty() || id.size() > kMaxId) return false;
  for (char c : id) {
    if (c < 0x21 || c > 0x7E) return false;
  }
  return true;
}

Result<Json> parse_body(const std::string& body, const Limits& limits) {
  JsonLimits json_limits;
  json_limits.depth = static_cast<uint32_t>(limits[LimitId::kJsonDepth]);
  json_limits.nodes = static_cast<uint32_t>(limits[LimitId::kJsonNodes]);
  json_limits.bytes = kJsonShare * body.size() + kJsonBytes;
  Result<Json> parsed = parse_json(body, json_limits);
  if (!parsed.ok()) {
    Error error = parsed.take_error();
    if (error.code == ErrorCode::kInvalidJson) error.message = "request body is " + error.message;
    return error;
  }
  if (!parsed->is_object()) return Error{ErrorCode::kInvalidJson, "body must be an object", ""};
  return parsed;
}

api::ParseContext parse_context(const ServerContext& context, const Instance& instance) {
  return {.limits = context.options.limits,
          .served_names = instance.facts().served_names,
          .model = {.n_vocab = instance.facts().n_vocab, .max_len = instance.facts().max_len},
          .defaults = instance.defaults(),
          .strict_fields = context.options.strict_fields,
          .trust_request_chat_template = context.options.trust_request_chat_template};
}

std::optional<HttpReply> check_body_headers(ServerContext& context, const HttpRequest& request, const Route& route) {
  const std::string* encoding = request.header("content-encoding");
  if (encoding != nullptr && to_lower(*encoding) != "identity") {
    return context.error_reply({Error{ErrorCode::kUnsupportedMediaType, "content encodings are not accepted", ""}});
  }
  if (!route.has_body) return std::nullopt;
  if (!request.has_body_framing) {
    return context.error_reply({Error{ErrorCode::kLengthRequired, "Content-Length is needed", ""}});
  }
  const std::string* type = request.header("content-type");
  if (type != nullptr) {
    std::string media = to_lower(std::string_view(*type).substr(0, type->find(';')));
    while (!media.empty() && media.back() == ' ') media.pop_back();
    if (media != "application/json") {
      return context.error_reply({Error{ErrorCode::kUnsupportedMediaType,
                                        "Content-Type must be application/json, got " + quote_for_message(media), ""}});
    }
  }
  return std::nullopt;
}

HttpReply preflight_reply(const HttpRequest& request) {
  HttpReply reply;
  reply.status = 204;
  reply.content_type.clear();
  reply.headers.emplace_back("Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS");
  const std::string* wanted = request.header("access-control-request-headers");
  reply.headers.emplace_back("Access-Control-Allow-Headers", wanted != nullptr ? *wanted : "*");
  return reply;
}

void add_load_header(ServerContext& context, const HttpRequest& request, Headers& headers) {
  const std::string* format = request.header("endpoint-load-metrics-format");
  Instance* instance = context.instance.load();
  if (format == nullptr || instance == nullptr) return;
  engine::EngineStats stats = instance->stats();
  uint32_t used = stats.kv_blocks_active + stats.kv_blocks_cooling;
  double kv = stats.kv_blocks_total == 0 ? 0.0 : static_cast<double>(used) / stats.kv_blocks_total;
  double waiting = stats.n_waiting;
  if (*format == "TEXT") {
    headers.emplace_back(
        "endpoint-load-metrics",
        fmt::format("TEXT named_metrics.kv_cache_usage_perc={}, named_metrics.num_requests_waiting={:.1f}", kv,
                    waiting));
  } else if (*format == "JSON") {
    headers.emplace_back(
        "endpoint-load-metrics",
        fmt::format("JSON {{\"named_metrics\":{{\"kv_cache_usage_perc\":{},\"num_requests_waiting\":{:.1f}}}}}", kv,
                    waiting));
  }
}

HttpReply answer(ServerContext& context, const HttpRequest& request, const Route& route) {
  switch (route.id) {
    case RouteId::kModels:
      return reply_of(context, all_models(context));
    case RouteId::kModel:
      return reply_of(context, one_model(context, request, route));
    case RouteId::kHealth:
      return health_reply(context, Probe::kHealth);
    case RouteId::kLive:
      return health_reply(context, Probe::kLive);
    case RouteId::kReady:
      return health_reply(context, Probe::kReady);
    case RouteId::kMetrics:
      return metrics_reply(context);
    case RouteId::kVersion:
      return reply_of(context, version_body(context));
    case RouteId::kLoad:
      return reply_of(context, load_body(context));
    case RouteId::kTokenizerInfo:
      return reply_of(context, tokenizer_info(context));
    case RouteId::kResetPrefixCache:
      return reply_of(context, reset_cache(context));
    case RouteId::kEmbeddings:
      return context.error_reply(
          {Error{ErrorCode::kUnsupportedParameter, "embeddings are not supported by this server", "input"}});
    case RouteId::kRoot:
      return root_reply(context, request);
    case RouteId::kChat:
    case RouteId::kCompletions:
    case RouteId::kTokenize:
    case RouteId::kDetokenize:
    case RouteId::kSlotAction:
      break;  // served by generation.cc, tokens.cc and slot_actions.cc
  }
  return context.error_reply({Error{ErrorCode::kRouteNotFound, "no such route", ""}});
}

}  // namespace millrace::server
