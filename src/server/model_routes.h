// The list of models, and POST /models/load and /models/unload of a server with several: the interface of
// llama-server's router. Thread: IO.
#pragma once

#include <vector>

#include "api/output.h"
#include "server/context.h"
#include "server/http_message.h"
#include "server/routes.h"

namespace millrace::server {

// Of the model that is served, by all its names; of several, of all that could be loaded.
Result<std::vector<api::ModelCard>> model_cards(ServerContext& context);

// {"success":true} once the load has begun, or the unload is on its way: it waits for requests that run.
HttpReply change_model(ServerContext& context, const HttpRequest& request, const Route& route);

}  // namespace millrace::server
