#include "server/model_routes.h"

#include <string>
#include <utility>

#include "api/fields.h"
#include "base/macros.h"
#include "server/handlers.h"

namespace millrace::server {
namespace {

std::string_view state_name(instance::ModelState state) {
  switch (state) {
    case instance::ModelState::kLoaded:
      return "loaded";
    case instance::ModelState::kWaiting:
    case instance::ModelState::kLoading:
      return "loading";
    case instance::ModelState::kUnloaded:
    case instance::ModelState::kFailed:
      break;
  }
  return "unloaded";
}

api::ModelCard card_of(ServerContext& context, const instance::ModelStatus& status) {
  const instance::ModelListing& file = status.listing;
  api::ModelCard card;
  if (status.state == instance::ModelState::kLoaded) {
    Result<instance::ModelUse> use = context.models->look(file.name);
    if (use.ok()) card = use->instance()->model_cards().front();
  }
  card.id = file.name;
  if (card.root.empty()) card.root = file.name;
  if (card.created == 0) card.created = file.modified_s;
  if (card.size_bytes == 0) card.size_bytes = static_cast<int64_t>(file.file_bytes);
  card.aliases = {file.name};
  card.state = state_name(status.state);
  card.failed = status.state == instance::ModelState::kFailed;
  return card;
}

Result<void> change(ServerContext& context, const HttpRequest& request, const Route& route) {
  if (context.models == nullptr) {
    return Error{ErrorCode::kNotSupported, "this server has one model: start it with --models-dir for several", ""};
  }
  if (!context.serving()) return Error{ErrorCode::kDraining, "the server is shutting down", ""};
  Json body = TRY(api::parse_body(request.body, context.options.limits));
  const Json* name = body.get("model");
  if (name == nullptr) return Error{ErrorCode::kMissingField, "model is required", "model"};
  if (!name->is_string()) return Error{ErrorCode::kInvalidValue, "model must be a string", "model"};
  bool load = route.id == RouteId::kModelLoad;
  return load ? context.models->load(name->as_string()) : context.models->unload(name->as_string());
}

}  // namespace

Result<std::vector<api::ModelCard>> model_cards(ServerContext& context) {
  if (context.models == nullptr) {
    instance::ModelUse use = TRY(context.loaded_model());
    return use.instance()->model_cards();
  }
  std::vector<api::ModelCard> cards;
  for (const instance::ModelStatus& status : context.models->statuses()) cards.push_back(card_of(context, status));
  return cards;
}

HttpReply change_model(ServerContext& context, const HttpRequest& request, const Route& route) {
  Result<void> done = change(context, request, route);
  return done.ok() ? json_reply("{\"success\":true}") : context.error_reply({done.error()}, route.errors);
}

}  // namespace millrace::server
