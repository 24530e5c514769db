#include "api/extensions.h"

#include <fmt/core.h>

#include "base/macros.h"

namespace millrace::api {
namespace {

constexpr int64_t kMostMs = 86'400'000;

constexpr ExtensionField kMembers[] = {
    {"ttft_slo_ms", kMostMs, [](ExtensionParams& e, int64_t v) { e.ttft_slo_ms = v; }},
    {"itl_slo_ms", kMostMs, [](ExtensionParams& e, int64_t v) { e.itl_slo_ms = v; }},
    {"retention", 7, [](ExtensionParams& e, int64_t v) { e.retention = static_cast<uint8_t>(v); }},
    {"session_ttl_s", 86'400, [](ExtensionParams& e, int64_t v) { e.session_ttl_s = v; }},
    {"sink_tokens", INT32_MAX, [](ExtensionParams& e, int64_t v) { e.sink_tokens = static_cast<uint32_t>(v); }},
    {"window_tokens", INT32_MAX, [](ExtensionParams& e, int64_t v) { e.window_tokens = static_cast<uint32_t>(v); }},
};

Error invalid(const std::string& path, std::string_view what) {
  return {ErrorCode::kInvalidValue, fmt::format("{}: {}", path, what), path};
}

Result<void> read_tenant(const std::string& path, const Json& value, ExtensionParams& out) {
  if (value.is_null()) return {};
  if (!value.is_string() || value.as_string().size() > kMostTenantBytes) {
    return invalid(path, fmt::format("must be a string of at most {} bytes", kMostTenantBytes));
  }
  out.tenant = value.as_string();
  return {};
}

}  // namespace

std::span<const ExtensionField> extension_fields() { return kMembers; }

Result<void> read_extensions(const Json& value, ExtensionParams& out) {
  for (const auto& member : value.as_object().members) {
    std::string path = "millrace." + quote_for_message(member.first);
    const Json& entry = member.second;
    if (member.first == "tenant") {
      TRY(read_tenant(path, entry, out));
      continue;
    }
    const ExtensionField* known = nullptr;
    for (const ExtensionField& row : kMembers) {
      if (row.name == member.first) known = &row;
    }
    if (known == nullptr) return Error{ErrorCode::kUnknownField, "unknown field " + path, path};
    if (entry.is_null()) continue;
    if (!entry.is_int()) return invalid(path, "must be an integer");
    if (entry.as_int() < 0 || entry.as_int() > known->high) {
      return invalid(path, fmt::format("{}, must be 0..{}", entry.as_int(), known->high));
    }
    known->set(out, entry.as_int());
  }
  return {};
}

Result<void> check_extensions(const CommonParams& common) {
  const ExtensionParams& e = common.extensions;
  if (e.session_ttl_s > 0 && common.caller.session_id.empty()) {
    return invalid("millrace.session_ttl_s", "needs session_id");
  }
  if (e.sink_tokens > 0 && e.window_tokens == 0) return invalid("millrace.sink_tokens", "needs window_tokens");
  return {};
}

}  // namespace millrace::api
