#include "server/slot_actions.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "api/fields.h"
#include "base/macros.h"
#include "engine/sessions.h"
#include "instance/instance.h"
#include "server/connection.h"
#include "server/handlers.h"
#include "server/model_choice.h"
#include "server/text_work.h"

namespace millrace::server {
namespace asio = boost::asio;
namespace {

using engine::SessionVerb;

constexpr size_t kWorkBytes = 256 * 1024;  // a large job: it has the bulk worker
constexpr int64_t kMaxSlot = 1'000'000;

Error invalid(std::string message, std::string param) {
  return {ErrorCode::kInvalidValue, std::move(message), std::move(param)};
}

Result<SessionVerb> verb_of(std::string_view query) {
  constexpr std::string_view kKey = "action=";
  size_t at = query.starts_with(kKey) ? 0 : query.find("&action=");
  std::string_view value;
  if (at != std::string_view::npos) {
    value = query.substr(query.find(kKey, at) + kKey.size());
    value = value.substr(0, value.find('&'));
  }
  if (value == "save") return SessionVerb::kSave;
  if (value == "restore") return SessionVerb::kRestore;
  if (value == "erase") return SessionVerb::kErase;
  return invalid("Invalid action: want save, restore or erase", "action");
}

struct SlotCall {
  instance::SessionCall call;
  int64_t id_slot = -1;  // -1: named by a session_id
};

Result<SlotCall> read_call(const ServerContext& context, const HttpRequest& request, const Route& route) {
  std::string_view id = std::string_view(request.path).substr(context.options.root_path.size() + route.path.size());
  SlotCall out;
  out.call.verb = TRY(verb_of(request.query));
  bool number = std::ranges::all_of(id, [](char c) { return c >= '0' && c <= '9'; });
  if (number) {
    auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), out.id_slot);
    if (error != std::errc() || out.id_slot > kMaxSlot) return invalid("Invalid slot ID", "id_slot");
    out.call.name = instance::slot_name(out.id_slot);
  } else if (is_visible_id(id)) {
    out.call.name = id;
  } else {
    return invalid("Invalid slot ID", "id_slot");
  }
  if (out.call.verb == SessionVerb::kErase) return out;
  Json body = TRY(api::parse_body(request.body, context.options.limits));
  const Json* filename = body.get("filename");
  if (filename == nullptr || !filename->is_string()) return invalid("filename must be a string", "filename");
  out.call.filename = filename->as_string();
  return out;
}

// The names of llama-server.
std::string reply_text(const SlotCall& slot, const instance::SessionReport& report) {
  Json body = Json::object();
  body.set("id_slot", slot.id_slot);
  if (slot.id_slot < 0) body.set("session_id", slot.call.name);
  auto tokens = static_cast<int64_t>(report.n_tokens);
  if (slot.call.verb == SessionVerb::kErase) {
    body.set("n_erased", tokens);
    return body.dump();
  }
  bool save = slot.call.verb == SessionVerb::kSave;
  body.set("filename", slot.call.filename);
  body.set(save ? "n_saved" : "n_restored", tokens);
  body.set(save ? "n_written" : "n_read", static_cast<int64_t>(report.n_bytes));
  Json timings = Json::object();
  timings.set(save ? "save_ms" : "restore_ms", static_cast<double>(report.took) / static_cast<double>(kMillisecond));
  body.set("timings", std::move(timings));
  return body.dump();
}

asio::awaitable<Result<std::string>> act(Connection& connection, const HttpRequest& request, const Route& route) {
  ServerContext& context = connection.context();
  Result<instance::ModelUse> use = co_await model_for(connection, request, route);
  if (!use.ok()) co_return use.take_error();
  instance::Instance& instance = *use->instance();
  Result<SlotCall> slot = read_call(context, request, route);
  if (!slot.ok()) co_return slot.take_error();
  std::optional<Result<instance::SessionReport>> report;
  Result<void> done = co_await run_on_text_worker(connection, instance, kWorkBytes,
                                                  [&] { report.emplace(instance.session(slot->call)); });
  if (!done.ok()) co_return done.take_error();
  if (!report->ok()) co_return report->take_error();
  co_return reply_text(*slot, **report);
}

}  // namespace

asio::awaitable<void> serve_slot_action(Connection& connection, HttpRequest request, const Route& route) {
  Result<std::string> body = co_await act(connection, request, route);
  ServerContext& context = connection.context();
  if (!body.ok() && body.error().code == ErrorCode::kCancelled) {
    connection.close_after_this();
    co_return;
  }
  connection.send_reply(
      request, body.ok() ? json_reply(std::move(body).value()) : context.error_reply({body.error()}, route.errors));
}

}  // namespace millrace::server
