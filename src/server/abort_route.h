// POST /abort_request, as SGLang has it: {"rid": id or ids} or {"abort_all": true} -> {"success", "aborted"}.
// Thread: IO.
#pragma once

#include "server/context.h"
#include "server/http_message.h"
#include "server/routes.h"

namespace millrace::server {

// Requests are aborted by the key that sent them, or by an admin key; all of them by an admin key alone. Ids that
// nobody has are no error: the answer may just have ended.
HttpReply abort_requests(ServerContext& context, const HttpRequest& request, const Route& route, const Principal& who);

}  // namespace millrace::server
