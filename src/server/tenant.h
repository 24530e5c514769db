// Whose request it is, for fair scheduling and quotas: the tenant that a gateway names in its fairness header or in the
// field millrace.tenant, else the API key. Anyone else's are ignored: they would let a client choose whose share it
// uses.
// Thread: any.
#pragma once

#include <string>

#include "server/auth.h"
#include "server/http_message.h"

namespace millrace::server {

// "" when no key is set; "key-N" for the N-th key.
std::string tenant_name(const HttpRequest& request, const Principal& who, const std::string& field);

}  // namespace millrace::server
