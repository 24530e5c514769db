// llama-server's routes that answer at once: /props, /slots, /lora-adapters; and its names of the metrics. Slots are a
// view on running sequences, not a limit. Thread: IO.
#pragma once

#include <string>

#include "server/context.h"
#include "server/http_message.h"
#include "server/routes.h"

namespace millrace::server {

HttpReply llama_answer(ServerContext& context, const HttpRequest& request, const Route& route);

// The lines of /metrics under llama-server's names, without labels.
std::string llama_metrics(const Metrics& metrics, const instance::Instance& instance);

}  // namespace millrace::server
