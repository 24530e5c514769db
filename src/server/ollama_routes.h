// Ollama's routes that answer at once, and the facts that its lists tell. Thread: IO, or a text worker.
#pragma once

#include "api/ollama.h"
#include "server/context.h"
#include "server/http_message.h"
#include "server/routes.h"

namespace millrace::server {

HttpReply ollama_answer(ServerContext& context, const Route& route);
api::OllamaModel ollama_model(const instance::Instance& instance);
// The name, size and time of one that may not be loaded.
api::OllamaModel ollama_model(const instance::ModelListing& file);

}  // namespace millrace::server
