// Spans of requests in OTLP's JSON form (opentelemetry-proto 1.x, JSON mapping), with the attributes of the semantic
// conventions for generative AI; and the parent of a request by W3C Trace Context.
// Thread: any (pure functions).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace millrace::server {

struct TraceParent {
  std::string trace_id;  // 32 hex digits
  std::string span_id;   // 16 hex digits; empty: none
  bool sampled = true;
};
// Nothing when the header is none of the recommendation's form (section 3.2): a trace of its own begins then.
std::optional<TraceParent> parse_traceparent(std::string_view header);

struct Span {
  using Value = std::variant<std::string, int64_t, double, std::vector<std::string>>;
  TraceParent parent;   // the trace, and the span it is part of
  std::string span_id;  // 16 hex digits
  int64_t begin_unix_ns = 0;
  int64_t end_unix_ns = 0;
  std::vector<std::pair<std::string_view, Value>> attributes;
  bool failed = false;
};

// An ExportTraceServiceRequest.
std::string otlp_json(std::span<const Span> spans, std::string_view service, std::string_view version);

// That many random hex digits (a multiple of 16).
std::string random_hex(size_t n_digits);

}  // namespace millrace::server
