#include "server/abort_route.h"

#include <fmt/core.h>

#include <string>
#include <vector>

#include "api/fields.h"
#include "base/macros.h"
#include "server/handlers.h"

namespace millrace::server {
namespace {

Error bad(std::string_view name, std::string_view wanted) {
  return Error{ErrorCode::kInvalidValue, fmt::format("{} {}", name, wanted), std::string(name)};
}

Result<std::vector<std::string>> read_ids(const Json& rid, const Limits& limits) {
  constexpr std::string_view kWanted = "must be an id of 1..128 characters of 0x21..0x7E, or an array of such";
  std::vector<std::string> ids;
  JsonArray one = {rid};
  const JsonArray& items = rid.is_array() ? rid.as_array() : one;
  const int64_t most = limits[LimitId::kBatchPrompts];
  if (static_cast<int64_t>(items.size()) > most) {
    return bad("rid", fmt::format("has {} entries, limit {}", items.size(), most));
  }
  for (const Json& item : items) {
    if (!item.is_string() || !is_visible_id(item.as_string())) return bad("rid", kWanted);
    ids.push_back(item.as_string());
  }
  return ids;
}

Result<size_t> abort_named(ServerContext& context, const HttpRequest& request, const Principal& who) {
  Json body = TRY(api::parse_body(request.body, context.options.limits));
  const Json* all = body.get("abort_all");
  if (all != nullptr && !all->is_bool()) return bad("abort_all", "must be a boolean");
  const bool everything = all != nullptr && all->as_bool();
  std::vector<std::string> ids;
  if (const Json* rid = body.get("rid")) {
    ids = TRY(read_ids(*rid, context.options.limits));
  } else if (!everything) {
    return Error{ErrorCode::kMissingField, "rid or abort_all is required", "rid"};
  }
  if (everything) {
    TRY(context.hot.get()->keys.check(request, AuthClass::kAdmin));
    return context.open_requests.abort_all();
  }
  size_t n = 0;
  for (const std::string& id : ids) n += context.open_requests.abort(id, who);
  return n;
}

}  // namespace

HttpReply abort_requests(ServerContext& context, const HttpRequest& request, const Route& route, const Principal& who) {
  Result<size_t> aborted = abort_named(context, request, who);
  if (!aborted.ok()) return context.error_reply({aborted.error()}, route.errors);
  return json_reply(fmt::format(R"({{"success":true,"aborted":{}}})", *aborted));
}

}  // namespace millrace::server
