// What Ollama's routes ask of a model of several without needing it loaded: its description, and that it should go.
// Thread: IO.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>

#include "server/context.h"
#include "server/http_message.h"
#include "server/routes.h"

namespace millrace::server {

class Connection;

// The reply to a request that only unloads a model which is not loaded; nothing when it is any other request.
std::optional<std::string> reply_of_unload(ServerContext& context, const HttpRequest& request, const Route& route);

// POST /api/show of a server with several models: of a loaded one by its instance, of others by their files.
boost::asio::awaitable<void> serve_show(Connection& connection, HttpRequest request, const Route& route);

}  // namespace millrace::server
