#include "server/cors.h"

#include <algorithm>

namespace millrace::server {
namespace {

bool allows_credentials(const ServerOptions& options) { return options.compat == api::Compat::kLlamaServer; }

}  // namespace

bool is_local_origin(std::string_view origin) {
  for (std::string_view scheme : {"http://", "https://"}) {
    if (!origin.starts_with(scheme)) continue;
    std::string_view rest = origin.substr(scheme.size());
    for (std::string_view host : {"localhost", "127.0.0.1", "[::1]"}) {
      if (!rest.starts_with(host)) continue;
      std::string_view port = rest.substr(host.size());
      bool digits =
          port.size() > 1 && std::all_of(port.begin() + 1, port.end(), [](char c) { return c >= '0' && c <= '9'; });
      if (port.empty() || (port[0] == ':' && digits)) return true;
    }
  }
  return false;
}

void add_cors(const ServerOptions& options, const HttpRequest& request, Headers& headers) {
  const std::string* origin = request.header("origin");
  if (origin == nullptr) return;
  for (const std::string& allowed : options.allowed_origins) {
    bool any = allowed == "*";
    bool local = allowed == "localhost" && is_local_origin(*origin);
    if (!any && !local && allowed != *origin) continue;
    bool star = any && !allows_credentials(options);  // a star and credentials exclude each other
    headers.emplace_back("Access-Control-Allow-Origin", star ? "*" : *origin);
    if (!star) headers.emplace_back("Vary", "Origin");
    return;
  }
}

HttpReply preflight_reply(const ServerOptions& options, const HttpRequest& request) {
  HttpReply reply;
  reply.content_type.clear();
  if (allows_credentials(options)) {
    reply.status = 200;
    reply.headers.emplace_back("Access-Control-Allow-Credentials", "true");
    reply.headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
    reply.headers.emplace_back("Access-Control-Allow-Headers", "*");
    return reply;
  }
  reply.status = 204;
  reply.headers.emplace_back("Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS");
  const std::string* wanted = request.header("access-control-request-headers");
  reply.headers.emplace_back("Access-Control-Allow-Headers", wanted != nullptr ? *wanted : "*");
  return reply;
}

}  // namespace millrace::server
