// What TGI, SGLang and KServe clients ask about the server and its model, and where its KV events are. Thread: IO.
#pragma once

#include <string>
#include <string_view>

#include "server/context.h"
#include "server/http_message.h"
#include "server/routes.h"

namespace millrace::server {

// The topic of KV events: what the configuration says, or kv@HOST:PORT@MODEL.
std::string kv_topic(const ServerOptions& options, std::string_view model);

HttpReply info_answer(ServerContext& context, const HttpRequest& request, const Route& route);

}  // namespace millrace::server
