#include "server/access_log.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "base/log_event.h"

namespace millrace::server {

bool is_logged(const ServerOptions& options, const HttpRequest& request) {
  const auto& quiet = options.quiet_endpoints;
  return options.access_log && std::find(quiet.begin(), quiet.end(), request.path) == quiet.end();
}

void log_access(const AccessRecord& record, const std::string& peer) {
  using Milliseconds = std::chrono::duration<double, std::milli>;
  double ms = Milliseconds(std::chrono::steady_clock::now() - record.begin).count();
  std::string key = fmt::format("key-{}", record.tenant);
  std::vector<LogField> fields = {{"method", record.method},
                                  {"path", record.path},
                                  {"status", int64_t{record.status}},
                                  {"ms", std::round(ms * 1000.0) / 1000.0},
                                  {"bytes", static_cast<int64_t>(record.n_bytes)}};
  if (!record.request_id.empty()) fields.push_back({"request_id", record.request_id});
  if (record.tenant != 0) fields.push_back({"key", key});
  if (!peer.empty()) fields.push_back({"peer", peer});
  log_event(LogLevel::kInfo, "request", fields);
}

}  // namespace millrace::server
