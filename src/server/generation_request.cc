#include "server/generation_request.h"

#include <fmt/core.h>

#include <charconv>
#include <utility>

#include "api/chat.h"
#include "api/completions.h"
#include "api/openai_format.h"
#include "base/macros.h"
#include "server/connection.h"
#include "server/handlers.h"
#include "server/text_work.h"

namespace millrace::server {
namespace asio = boost::asio;
namespace {

// X-Request-Timeout-Ms; the smaller of header and field wins.
Result<void> apply_timeout_header(const HttpRequest& request, const Limits& limits, api::CallerParams& caller) {
  const std::string* text = request.header("x-request-timeout-ms");
  if (text == nullptr) return {};
  constexpr double kMsPerSecond = 1000.0;
  int64_t ms = 0;
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), ms);
  int64_t max_s = limits[LimitId::kRequestTimeoutSeconds];
  if (error != std::errc() || end != text->data() + text->size() || ms < 1 || ms > max_s * 1000) {
    return Error{ErrorCode::kInvalidValue,
                 fmt::format("X-Request-Timeout-Ms must be an integer in 1..{}", max_s * 1000), ""};
  }
  double seconds = static_cast<double>(ms) / kMsPerSecond;
  if (!caller.timeout_s || seconds < *caller.timeout_s) caller.timeout_s = seconds;
  return {};
}

api::FormatOptions format_options(const ServerOptions& options) {
  return {.error_style = options.error_style,
          .force_include_usage = options.force_include_usage,
          .timings = options.timings};
}

// Takes the body out of the request. Thread: IO or a text worker.
Result<GenerationRequest> read_now(const ServerContext& context, const instance::Instance& instance,
                                   HttpRequest& request, RouteId route) {
  GenerationRequest out;
  instance::Job& job = out.job;
  job.arrival = instance.clock().now();
  job.body_bytes = request.body.size();
  Json body = TRY(parse_body(std::exchange(request.body, {}), context.options.limits));
  api::ParseContext parse = parse_context(context, instance);
  api::FormatOptions options = format_options(context.options);
  if (route == RouteId::kChat) {
    job.body = TRY(api::parse_chat(body, parse));
    out.format = api::make_openai_format(api::ReplyKind::kChat, options);
  } else {
    job.body = TRY(api::parse_completion(body, parse));
    out.format = api::make_openai_format(api::ReplyKind::kCompletion, options);
  }
  const std::string* id = request.header("x-request-id");
  if (id != nullptr && is_visible_id(*id)) job.params().caller.request_id = *id;
  TRY(apply_timeout_header(request, context.options.limits, job.params().caller));
  return out;
}

}  // namespace

asio::awaitable<Result<GenerationRequest>> read_request(Connection& connection, instance::Instance& instance,
                                                        HttpRequest& request, RouteId route) {
  const ServerContext& context = connection.context();
  if (request.body.size() < kInlineBodyBytes) co_return read_now(context, instance, request, route);
  Result<GenerationRequest> read = Error{};
  Result<void> done = co_await run_on_text_worker(connection, instance, request.body.size(),
                                                  [&] { read = read_now(context, instance, request, route); });
  if (!done.ok()) co_return done.take_error();
  co_return read;
}

}  // namespace millrace::server
