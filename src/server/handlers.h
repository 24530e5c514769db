// The routes that answer at once: probes, metrics, models. Thread: IO.
#pragma once

#include <optional>
#include <string_view>

#include "server/context.h"
#include "server/http_message.h"
#include "server/routes.h"

namespace millrace::server {

// The whole reply of a route that is not in generation.h or tokens.h.
HttpReply answer(ServerContext& context, const HttpRequest& request, const Route& route, const Principal& who);

// Refusals that need no body: 411, 413, 415.
std::optional<HttpReply> check_body_headers(ServerContext& context, const HttpRequest& request, const Route& route);

// ORCA: endpoint-load-metrics, when the request asks for it.
void add_load_header(ServerContext& context, const HttpRequest& request, Headers& headers);

// 1..128 characters of 0x21..0x7E.
bool is_visible_id(std::string_view id);

// parse_context() of the instance with the server's switches.
api::ParseContext parse_context(const ServerContext& context, const instance::Instance& instance);

}  // namespace millrace::server
