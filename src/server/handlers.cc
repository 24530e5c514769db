#include "server/handlers.h"

#include <fmt/core.h>

#include <utility>

#include "api/fields.h"
#include "api/output.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/macros.h"
#include "server/abort_route.h"
#include "server/health.h"
#include "server/info_routes.h"
#include "server/llama_routes.h"
#include "server/model_choice.h"
#include "server/model_routes.h"
#include "server/ollama_routes.h"
#include "server/openapi.h"
#include "server/page.h"

namespace millrace::server {
namespace {

using instance::Instance;

HttpReply reply_of(ServerContext& context, Result<std::string> body) {
  return body.ok() ? json_reply(std::move(body).value()) : context.error_reply({body.error()});
}

Result<std::string> one_model(ServerContext& context, const HttpRequest& request, const Route& route) {
  std::string_view name = std::string_view(request.path);
  name.remove_prefix(context.options.root_path.size() + route.path.size());
  for (const api::ModelCard& card : TRY(model_cards(context))) {
    if (card.id == name) return api::model_reply(card);
  }
  return Error{ErrorCode::kModelNotFound, fmt::format("no model {}", quote_for_message(name)), "model"};
}

Result<std::string> all_models(ServerContext& context) {
  std::vector<api::ModelCard> cards = TRY(model_cards(context));
  for (api::ModelCard& card : cards) card.tags = context.options.tags;
  bool one = context.models == nullptr && context.options.compat == api::Compat::kLlamaServer;
  if (one) cards.resize(1);  // one model, whatever its names
  return api::models_reply(cards);
}

Result<std::string> tokenizer_info(ServerContext& context, const HttpRequest& request) {
  instance::ModelUse use = TRY(context.loaded_model(query_value(request.query, "model")));
  Instance* instance = use.instance();
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
  if (context.models == nullptr) TRY(context.loaded_model());
  for (const instance::ModelUse& use : context.loaded_models()) use.instance()->engine().reset_prefix_cache();
  return std::string("{\"success\":true}");
}

Probe probe_of(RouteId id) {
  if (id == RouteId::kLive) return Probe::kLive;
  return id == RouteId::kReady ? Probe::kReady : Probe::kHealth;
}

// No response is kept, so none is ever found.
Error stored_response(const HttpRequest& request, const Route& route, const std::string& root_path) {
  std::string_view id = std::string_view(request.path).substr(root_path.size() + route.path.size());
  id.remove_suffix(route.suffix.size());
  return {ErrorCode::kModelNotFound, fmt::format("no response {}: responses are not stored", quote_for_message(id)),
          "response_id"};
}

// Before the model is loaded the document names neither it nor the size of its vocabulary.
std::string openapi_reply(const ServerContext& context) {
  const Instance* instance = context.instance.load();
  api::SchemaFacts facts{.limits = context.options.limits};
  bool any_name = api::compat_profile(context.options.compat).any_model;
  if (instance != nullptr) facts.n_vocab = instance->facts().n_vocab;
  if (instance != nullptr && !any_name) facts.served_names = instance->facts().served_names;
  return openapi_document(context.options, facts);
}

Result<std::string> version_body(ServerContext& context) {
  Json body = Json::object();
  body.set("version", context.options.version);
  return body.dump();
}

Result<std::string> load_body(ServerContext& context) {
  return fmt::format("{{\"server_load\":{}}}", context.n_generations.load());
}

// The page for browsers, a line of text for everybody else; llama-server has a page for all or no route.
HttpReply root_reply(ServerContext& context, const HttpRequest& request) {
  const api::CompatProfile& profile = api::compat_profile(context.options.compat);
  if (!profile.root_text.empty()) return text_reply(200, std::string(profile.root_text));
  const bool llama = profile.id == api::Compat::kLlamaServer;
  if (llama && !context.options.ui) return context.error_reply({Error{ErrorCode::kRouteNotFound, "no web page", ""}});
  const std::string* accept = request.header("accept");
  const bool browser = llama || (accept != nullptr && accept->find("text/html") != std::string::npos);
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

// Under llama-server's profile the route needs --metrics. Its names come first.
HttpReply metrics_reply(ServerContext& context) {
  const bool llama = context.options.llama_metrics || context.options.compat == api::Compat::kLlamaServer;
  if (!context.options.metrics_route) {
    return context.error_reply({Error{ErrorCode::kNotSupported,
                                      "This server does not support metrics endpoint. Start it with `--metrics`", ""}});
  }
  Instance* instance = context.instance.load();
  std::string text = llama && instance != nullptr ? llama_metrics(context.metrics, *instance) : std::string();
  HttpReply reply = text_reply(200, text + context.metrics_text());
  reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
  reply.headers.emplace_back("Process-Start-Time-Unix", fmt::format("{}", context.started_unix));
  return reply;
}

}  // namespace

bool is_visible_id(std::string_view id) {
  if (id.empty() || std::ssize(id) > Limits()[LimitId::kRequestIdBytes]) return false;
  for (char c : id) {
    if (c < 0x21 || c > 0x7E) return false;
  }
  return true;
}

api::ParseContext parse_context(const ServerContext& context, const Instance& instance) {
  return {.limits = context.options.limits,
          .served_names = instance.facts().served_names,
          .model = {.n_vocab = instance.facts().n_vocab,
                    .max_len = instance.facts().max_len,
                    .eos_token_ids = instance.text_parts().eos_token_ids,
                    .tokenizer = &instance.text_parts().tokenizer,
                    .pooling = instance.text_parts().pooling},
          .defaults = instance.defaults(),
          .profile = &api::compat_profile(context.options.compat),
          .constraint = &context.options.constraint,
          .strict_fields = context.options.strict_fields,
          .trust_request_chat_template = context.options.trust_request_chat_template};
}

std::optional<HttpReply> check_body_headers(ServerContext& context, const HttpRequest& request, const Route& route) {
  const std::string* encoding = request.header("content-encoding");
  if (encoding != nullptr && to_lower(*encoding) != "identity") {
    return context.error_reply({Error{ErrorCode::kUnsupportedMediaType, "content encodings are not accepted", ""}},
                               route.errors);
  }
  if (!route.has_body) return std::nullopt;
  if (!request.has_body_framing) {
    return context.error_reply({Error{ErrorCode::kLengthRequired, "Content-Length is needed", ""}}, route.errors);
  }
  const std::string* type = request.header("content-type");
  if (type != nullptr) {
    std::string media = to_lower(std::string_view(*type).substr(0, type->find(';')));
    while (!media.empty() && media.back() == ' ') media.pop_back();
    bool tensors = route.id == RouteId::kKserveInfer && media == kBinaryTensors;
    if (media != "application/json" && !tensors) {
      return context.error_reply({Error{ErrorCode::kUnsupportedMediaType,
                                        "Content-Type must be application/json, got " + quote_for_message(media), ""}},
                                 route.errors);
    }
  }
  return std::nullopt;
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

HttpReply answer(ServerContext& context, const HttpRequest& request, const Route& route, const Principal& who) {
  switch (route.id) {
    case RouteId::kModels:
      return reply_of(context, all_models(context));
    case RouteId::kModel:
      return reply_of(context, one_model(context, request, route));
    case RouteId::kHealth:
    case RouteId::kLive:
    case RouteId::kReady:
      return health_reply(context, probe_of(route.id));
    case RouteId::kMetrics:
      return metrics_reply(context);
    case RouteId::kVersion:
      return reply_of(context, version_body(context));
    case RouteId::kLoad:
      return reply_of(context, load_body(context));
    case RouteId::kOpenApi:
      return json_reply(openapi_reply(context));
    case RouteId::kTokenizerInfo:
      return reply_of(context, tokenizer_info(context, request));
    case RouteId::kResetPrefixCache:
      return reply_of(context, reset_cache(context));
    case RouteId::kRoot:
      return root_reply(context, request);
    case RouteId::kProps:
    case RouteId::kSlots:
    case RouteId::kLoraAdapters:
      return llama_answer(context, request, route);
    case RouteId::kKvEventSources:
    case RouteId::kTgiInfo:
    case RouteId::kSglangModelInfo:
    case RouteId::kSglangServerInfo:
    case RouteId::kKserveServer:
    case RouteId::kKserveModel:
    case RouteId::kKserveModelReady:
      return info_answer(context, request, route);
    case RouteId::kModelLoad:
    case RouteId::kModelUnload:
      return change_model(context, request, route);
    case RouteId::kStoredResponse:
      return context.error_reply({stored_response(request, route, context.options.root_path)}, route.errors);
    case RouteId::kAbortRequest:
      return abort_requests(context, request, route, who);
    case RouteId::kNotBuilt:
      return context.error_reply(
          {Error{ErrorCode::kNotSupported, std::string(route.path) + " is not supported by this server", ""}},
          route.errors);
    case RouteId::kOllamaTags:
    case RouteId::kOllamaPs:
    case RouteId::kOllamaVersion:
      return ollama_answer(context, route);
    default:
      break;  // of another RouteKind
  }
  return context.error_reply({Error{ErrorCode::kRouteNotFound, "no such route", ""}});
}

}  // namespace millrace::server
