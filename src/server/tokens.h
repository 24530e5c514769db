// POST /tokenize and /detokenize: read, answered and written by a text worker; a large reply leaves in chunks that are
// made as the client takes them. Thread: IO.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "server/http_message.h"
#include "server/routes.h"

namespace millrace::server {

class Connection;

boost::asio::awaitable<void> serve_tokens(Connection& connection, HttpRequest request, const Route& route);

}  // namespace millrace::server
