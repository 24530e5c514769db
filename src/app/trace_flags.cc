#include "app/trace_flags.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "app/build_info.h"

namespace millrace::app {
namespace {

std::string from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string endpoint_of(const std::string& flag) {
  if (!flag.empty()) return flag;
  std::string own = from_environment("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
  if (!own.empty()) return own;
  std::string base = from_environment("OTEL_EXPORTER_OTLP_ENDPOINT");
  if (base.empty()) return base;
  return base + (base.back() == '/' ? "v1/traces" : "/v1/traces");
}

}  // namespace

Result<server::TraceOptions> trace_options(const std::string& flag) {
  constexpr std::string_view kFlag = "--otlp-traces-endpoint";
  server::TraceOptions out;
  out.endpoint = endpoint_of(flag);
  out.version = build_version();
  if (out.endpoint.empty()) return out;
  if (!out.endpoint.starts_with("http://") && !out.endpoint.starts_with("https://")) {
    return Error{ErrorCode::kUsage,
                 fmt::format("{} {}: must be an http or https URL (OTLP over HTTP; not gRPC)", kFlag,
                             quote_for_message(out.endpoint)),
                 std::string(kFlag)};
  }
  if (std::string name = from_environment("OTEL_SERVICE_NAME"); !name.empty()) out.service = name;
  std::string headers = from_environment("OTEL_EXPORTER_OTLP_HEADERS");
  std::string_view rest = headers;
  while (!rest.empty()) {
    std::string_view one = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(one.size() + 1, rest.size()));
    size_t cut = one.find('=');
    if (cut == std::string_view::npos || cut == 0) {
      return Error{ErrorCode::kUsage, "OTEL_EXPORTER_OTLP_HEADERS: must be NAME=VALUE,...",
                   "OTEL_EXPORTER_OTLP_HEADERS"};
    }
    out.headers.push_back(fmt::format("{}: {}", one.substr(0, cut), one.substr(cut + 1)));
  }
  return out;
}

}  // namespace millrace::app
