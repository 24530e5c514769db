// /v1/chat/completions/render and /v1/completions/render (vLLM): what a request would be prefilled with, without
// running it. Routers compare the ids with the blocks that servers hold.
// Thread: text worker.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"
#include "server/context.h"

namespace millrace::server {

// Chat: an object; completions: an array with one for each prompt. The body is checked as that of the route itself.
Result<std::string> rendered_request(const ServerContext& context, instance::Instance& instance, const Json& body,
                                     bool chat);

}  // namespace millrace::server
