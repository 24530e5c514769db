// One line per request: what was asked, by whom, how it ended and how long it took. Texts of requests and answers are
// never in it. Thread: any.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "server/http_message.h"
#include "server/server_options.h"

namespace millrace::server {

struct AccessRecord {
  std::chrono::steady_clock::time_point begin;  // of the first byte of the head
  std::string method;
  std::string path;
  std::string request_id;  // of the reply, else of the request
  uint32_t tenant = 0;
  int status = 0;  // 0: the client left before there was one
  uint64_t n_bytes = 0;
};

// False for endpoints that are left out.
bool is_logged(const ServerOptions& options, const HttpRequest& request);
void log_access(const AccessRecord& record, const std::string& peer);

}  // namespace millrace::server
