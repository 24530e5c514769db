// Routes that only deal in text (templates, token counts): the body is read and answered by a text worker. Thread: IO.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "server/http_message.h"
#include "server/routes.h"

namespace millrace::server {

class Connection;

boost::asio::awaitable<void> serve_text(Connection& connection, HttpRequest request, const Route& route);

}  // namespace millrace::server
