#include "app/batch_file.h"

#include <fmt/core.h>

#include <utility>

#include "api/errors.h"
#include "api/json_text.h"
#include "base/macros.h"

namespace millrace::app {
namespace {

constexpr int kServerErrors = 500;
constexpr int kTooMany = 429;

Result<std::string> text_member(const Json& row, std::string_view name) {
  const Json* value = row.get(name);
  if (value == nullptr) return Error{ErrorCode::kMissingField, fmt::format("{} is required", name), std::string(name)};
  if (!value->is_string() || value->as_string().empty()) {
    return Error{ErrorCode::kInvalidValue, fmt::format("{} must be a non-empty string", name), std::string(name)};
  }
  return value->as_string();
}

JsonLimits caps(const Limits& limits) {
  return {.depth = static_cast<uint32_t>(limits[LimitId::kJsonDepth]),
          .nodes = static_cast<uint32_t>(limits[LimitId::kJsonNodes])};
}

// The custom_id of a line that answers its row for good, else "".
std::string answered_by(std::string_view line, const Limits& limits) {
  Result<Json> row = parse_json(line, caps(limits));
  if (!row.ok()) return {};
  const Json* id = row->get("custom_id");
  const Json* response = row->get("response");
  const Json* status = response == nullptr ? nullptr : response->get("status_code");
  if (id == nullptr || !id->is_string()) return {};
  bool refused = row->get("error") != nullptr;
  bool answered =
      status != nullptr && status->is_int() && status->as_int() < kServerErrors && *status != Json(kTooMany);
  return refused || answered ? id->as_string() : std::string();
}

std::string row_text(std::string_view custom_id, std::string_view request_id, std::string_view response,
                     std::string_view error) {
  std::string out = "{\"id\":";
  append_json_string(out, fmt::format("batch_req_{}", request_id));
  out += ",\"custom_id\":";
  if (custom_id.empty()) {
    out += "null";
  } else {
    append_json_string(out, custom_id);
  }
  out.append(",\"response\":").append(response).append(",\"error\":").append(error).append("}\n");
  return out;
}

}  // namespace

Result<void> parse_batch_row(std::string_view line, const Limits& limits, BatchRow& out) {
  auto most = static_cast<size_t>(limits[LimitId::kBodyBytes]);
  if (line.size() > most) {
    return Error{ErrorCode::kRequestTooLarge, fmt::format("a row of {} bytes, limit {}", line.size(), most), ""};
  }
  Json row = TRY(parse_json(line, caps(limits)));
  if (!row.is_object()) return Error{ErrorCode::kInvalidJson, "a row must be a JSON object", ""};
  out.custom_id = TRY(text_member(row, "custom_id"));
  out.url = TRY(text_member(row, "url"));
  const Json* method = row.get("method");
  if (method != nullptr && *method != Json("POST")) {
    return Error{ErrorCode::kInvalidValue, "method must be POST", "method"};
  }
  Json* body = row.as_object().find("body");
  if (body == nullptr || !body->is_object()) {
    return Error{ErrorCode::kInvalidValue, "body must be an object", "body"};
  }
  out.body = std::move(*body);
  const Json* stream = out.body.get("stream");
  if (stream != nullptr && *stream != Json(false)) {
    return Error{ErrorCode::kInvalidValue, "stream: not allowed in a batch", "body.stream"};
  }
  return {};
}

std::string batch_answer(std::string_view custom_id, std::string_view request_id, int status, std::string_view body) {
  std::string response = fmt::format("{{\"status_code\":{},\"request_id\":", status);
  append_json_string(response, request_id);
  response.append(",\"body\":").append(body).append("}");
  return row_text(custom_id, request_id, response, "null");
}

std::string batch_refusal(std::string_view custom_id, const Error& error) {
  std::string text = "{\"code\":";
  append_json_string(text, error_slug(error.code));
  text += ",\"message\":";
  append_json_string(text, api::repair_utf8(error.message));
  text += '}';
  return row_text(custom_id, "none", "null", text);
}

BatchProgress read_batch_progress(std::string_view output, const Limits& limits) {
  BatchProgress out;
  while (!output.empty()) {
    size_t end = output.find('\n');
    if (end == std::string_view::npos) break;  // torn
    std::string_view line = output.substr(0, end);
    output.remove_prefix(end + 1);
    std::string id = answered_by(line, limits);
    if (id.empty() || !out.answered.insert(std::move(id)).second) continue;
    out.kept.append(line).append("\n");
  }
  return out;
}

}  // namespace millrace::app
