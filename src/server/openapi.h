// GET /openapi.json: an OpenAPI 3.1 document made from the route table and the field tables (api/schema.h), so that it
// says what this server, with these flags and this model, answers to.
// Thread: any (pure function).
#pragma once

#include <span>
#include <string>

#include "api/schema.h"
#include "server/server_options.h"

namespace millrace::server {

std::string openapi_document(const ServerOptions& options, const api::SchemaFacts& facts);

}  // namespace millrace::server
