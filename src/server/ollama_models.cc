#include "server/ollama_models.h"

#include <chrono>
#include <utility>

#include "api/fields.h"
#include "base/macros.h"
#include "server/connection.h"
#include "server/handlers.h"
#include "server/model_choice.h"
#include "server/ollama_routes.h"

namespace millrace::server {
namespace asio = boost::asio;
namespace {

using instance::ModelHead;

constexpr size_t kMostBytes = 4096;  // of a body that only names a model
constexpr auto kLook = std::chrono::seconds(1);

// As far as its files tell: what a template means for tools and reasoning is known once the model is loaded.
api::OllamaModel described(const instance::ModelListing& file, ModelHead head) {
  api::OllamaModel model = ollama_model(file);
  model.family = std::move(head.architecture);
  model.quantization = std::move(head.weight_format);
  model.n_params = head.n_params;
  model.context_length = head.n_ctx_train;
  model.embedding_length = head.d_model;
  model.capabilities.emplace_back(head.generates ? "completion" : "embedding");
  if (head.generates && head.chat_template.find("tools") != std::string::npos) model.capabilities.emplace_back("tools");
  model.chat_template = std::move(head.chat_template);
  return model;
}

Result<std::string> asked_name(const ServerContext& context, const HttpRequest& request) {
  Json body = TRY(api::parse_body(request.body, context.options.limits));
  const Json* model = body.get("model");
  if (model == nullptr) return Error{ErrorCode::kMissingField, "model is required", "model"};
  if (!model->is_string()) return Error{ErrorCode::kInvalidValue, "model must be a string", "model"};
  return model->as_string();
}

// Of files a client hears nothing.
Error told(const std::string& name, Error error) {
  bool plain = error.code == ErrorCode::kModelNotFound || error.code == ErrorCode::kMissingField ||
               error.code == ErrorCode::kQueueFull || error.code == ErrorCode::kNotSupported;
  if (plain) return error;
  LOG(LogLevel::kWarning, "model {}: {}", quote_for_message(name), error.message);
  return {ErrorCode::kInternal, "the model could not be described: the server's log says why", "model"};
}

// The description, once there is one; nothing while the files are read.
std::optional<Result<std::string>> show(ServerContext& context, const std::string& name) {
  if (!context.serving()) return Error{ErrorCode::kDraining, "the server is shutting down", ""};
  if (!context.ready()) return Error{ErrorCode::kLoading, "Loading model", ""};
  Result<instance::ModelUse> loaded = context.models->look(name);
  if (loaded.ok()) return api::ollama_show_reply(ollama_model(*loaded->instance()));
  std::optional<Result<ModelHead>> head = context.models->head(name);
  if (!head) return std::nullopt;
  if (!head->ok()) return told(name, head->take_error());
  for (const instance::ModelStatus& status : context.models->statuses()) {
    if (status.listing.name != instance::plain_name(name)) continue;
    return api::ollama_show_reply(described(status.listing, std::move(**head)));
  }
  return Error{ErrorCode::kModelNotFound, "the model is gone", "model"};
}

}  // namespace

std::optional<std::string> reply_of_unload(ServerContext& context, const HttpRequest& request, const Route& route) {
  bool asks = route.id == RouteId::kOllamaGenerate || route.id == RouteId::kOllamaChat;
  if (!asks || context.models == nullptr || !context.ready() || !context.serving()) return std::nullopt;
  if (request.body.size() > kMostBytes || parse_keep_alive(find_member(request.body, "keep_alive")) != Tick{0}) {
    return std::nullopt;
  }
  Result<Json> body = api::parse_body(request.body, context.options.limits);
  if (!body.ok() || !api::ollama_loads_only(*body)) return std::nullopt;
  std::string name = named_model(context, request);
  Result<instance::ModelUse> loaded = context.models->look(name);
  if (name.empty() || loaded.ok() || loaded.error().code != ErrorCode::kInvalidValue) return std::nullopt;
  (void)context.models->unload(name);  // it may be on its way
  return api::ollama_load_reply(*body, name, route.id == RouteId::kOllamaChat);
}

asio::awaitable<void> serve_show(Connection& connection, HttpRequest request, const Route& route) {
  ServerContext& context = connection.context();
  Result<std::string> name = asked_name(context, request);
  std::optional<Result<std::string>> reply;
  if (!name.ok()) reply = name.take_error();
  while (!reply) {
    reply = show(context, *name);
    if (reply || connection.gone()) break;
    connection.listen();
    co_await connection.event().wait_until(std::chrono::steady_clock::now() + kLook);
  }
  if (!reply) {
    connection.close_after_this();
    co_return;
  }
  HttpReply out = reply->ok() ? json_reply(std::move(**reply)) : context.error_reply({reply->error()}, route.errors);
  connection.send_reply(request, std::move(out));
}

}  // namespace millrace::server
