#include "server/traces.h"

#include <fmt/core.h>

#include <algorithm>
#include <random>

#include "api/json_object.h"

namespace millrace::server {
namespace {

using api::json_array;
using api::json_object;

constexpr size_t kTraceDigits = 32;
constexpr size_t kSpanDigits = 16;
constexpr int64_t kKindServer = 2;   // Span.SpanKind
constexpr int64_t kStatusError = 2;  // Status.StatusCode

bool is_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_id(std::string_view text, size_t n_digits) {
  return text.size() == n_digits && is_hex(text) && text.find_first_not_of('0') != std::string_view::npos;
}

// 64-bit integers are strings in the JSON mapping.
Json value_json(const Span::Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return json_object({{"stringValue", *text}});
  if (const auto* whole = std::get_if<int64_t>(&value)) return json_object({{"intValue", std::to_string(*whole)}});
  if (const auto* number = std::get_if<double>(&value)) return json_object({{"doubleValue", *number}});
  Json items = Json::array();
  for (const std::string& text : std::get<std::vector<std::string>>(value)) {
    items.push_back(json_object({{"stringValue", text}}));
  }
  return json_object({{"arrayValue", json_object({{"values", std::move(items)}})}});
}

Json attribute(std::string_view key, const Span::Value& value) {
  return json_object({{"key", key}, {"value", value_json(value)}});
}

Json span_json(const Span& span) {
  Json attributes = Json::array();
  for (const auto& [key, value] : span.attributes) attributes.push_back(attribute(key, value));
  Json out = json_object({{"traceId", span.parent.trace_id},
                          {"spanId", span.span_id},
                          {"name", "llm_request"},
                          {"kind", kKindServer},
                          {"startTimeUnixNano", std::to_string(span.begin_unix_ns)},
                          {"endTimeUnixNano", std::to_string(span.end_unix_ns)},
                          {"attributes", std::move(attributes)}});
  if (!span.parent.span_id.empty()) out.set("parentSpanId", span.parent.span_id);
  if (span.failed) out.set("status", json_object({{"code", kStatusError}}));
  return out;
}

}  // namespace

std::optional<TraceParent> parse_traceparent(std::string_view header) {
  constexpr size_t kSize = 55;  // "00-" trace "-" span "-" flags
  bool later = header.size() > kSize && header.substr(0, 2) != "00" && header[kSize] == '-';
  if (header.size() != kSize && !later) return std::nullopt;
  std::string_view version = header.substr(0, 2);
  std::string_view trace = header.substr(3, kTraceDigits);
  std::string_view span = header.substr(36, kSpanDigits);
  std::string_view flags = header.substr(53, 2);
  bool dashes = header[2] == '-' && header[35] == '-' && header[52] == '-';
  bool good = dashes && is_hex(version) && version != "ff" && is_id(trace, kTraceDigits) && is_id(span, kSpanDigits) &&
              is_hex(flags);
  if (!good) return std::nullopt;
  char last = flags[1];
  int digit = last <= '9' ? last - '0' : last - 'a' + 10;
  return TraceParent{.trace_id = std::string(trace), .span_id = std::string(span), .sampled = (digit & 1) != 0};
}

std::string otlp_json(std::span<const Span> spans, std::string_view service, std::string_view version) {
  Json list = Json::array();
  for (const Span& span : spans) list.push_back(span_json(span));
  Json scope = json_object({{"name", "millrace"}, {"version", version}});
  Json scoped = json_object({{"scope", std::move(scope)}, {"spans", std::move(list)}});
  Json resource = json_object({{"attributes", json_array({attribute("service.name", std::string(service))})}});
  Json one = json_object({{"resource", std::move(resource)}, {"scopeSpans", json_array({std::move(scoped)})}});
  return json_object({{"resourceSpans", json_array({std::move(one)})}}).dump();
}

std::string random_hex(size_t n_digits) {
  std::random_device device;
  std::string out;
  while (out.size() < n_digits) out += fmt::format("{:08x}{:08x}", device(), device());
  return out;
}

}  // namespace millrace::server
