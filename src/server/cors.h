// Cross-origin requests: which origin a reply allows, and the answer to a preflight. Thread: any.
#pragma once

#include <string>
#include <string_view>

#include "server/http_message.h"
#include "server/server_options.h"

namespace millrace::server {

// Adds Access-Control-Allow-Origin when --allowed-origins has the request's Origin, "*", or "localhost" and the origin
// is a page of this machine.
void add_cors(const ServerOptions& options, const HttpRequest& request, Headers& headers);
// Of OPTIONS, when any origin is allowed. llama-server answers 200 and allows credentials.
HttpReply preflight_reply(const ServerOptions& options, const HttpRequest& request);

// "http://localhost:8080", "http://127.0.0.1", "http://[::1]:3000".
bool is_local_origin(std::string_view origin);

}  // namespace millrace::server
