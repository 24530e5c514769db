// What TGI, SGLang and KServe clients ask about the server and its model. Thread: IO.
#pragma once

#include "server/context.h"
#include "server/http_message.h"
#include "server/routes.h"

namespace millrace::server {

HttpReply info_answer(ServerContext& context, const HttpRequest& request, const Route& route);

}  // namespace millrace::server
