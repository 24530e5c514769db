// Where traces go: the flag, else OpenTelemetry's environment variables (OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
// OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME).
#pragma once

#include <string>

#include "base/result.h"
#include "server/trace_exporter.h"

namespace millrace::app {

// kUsage: an endpoint that is no http or https URL, or a header without `=`.
Result<server::TraceOptions> trace_options(const std::string& flag);

}  // namespace millrace::app
