// POST /v1/chat/completions and /v1/completions: from a request to a Session and back to bytes, whole or as a stream.
// Thread: IO.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "server/auth.h"
#include "server/http_message.h"
#include "server/routes.h"

namespace millrace::server {

class Connection;

// Answers on the connection. A client that goes away cancels its request in every state.
boost::asio::awaitable<void> serve_generation(Connection& connection, HttpRequest request, const Route& route,
                                              Principal who);

}  // namespace millrace::server
